"""Respuestas al cuaderno 10: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

CELL = "ej10a_dura"
BEST = "El valor de la mayor puntuación"
PADDING = "El relleno no se elige"
NOTHING = "Sin palabras, ceros"
EVERYTHING = [BEST, PADDING, NOTHING]

MASKED = 'scores.masked_fill(~mask, float("-inf")).argmax(1)'
CHOSEN = "values[torch.arange(len(values)), best]"
ZEROS = " * mask.any(1, keepdim=True)"

WRONG = [
    wrong("la menor", CELL, (MASKED, "scores.argmin(1)"), loses=[BEST, PADDING]),
    wrong("sin máscara", CELL, (MASKED, "scores.argmax(1)"), loses=[PADDING, NOTHING]),
    wrong(
        "multiplica por la máscara", CELL, (MASKED, "(scores * mask).argmax(1)"), loses=[PADDING]
    ),
    wrong("la máscara, al revés", CELL, ("(~mask,", "(mask,"), loses=EVERYTHING),
    wrong("la primera", CELL, (CHOSEN, "values[:, 0]"), loses=[BEST, PADDING]),
    wrong("la última", CELL, (CHOSEN, "values[:, -1]"), loses=EVERYTHING),
    wrong("la media", CELL, (CHOSEN, "values.mean(1)"), loses=EVERYTHING),
    wrong("sin palabras, la primera", CELL, (ZEROS, ""), loses=[NOTHING]),
    wrong("la de la primera fila", CELL, (CHOSEN, "values[:, best[0]]"), loses=[BEST, PADDING]),
]


def rewritten(name: str, source: str) -> Variant:
    return Variant(name, CELL, source=f"def hard_attention(scores, values, mask):\n{source}")


RIGHT = [
    rewritten(
        "con gather",
        """
    best = scores.masked_fill(~mask, float("-inf")).argmax(1, keepdim=True)
    places = best[..., None].expand(-1, 1, values.size(2))
    return values.gather(1, places).squeeze(1).masked_fill(~mask.any(1, keepdim=True), 0.0)
""",
    ),
    rewritten(
        "con un uno en su sitio",
        """
    best = scores.masked_fill(~mask, float("-inf")).argmax(1)
    one = torch.nn.functional.one_hot(best, scores.size(1)) * mask
    return torch.einsum("bs,bsd->bd", one.to(values.dtype), values)
""",
    ),
    rewritten(
        "con un bucle",
        """
    rows = []
    for s, v, m in zip(scores, values, mask):
        rows.append(v[m][s[m].argmax()] if m.any() else torch.zeros_like(v[0]))
    return torch.stack(rows)
""",
    ),
]

EXERCISES = {"10a": WRONG + RIGHT}
