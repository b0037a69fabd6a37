"""Respuestas al cuaderno 03: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPE = "Forma de las log-probabilidades"
SUM = "Las apariciones de una palabra se suman"
ABSENT = "Menos infinito en lo que no está en el documento"
PADDED = "Con relleno, la de cada documento recortado"
EMPTY = "Documento vacío: menos infinito y gradientes finitos"
HALF = "En 16 bits"
FAR = "Exacta con puntuaciones muy separadas"
GRADIENT = "El gradiente es el de la fórmula"
MEAN = "La media sobre las respuestas posibles"
COVERAGE = "Qué fracción se puede contestar"
NOTHING = "Sin ninguna respuesta posible, 0 y gradientes finitos"
SHAPES = "Formas de states y summary"
GRU = "Una BiGRU y nada más"
ENDS = "Sin relleno, [→última; ←primera]"
TOP = "Con dos capas, la de arriba"
HALVES = "Las dos mitades ven toda la pregunta"
ALONE = "Con relleno, el de cada pregunta sola"
LEAK = "El relleno no influye"
STATES = "states: el ancho de entrada, y ceros en el relleno"
BLANK = "Pregunta vacía: ceros y gradientes finitos"
ERROR = "ValueError con longitudes imposibles"

POINTER, LOSS, ENCODER = "ej03a_suma_log", "ej03a_perdida_huecos", "ej03b_clase"
LOG_WEIGHTS = 'log_weights = scores.masked_fill(~(mask | empty), float("-inf")).log_softmax(dim=1)'
MENTIONS = "mentions = F.one_hot(document, vocab_size).bool() & mask[..., None]"
SUMS = 'log_weights[..., None].masked_fill(~mentions, float("-inf")).logsumexp(dim=1)'


def weights_then(lines: str) -> str:
    """Una solución que pasa por los pesos: `weights [B, T]`, y lo que se haga con ellos."""
    return f"""
def pointer_sum(scores, document, mask, vocab_size):
    empty = ~mask.any(dim=1, keepdim=True)
    weights = scores.masked_fill(~(mask | empty), float("-inf")).softmax(dim=1)
    weights = weights.masked_fill(~mask, 0.0)
    zeros = weights.new_zeros(len(weights), vocab_size)
{lines}
"""


LOG = """    zero = P == 0
    return P.masked_fill(zero, 1.0).log().masked_fill(zero, float("-inf"))"""


def rewritten(name: str, lines: str, loses: list[str]) -> Variant:
    return Variant(name, POINTER, source=weights_then(lines), loses=frozenset(loses))


WRONG_03A = [
    rewritten(
        "pasa por la softmax y el logaritmo",
        "    P = zeros.scatter_add(1, document, weights)\n" + LOG,
        loses=[FAR],
    ),
    rewritten(
        "la última aparición sobrescribe a las demás",
        "    P = zeros\n    for i in range(document.size(1)):\n        P = torch.where(F.one_hot(document[:, i], vocab_size).bool() & mask[:, i : i + 1], weights[:, i : i + 1], P)\n" + LOG,
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR, GRADIENT],
    ),
    rewritten(
        "el máximo de las apariciones",
        '    P = zeros.scatter_reduce(1, document, weights, "amax")\n' + LOG,
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR, GRADIENT],
    ),
    rewritten(
        "la media de las apariciones",
        "    times = zeros.scatter_add(1, document, mask.to(zeros)).clamp(min=1)\n    P = zeros.scatter_add(1, document, weights) / times\n" + LOG,
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR],
    ),
    rewritten(
        "otra softmax sobre el vocabulario",
        "    return zeros.scatter_add(1, document, weights).log_softmax(dim=1)",
        loses=[SHAPE, SUM, ABSENT, PADDED, EMPTY, HALF, FAR, GRADIENT],
    ),
    rewritten(
        "el logaritmo, antes de sumar",
        "    logs = weights.masked_fill(~mask, 1.0).log()\n    P = zeros.scatter_add(1, document, logs)\n    return P.masked_fill(P == 0, float('-inf'))",
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR, GRADIENT],
    ),
    rewritten(
        "una constante pequeña dentro del logaritmo",
        "    return (zeros.scatter_add(1, document, weights) + 1e-6).log()",
        loses=[SHAPE, SUM, ABSENT, PADDED, EMPTY, HALF, FAR],
    ),
    rewritten(
        "las palabras de todo el lote, juntas",
        "    P = zeros[0].scatter_add(0, document.flatten(), weights.flatten()).expand(len(weights), -1) / len(weights)\n" + LOG,
        loses=[SUM, ABSENT, PADDED, EMPTY, HALF, FAR, GRADIENT],
    ),
    wrong(
        "sin máscara",
        POINTER,
        (LOG_WEIGHTS, "log_weights = scores.log_softmax(dim=1)"),
        (MENTIONS, "mentions = F.one_hot(document, vocab_size).bool()"),
        loses=[PADDED, EMPTY, HALF, GRADIENT],
    ),
    wrong(
        "la máscara, después de la softmax",
        POINTER,
        (LOG_WEIGHTS, "log_weights = scores.log_softmax(dim=1)"),
        loses=[PADDED, HALF, GRADIENT],
    ),
    wrong(
        "el relleno es la palabra 0, y no lo que dice la máscara",
        POINTER,
        (LOG_WEIGHTS, "mask = document != 0\n    empty = ~mask.any(dim=1, keepdim=True)\n    " + LOG_WEIGHTS),
        loses=[PADDED, EMPTY, HALF, GRADIENT],
    ),
    wrong(
        "la máscara, del revés",
        POINTER,
        ("empty = ~mask.any", "mask = ~mask\n    empty = ~mask.any"),
        loses=[SHAPE, SUM, ABSENT, PADDED, EMPTY, HALF, FAR, GRADIENT],
    ),
    wrong(
        "sin normalizar",
        POINTER,
        (".log_softmax(dim=1)", ""),
        loses=[SUM, PADDED, HALF, FAR, GRADIENT],
    ),
    wrong(
        "la softmax sobre el lote",
        POINTER,
        (".log_softmax(dim=1)", ".log_softmax(dim=0)"),
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR, GRADIENT],
    ),
    Variant(
        "documento vacío: softmax de todo menos infinito",
        POINTER,
        source='''
def pointer_sum(scores, document, mask, vocab_size):
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=1) * mask
    P = weights.new_zeros(len(weights), vocab_size).scatter_add(1, document, weights)
    zero = P == 0
    return P.masked_fill(zero, 1.0).log().masked_fill(zero, float("-inf"))
''',
        loses=frozenset([EMPTY, FAR]),
    ),
    rewritten(
        "el logaritmo de cero, sin cuidado",
        "    return zeros.scatter_add(1, document, weights).log()",
        loses=[FAR],
    ),
    wrong(
        "menos diez mil millones, que no cabe en 16 bits",
        POINTER,
        (LOG_WEIGHTS, LOG_WEIGHTS.replace('float("-inf")', "-1e10")),
        loses=[HALF],
    ),
    wrong(
        "separado del grafo",
        POINTER,
        (SUMS, SUMS + ".detach().requires_grad_()"),
        loses=[EMPTY, FAR, GRADIENT],
    ),
    wrong(
        "un número muy negativo en vez de menos infinito",
        POINTER,
        (SUMS, SUMS + ".clamp(min=-100.0)"),
        loses=[SHAPE, SUM, ABSENT, PADDED, EMPTY, HALF, FAR],
    ),
    wrong(
        "probabilidades, sin logaritmo",
        POINTER,
        (SUMS, SUMS + ".exp()"),
        loses=[SHAPE, SUM, ABSENT, PADDED, EMPTY, HALF, FAR, GRADIENT],
    ),
    wrong(
        "un vocabulario de más",
        POINTER,
        ("F.one_hot(document, vocab_size)", "F.one_hot(document, vocab_size + 1)"),
        loses=[SHAPE, SUM, ABSENT, PADDED, HALF, FAR],
    ),
    wrong(
        "divide entre todo el lote",
        LOSS,
        ("possible.sum().clamp(min=1)", "len(answers)"),
        loses=[MEAN, COVERAGE, NOTHING],
    ),
    wrong(
        "la suma, sin media",
        LOSS,
        (" / possible.sum().clamp(min=1)", ""),
        loses=[MEAN],
    ),
    wrong(
        "divide entre cero",
        LOSS,
        (".clamp(min=1)", ""),
        loses=[NOTHING],
    ),
    wrong(
        "promedia también los imposibles",
        LOSS,
        ("chosen.masked_fill(~possible, 0.0).sum() / possible.sum().clamp(min=1)", "chosen.mean()"),
        loses=[MEAN, COVERAGE, NOTHING],
    ),
    wrong(
        "multiplica por la máscara: infinito por cero",
        LOSS,
        ("chosen.masked_fill(~possible, 0.0).sum()", "(chosen * possible).sum()"),
        loses=[MEAN, COVERAGE, NOTHING],
    ),
    wrong(
        "la fracción, como número de huecos",
        LOSS,
        ("possible.float().mean().item()", "float(possible.sum())"),
        loses=[MEAN, COVERAGE, NOTHING],
    ),
    wrong(
        "la fracción, como tensor",
        LOSS,
        ("possible.float().mean().item()", "possible.float().mean()"),
        loses=[COVERAGE],
    ),
    wrong(
        "la pérdida, sin gradiente",
        LOSS,
        ("chosen = log_probs.gather", "chosen = log_probs.detach().gather"),
        loses=[NOTHING],
    ),
    wrong(
        "la media de las probabilidades",
        LOSS,
        ("chosen.masked_fill(~possible, 0.0).sum() / possible.sum().clamp(min=1)", "(chosen.exp().sum() / possible.sum().clamp(min=1) + (possible.sum() == 0)).log()"),
        loses=[MEAN],
    ),
]  # fmt: skip

RIGHT_03A = [
    Variant(
        "bucles y logsumexp",
        POINTER,
        source='''
def pointer_sum(scores, document, mask, vocab_size):
    rows = []
    for z, d, m in zip(scores, document, mask):
        z, d = z[m], d[m]
        row = [z.new_tensor(float("-inf"))] * vocab_size
        if len(z):
            logs = z - torch.logsumexp(z, 0)
            for w in d.unique().tolist():
                row[w] = torch.logsumexp(logs[d == w], 0)
        rows.append(torch.stack(row))
    return torch.stack(rows)
''',
    ),
    Variant(
        "el máximo de cada palabra y scatter_add",
        POINTER,
        source='''
def pointer_sum(scores, document, mask, vocab_size):
    low = torch.finfo(scores.dtype).min
    z = torch.where(mask, scores, torch.full_like(scores, low))
    B = len(z)
    top = z.detach().new_full((B, vocab_size), low).scatter_reduce(1, document, z.detach(), "amax")
    share = (z - top.gather(1, document)).exp() * mask
    sums = z.new_zeros(B, vocab_size).scatter_add(1, document, share)
    there = z.new_zeros(B, vocab_size).scatter_add(1, document, mask.to(z.dtype)) > 0
    logs = sums.masked_fill(~there, 1.0).log() + top.masked_fill(~there, 0.0)
    total = torch.logsumexp(z, 1, keepdim=True)
    total = torch.where(mask.any(1, keepdim=True), total, torch.zeros_like(total))
    return torch.where(there, logs - total, torch.full_like(logs, float("-inf")))
''',
    ),
    Variant(
        "logsumexp de las puntuaciones, y restar el total",
        POINTER,
        [
            (LOG_WEIGHTS, "log_weights = scores - scores.masked_fill(~(mask | empty), float('-inf')).logsumexp(1, keepdim=True)"),
            (MENTIONS, "words = torch.arange(vocab_size, device=document.device)\n    mentions = (document[..., None] == words) & mask[..., None]"),
        ],
    ),
    Variant(
        "elegir las filas posibles",
        LOSS,
        source='''
def cloze_loss(log_probs, answers):
    rows = torch.arange(len(answers))
    inside = log_probs.detach()[rows, answers] > float("-inf")
    if not inside.any():
        return log_probs[:0].sum(), 0.0
    loss = F.nll_loss(log_probs[inside], answers[inside])
    return loss, int(inside.sum()) / len(answers)
''',
    ),
    Variant(
        "una lista de Python",
        LOSS,
        source='''
def cloze_loss(log_probs, answers):
    terms = [-row[a] for row, a in zip(log_probs, answers.tolist()) if row[a] != float("-inf")]
    loss = sum(terms) / len(terms) if terms else 0.0 * log_probs.exp().sum()
    return loss, len(terms) / len(answers)
''',
    ),
]  # fmt: skip

SUMMARY = "summary = torch.cat([final[-2], final[-1]], dim=1)"
LAST = "last = mask.sum(dim=1).clamp(min=1) - 1\n        rows = torch.arange(len(x))\n        half = out.size(2) // 2\n        "
GRU_CALL = "out, final = self.gru(packed)"
PACK = "packed = pack_padded_sequence(x, sizes, batch_first=True, enforce_sorted=False)"
UNPACK = "out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.size(1))"
RESULT = "return out * mask[..., None], summary * mask.any(dim=1)[:, None]"


def summary_from(code: str) -> tuple[str, str]:
    """El cambio que calcula `summary` de las salidas."""
    return SUMMARY, LAST + f"summary = {code}"


WRONG_03B = [
    wrong(
        "la última columna",
        ENCODER,
        (SUMMARY, "summary = out[:, -1]"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "los dos sentidos, en la última palabra",
        ENCODER,
        summary_from("out[rows, last]"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "los dos sentidos, en la primera palabra",
        ENCODER,
        (SUMMARY, "summary = out[:, 0]"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "cada sentido, donde empieza",
        ENCODER,
        summary_from("torch.cat([out[:, 0, :half], out[rows, last, half:]], 1)"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "los dos sentidos, cambiados de orden",
        ENCODER,
        (SUMMARY, "summary = torch.cat([final[-1], final[-2]], dim=1)"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "la media de los estados",
        ENCODER,
        summary_from("(out * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)"),
        loses=[ENDS, TOP, ALONE, BLANK],
    ),
    wrong(
        "el máximo de los estados",
        ENCODER,
        (SUMMARY, "summary = out.masked_fill(~mask[..., None], -2.0).amax(1)"),
        loses=[ENDS, TOP, ALONE, BLANK],
    ),
    wrong(
        "la capa de abajo",
        ENCODER,
        (SUMMARY, "summary = torch.cat([final[0], final[1]], dim=1)"),
        loses=[TOP],
    ),
    wrong(
        "un sentido de cada capa",
        ENCODER,
        (SUMMARY, "summary = torch.cat([final[0], final[-1]], dim=1)"),
        loses=[TOP],
    ),
    wrong(
        "el estado final, con el lote y las capas mezclados",
        ENCODER,
        (SUMMARY, "summary = final[-2:].reshape(len(x), -1)"),
        loses=[ENDS, TOP, ALONE, BLANK],
    ),
    wrong(
        "solo hacia la derecha, dos veces",
        ENCODER,
        (SUMMARY, "summary = torch.cat([final[-2], final[-2]], dim=1)"),
        loses=[ENDS, TOP, HALVES, ALONE, BLANK],
    ),
    wrong(
        "sin paquete: el relleno entra por la derecha",
        ENCODER,
        (GRU_CALL, "out, final = self.gru(x)"),
        ("        " + UNPACK + "\n", ""),
        loses=[ALONE, LEAK, STATES, BLANK],
    ),
    wrong(
        "sin paquete, y → en su última palabra",
        ENCODER,
        (GRU_CALL, "out, final = self.gru(x)"),
        ("        " + UNPACK + "\n", ""),
        summary_from("torch.cat([out[rows, last, :half], out[:, 0, half:]], 1)"),
        loses=[ALONE, LEAK, STATES, BLANK],
    ),
    wrong(
        "exige longitudes ordenadas",
        ENCODER,
        ("enforce_sorted=False", "enforce_sorted=True"),
        loses=[ALONE, LEAK, STATES, BLANK],
    ),
    wrong(
        "ordena y no deshace el orden",
        ENCODER,
        (PACK, "sizes, order = sizes.sort(descending=True)\n        packed = pack_padded_sequence(x[order], sizes, batch_first=True)"),
        loses=[ALONE, STATES, BLANK],
    ),
    wrong(
        "recorta al más largo del lote",
        ENCODER,
        (", total_length=x.size(1)", ""),
        ("return out * mask[..., None]", "return out * mask[:, : out.size(1), None]"),
        loses=[STATES],
    ),
    wrong(
        "todas, con la longitud de la primera",
        ENCODER,
        (PACK, "sizes = sizes[:1].expand(len(x))\n        " + PACK),
        loses=[ALONE, STATES, BLANK],
    ),
    wrong(
        "no admite preguntas vacías",
        ENCODER,
        (".clamp(min=1)", ""),
        loses=[BLANK],
    ),
    wrong(
        "una pregunta vacía lee una palabra",
        ENCODER,
        (RESULT, "return out * mask[..., None], summary"),
        loses=[BLANK],
    ),
    wrong(
        "no comprueba las longitudes",
        ENCODER,
        ("mask = real_positions(x, lengths)", "mask = torch.arange(x.size(1)) < lengths[:, None]"),
        loses=[ERROR],
    ),
    wrong(
        "separado del grafo",
        ENCODER,
        (GRU_CALL, GRU_CALL + "\n        final = final.detach()"),
        loses=[BLANK],
    ),
    wrong(
        "una capa más sobre el resumen",
        ENCODER,
        ("        self.gru = nn.GRU(", "        self.extra = nn.Linear(2 * hidden_dim, 2 * hidden_dim)\n        self.gru = nn.GRU("),
        loses=[GRU],
    ),
    wrong(
        "un solo sentido",
        ENCODER,
        ("batch_first=True, bidirectional=True", "batch_first=True"),
        (SUMMARY, "summary = final[-1]"),
        loses=[SHAPES, GRU, ENDS, TOP, HALVES, ALONE, LEAK, STATES, BLANK, ERROR],
    ),
    wrong(
        "suma los dos sentidos",
        ENCODER,
        (SUMMARY, "summary = final[-2] + final[-1]"),
        loses=[SHAPES, GRU, ENDS, TOP, HALVES, ALONE, LEAK, STATES, BLANK, ERROR],
    ),
]  # fmt: skip

RIGHT_03B = [
    Variant(
        "cada pregunta, sola",
        ENCODER,
        source='''
class QuestionEncoder(nn.Module):
    def __init__(self, embedding_dim, hidden_dim, num_layers=1):
        super().__init__()
        self.gru = nn.GRU(embedding_dim, hidden_dim, num_layers, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        B, Q, _ = x.shape
        if lengths.shape != (B,) or lengths.min() < 0 or lengths.max() > Q:
            raise ValueError("longitudes imposibles")
        D = 2 * self.gru.hidden_size
        states, summary = [], []
        for b, n in enumerate(lengths.tolist()):
            out = self.gru(x[b : b + 1, :n])[0][0] if n else x.new_zeros(0, D)
            states.append(torch.cat([out, out.new_zeros(Q - n, D)]))
            ends = torch.cat([out[-1, : D // 2], out[0, D // 2 :]]) if n else x.new_zeros(D)
            summary.append(ends)
        return torch.stack(states), torch.stack(summary)
''',
    ),
    Variant(
        "elige de las salidas, con gather",
        ENCODER,
        [
            summary_from("torch.cat([out.gather(1, last[:, None, None].expand(-1, 1, half))[:, 0], out[:, 0, half:]], 1)"),
        ],
    ),
    Variant(
        "ordena y deshace el orden",
        ENCODER,
        [
            (PACK, "sizes, order = sizes.sort(descending=True)\n        packed = pack_padded_sequence(x[order], sizes, batch_first=True)"),
            (UNPACK, UNPACK + "\n        back = order.argsort()\n        out, final = out[back], final[:, back]"),
        ],
    ),
    Variant(
        "el estado final, con view",
        ENCODER,
        [
            (SUMMARY, "summary = final.view(-1, 2, len(x), final.size(2))[-1].transpose(0, 1).flatten(1)"),
            (RESULT, "return out.masked_fill(~mask[..., None], 0.0), torch.where(mask.any(1)[:, None], summary, torch.zeros(()))"),
        ],
    ),
]  # fmt: skip

EXERCISES = {"03a": WRONG_03A + RIGHT_03A, "03b": WRONG_03B + RIGHT_03B}
