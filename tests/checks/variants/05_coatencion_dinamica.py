"""Respuestas al cuaderno 05: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPE = "Forma de la salida"
PARAMETERS = "Los parámetros son los de la tabla"
ONE = "Una ronda es [D; C^D]"
GRADIENT = "El gradiente llega a los centinelas y a la capa de la pregunta"
PADDED = "Con relleno, cada ejemplo como si estuviera solo"
NOISE = "Lo que hay en el relleno no influye"
EMPTY = "A una pregunta vacía solo le queda el centinela"
HALF = "Funciona en 16 bits"
TWO = "La segunda ronda parte de lo que dejó la primera"
THREE = "Tres rondas"
SCORER = "Formas y parámetros de MaxoutScorer"
LARGEST = "Se queda con la mayor de las p versiones"
FORMULA = "La puntuación es la de la fórmula"
STATE = "El estado avanza con lo que hay en el tramo"
START = "Las puntuaciones del principio"
END = "Las del fin miran el principio nuevo"
PAD = "El relleno vale −∞ y no se elige"
BEST = "Devuelve las posiciones de mayor puntuación"
FLOW = "El gradiente llega a los dos puntuadores y a la celda"

LAYER, SCORE, STEP = "ej05a_clase", "ej05b_puntuar", "ej05b_clase"

A_Q = "A_Q = masked_softmax(scores, real, dim=1)"
A_D = "A_D = masked_softmax(scores, real, dim=2)"
REAL = "real = doc_mask[:, :, None] & ques_mask[:, None, :]"
TANH = "Q = torch.tanh(self.question_projection(Q))"
VALUES = [ONE, PADDED, HALF, TWO, THREE]  # lo que pierde quien calcula otra cosa
EVERYTHING = [SHAPE, *VALUES, NOISE, EMPTY]

WRONG_05A = [
    wrong(
        "las dos softmax, cambiadas de eje",
        LAYER,
        (A_Q, "A_Q = masked_softmax(scores, real, dim=2)"),
        (A_D, "A_D = masked_softmax(scores, real, dim=1)"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "la misma softmax dos veces",
        LAYER,
        (A_Q, "A_Q = masked_softmax(scores, real, dim=2)"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "A_D también sobre el documento",
        LAYER,
        (A_D, "A_D = masked_softmax(scores, real, dim=1)"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "sin centinelas: no se les puede atender",
        LAYER,
        ("F.pad(doc_mask, (0, 1), value=True)", "F.pad(doc_mask, (0, 1), value=False)"),
        ("F.pad(ques_mask, (0, 1), value=True)", "F.pad(ques_mask, (0, 1), value=False)"),
        loses=[*VALUES, GRADIENT, EMPTY],
    ),
    wrong(
        "sin el centinela de la pregunta",
        LAYER,
        ("F.pad(ques_mask, (0, 1), value=True)", "F.pad(ques_mask, (0, 1), value=False)"),
        loses=[*VALUES, GRADIENT, EMPTY],
    ),
    wrong(
        "el centinela, tapado en los ejemplos con relleno",
        LAYER,
        ("F.pad(doc_mask, (0, 1), value=True)", "F.pad(doc_mask, (1, 0), value=True)"),
        ("F.pad(ques_mask, (0, 1), value=True)", "F.pad(ques_mask, (1, 0), value=True)"),
        loses=[PADDED, NOISE, EMPTY, HALF, TWO],
    ),
    wrong(
        "sin máscaras",
        LAYER,
        (REAL, "real = torch.ones_like(doc_mask[:, :, None] & ques_mask[:, None, :])"),
        loses=[PADDED, NOISE, EMPTY, HALF, TWO],
    ),
    wrong(
        "solo la máscara del documento",
        LAYER,
        (REAL, "real = doc_mask[:, :, None] & torch.ones_like(ques_mask)[:, None, :]"),
        loses=[PADDED, NOISE, EMPTY, TWO],
    ),
    wrong(
        "solo la máscara de la pregunta",
        LAYER,
        (REAL, "real = torch.ones_like(doc_mask)[:, :, None] & ques_mask[:, None, :]"),
        loses=[PADDED, NOISE, EMPTY, HALF, TWO],
    ),
    wrong(
        "la máscara, después de la softmax",
        LAYER,
        (A_Q, "A_Q = scores.softmax(1) * real"),
        (A_D, "A_D = scores.softmax(2) * real"),
        loses=[PADDED, NOISE, EMPTY, HALF, TWO],
    ),
    wrong(
        "solo C, sin S",
        LAYER,
        ("S, C = A_D @ Q, A_D @ C_Q", "S, C = A_D @ C_Q, A_D @ C_Q"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "el orden de los bloques",
        LAYER,
        ("blocks += [S, C]", "blocks += [C, S]"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "la pregunta, sin tanh",
        LAYER,
        (TANH, "Q = self.question_projection(Q)"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "la pregunta, sin su capa",
        LAYER,
        (TANH, "Q = torch.tanh(Q)"),
        loses=[*VALUES, EMPTY, GRADIENT],
    ),
    wrong(
        "el centinela de la pregunta no pasa por la capa",
        LAYER,
        (TANH, "Q = torch.cat([torch.tanh(self.question_projection(Q[:, :-1])), Q[:, -1:]], 1)"),
        loses=[*VALUES, EMPTY],
    ),
    wrong(
        "el documento también pasa por la capa",
        LAYER,
        (TANH, TANH + "\n        D = torch.tanh(self.question_projection(D))"),
        loses=[*VALUES, SHAPE, PARAMETERS, GRADIENT, EMPTY],
    ),
    wrong(
        "el centinela del documento se queda en la salida",
        LAYER,
        ("torch.cat(blocks, dim=-1)[:, :-1]", "torch.cat(blocks, dim=-1)"),
        loses=[*EVERYTHING, PARAMETERS, GRADIENT],
    ),
    wrong(
        "quita la primera palabra en vez del centinela",
        LAYER,
        ("torch.cat(blocks, dim=-1)[:, :-1]", "torch.cat(blocks, dim=-1)[:, 1:]"),
        loses=[*EVERYTHING, PARAMETERS, GRADIENT],
    ),
    wrong(
        "cada ronda repite la primera",
        LAYER,
        ("            D, Q = S, C_Q\n", ""),
        loses=[TWO, THREE],
    ),
    wrong(
        "la ronda siguiente, con C en vez de S",
        LAYER,
        ("D, Q = S, C_Q", "D, Q = C, C_Q"),
        loses=[TWO, THREE],
    ),
    wrong(
        "otra tanh en cada ronda",
        LAYER,
        ("D, Q = S, C_Q", "D, Q = S, torch.tanh(self.question_projection(C_Q))"),
        loses=[TWO, THREE],
    ),
    wrong(
        "nunca más de dos rondas",
        LAYER,
        ("range(self.rounds)", "range(min(self.rounds, 2))"),
        loses=[SHAPE, THREE],
    ),
    wrong(
        "una capa para cada ronda",
        LAYER,
        ("self.rounds = rounds", "self.rounds = rounds\n        self.more = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(rounds))"),
        loses=[PARAMETERS],
    ),
    wrong(
        "−1e10 en lo prohibido",
        LAYER,
        (A_Q, "A_Q = scores.masked_fill(~real, -1e10).softmax(1) * real"),
        (A_D, "A_D = scores.masked_fill(~real, -1e10).softmax(2) * real"),
        loses=[HALF],
    ),
    wrong(
        "una pregunta vacía da nan",
        LAYER,
        (A_D, "A_D = masked_softmax(scores, real, dim=2) / (ques_mask[:, :-1].any(1)[:, None, None])"),
        loses=[EMPTY],
    ),
    wrong(
        "el centinela, separado del grafo",
        LAYER,
        ("self.doc_sentinel.expand", "self.doc_sentinel.detach().expand"),
        loses=[GRADIENT],
    ),
]  # fmt: skip

RIGHT_05A = [
    Variant(
        "un bucle por ejemplo",
        LAYER,
        source='''
class DeepCoattention(nn.Module):
    def __init__(self, hidden_dim, rounds=1):
        super().__init__()
        self.doc_sentinel = nn.Parameter(torch.zeros(hidden_dim))
        self.ques_sentinel = nn.Parameter(torch.zeros(hidden_dim))
        self.question_projection = nn.Linear(hidden_dim, hidden_dim)
        self.rounds = rounds

    def forward(self, doc_states, ques_states, doc_mask=None, ques_mask=None):
        outs = []
        T = doc_states.size(1)
        for b in range(len(doc_states)):
            d, q = doc_states[b], ques_states[b]
            if doc_mask is not None:
                d = d[doc_mask[b]]
            if ques_mask is not None:
                q = q[ques_mask[b]]
            D = torch.cat((d, self.doc_sentinel[None]))
            Q = self.question_projection(torch.cat((q, self.ques_sentinel[None]))).tanh()
            out = [D]
            for _ in range(self.rounds):
                L = D @ Q.T
                CQ = L.softmax(0).T @ D
                both = L.softmax(1) @ torch.cat((Q, CQ), 1)
                out.append(both)
                D, Q = both[:, : D.size(1)], CQ
            out = torch.cat(out, 1)[:-1]
            outs.append(torch.cat((out, out.new_zeros(T - len(out), out.size(1)))))
        return torch.stack(outs)
''',
    ),
    Variant(
        "el centinela delante, y einsum",
        LAYER,
        source='''
class DeepCoattention(nn.Module):
    def __init__(self, hidden_dim, rounds=1):
        super().__init__()
        self.doc_sentinel = nn.Parameter(torch.randn(hidden_dim))
        self.ques_sentinel = nn.Parameter(torch.randn(hidden_dim))
        self.question_projection = nn.Linear(hidden_dim, hidden_dim)
        self.n = rounds

    def grow(self, x, mask, sentinel):
        B, S, H = x.shape
        mask = torch.ones(B, S, dtype=torch.bool) if mask is None else mask
        x = torch.where(mask[..., None], x, torch.zeros_like(x))
        return torch.cat([sentinel.repeat(B, 1, 1), x], 1), torch.cat([mask[:, :0], torch.ones(B, 1, dtype=torch.bool), mask], 1)

    def forward(self, doc_states, ques_states, doc_mask=None, ques_mask=None):
        D, dm = self.grow(doc_states, doc_mask, self.doc_sentinel)
        Q, qm = self.grow(ques_states, ques_mask, self.ques_sentinel)
        Q = torch.tanh(self.question_projection(Q))
        found = [D]
        for _ in range(self.n):
            L = torch.einsum("bth,bjh->btj", D, Q)
            over_doc = L.masked_fill(~dm[:, :, None], float("-inf")).softmax(1)
            over_ques = L.masked_fill(~qm[:, None, :], float("-inf")).softmax(2)
            CQ = torch.einsum("btj,bth->bjh", over_doc, D)
            S = torch.einsum("btj,bjh->bth", over_ques, Q)
            found.extend([S, torch.einsum("btj,bjh->bth", over_ques, CQ)])
            D, Q = S, CQ
        return torch.cat(found, 2)[:, 1:]
''',
    ),
    Variant(
        "el mínimo del tipo, y multiplicar por la máscara",
        LAYER,
        [
            (A_Q, "low = scores.masked_fill(~real, torch.finfo(scores.dtype).min)\n            A_Q = low.softmax(1) * real"),
            (A_D, "A_D = low.softmax(2) * real"),
        ],
    ),
    Variant(
        "C^D de una vez, y el relleno de la salida a cero",
        LAYER,
        [
            ("S, C = A_D @ Q, A_D @ C_Q", "S, C = (A_D @ torch.cat([Q, C_Q], -1)).chunk(2, -1)"),
            ("return torch.cat(blocks, dim=-1)[:, :-1]", "return (torch.cat(blocks, dim=-1) * doc_mask[..., None])[:, :-1]"),
        ],
    ),
]  # fmt: skip

LARGEST_LINE = "return values.unflatten(-1, (self.pool_size, -1)).amax(-2)"
R = "r = torch.tanh(self.mix(torch.cat([h, u_start, u_end], dim=-1)))"
LAST = "return largest(self.third(torch.cat([m1, m2], dim=-1))).squeeze(-1)"
CELL = "state = self.cell(torch.cat([u_start, u_end], dim=-1), state)"
END_LINE = "end_scores = self.end_scorer(U, state[0], U[rows, new_start], u_end)"
MASK_START = "        start_scores = start_scores.masked_fill(~mask, -math.inf)\n"
MASK_END = "        end_scores = end_scores.masked_fill(~mask, -math.inf)\n"
GATHER = "u_start, u_end = U[rows, start], U[rows, end]"
RETURN = "return start_scores, end_scores, new_start, end_scores.argmax(1), state"

WRONG_05B = [
    wrong(
        "la media en vez del máximo",
        SCORE,
        (".amax(-2)", ".mean(-2)"),
        loses=[LARGEST, FORMULA],
    ),
    wrong(
        "la suma de las versiones",
        SCORE,
        (".amax(-2)", ".sum(-2)"),
        loses=[LARGEST, FORMULA],
    ),
    wrong(
        "las versiones, ordenadas como en la lección",
        SCORE,
        (LARGEST_LINE, "return values.unflatten(-1, (-1, self.pool_size)).amax(-1)"),
        loses=[FORMULA],
    ),
    wrong(
        "la menor de las versiones",
        SCORE,
        (".amax(-2)", ".amin(-2)"),
        loses=[LARGEST, FORMULA],
    ),
    wrong(
        "sin el atajo: la última capa recibe dos veces m2",
        SCORE,
        (LAST, LAST.replace("[m1, m2]", "[m2, m2]")),
        loses=[FORMULA],
    ),
    wrong(
        "el atajo, al revés",
        SCORE,
        (LAST, LAST.replace("[m1, m2]", "[m2, m1]")),
        loses=[FORMULA],
    ),
    wrong(
        "r sin tanh",
        SCORE,
        (R, "r = self.mix(torch.cat([h, u_start, u_end], dim=-1))"),
        loses=[FORMULA],
    ),
    wrong(
        "principio y fin, cambiados en r",
        SCORE,
        (R, R.replace("u_start, u_end", "u_end, u_start")),
        loses=[FORMULA],
    ),
    wrong(
        "la primera capa solo ve r",
        SCORE,
        ("torch.cat([U, r], dim=-1)", "torch.cat([torch.zeros_like(U), r], dim=-1)"),
        loses=[FORMULA],
    ),
    wrong(
        "una ReLU de más",
        SCORE,
        ("m2 = largest(self.second(m1))", "m2 = torch.relu(largest(self.second(m1)))"),
        loses=[FORMULA],
    ),
    wrong(
        "mix con sesgo",
        SCORE,
        (", hidden_dim, bias=False)", ", hidden_dim)"),
        loses=[SCORER, FORMULA],
    ),
    wrong(
        "sobra un eje",
        SCORE,
        (".squeeze(-1)", ""),
        loses=[SCORER, LARGEST, FORMULA, START, END, PAD, BEST, STATE, FLOW],
    ),
    wrong(
        "el fin usa el principio anterior, como en el artículo",
        STEP,
        ("U[rows, new_start], u_end)", "u_start, u_end)"),
        loses=[END],
    ),
    wrong(
        "el fin usa los parámetros del principio",
        STEP,
        ("self.end_scorer(U, state[0]", "self.start_scorer(U, state[0]"),
        loses=[END, FLOW],
    ),
    wrong(
        "el fin, con U pesada por la softmax del principio",
        STEP,
        ("U[rows, new_start], u_end)", "(start_scores.softmax(1)[:, None] @ U).squeeze(1), u_end)"),
        loses=[END],
    ),
    wrong(
        "el fin, con el estado anterior",
        STEP,
        (CELL, "old = state\n        " + CELL),
        ("self.end_scorer(U, state[0]", "self.end_scorer(U, state[0] if old is None else old[0]"),
        loses=[END],
    ),
    wrong(
        "el principio, una posición corrido",
        STEP,
        (GATHER, "u_start, u_end = U[rows, (start + 1) % U.size(1)], U[rows, end]"),
        loses=[STATE, START, END],
    ),
    wrong(
        "mezcla los ejemplos del lote",
        STEP,
        (GATHER, "u_start, u_end = U[rows.flip(0), start], U[rows.flip(0), end]"),
        loses=[STATE, START, END],
    ),
    wrong(
        "devuelve el estado que recibió",
        STEP,
        (CELL, "new = self.cell(torch.cat([u_start, u_end], dim=-1), state)\n        state = new if state is None else state"),
        loses=[STATE, START, END, FLOW],
    ),
    wrong(
        "la celda empieza siempre de cero",
        STEP,
        (CELL, "state = self.cell(torch.cat([u_start, u_end], dim=-1))"),
        loses=[STATE, START, END, FLOW],
    ),
    wrong(
        "la celda recibe el fin y el principio",
        STEP,
        (CELL, "state = self.cell(torch.cat([u_end, u_start], dim=-1), state)"),
        loses=[STATE, START, END],
    ),
    wrong(
        "sin máscara",
        STEP,
        (MASK_START, ""),
        (MASK_END, ""),
        loses=[PAD],
    ),
    wrong(
        "el principio se elige antes de enmascarar",
        STEP,
        (MASK_START, ""),
        ("        new_start = start_scores.argmax(1)\n", "        new_start = start_scores.argmax(1)\n" + MASK_START),
        loses=[PAD, BEST],
    ),
    wrong(
        "ceros en el relleno",
        STEP,
        (MASK_START, MASK_START.replace("-math.inf", "0.0")),
        (MASK_END, MASK_END.replace("-math.inf", "0.0")),
        loses=[PAD],
    ),
    wrong(
        "devuelve las posiciones anteriores",
        STEP,
        (RETURN, "return start_scores, end_scores, start, end, state"),
        loses=[BEST],
    ),
    wrong(
        "el fin, nunca antes que el principio",
        STEP,
        (RETURN, "return start_scores, end_scores, new_start, torch.maximum(new_start, end_scores.argmax(1)), state"),
        loses=[BEST],
    ),
    wrong(
        "U, separada del grafo en la celda",
        STEP,
        (CELL, CELL + "\n        state = tuple(part.detach() for part in state)"),
        loses=[FLOW],
    ),
]  # fmt: skip

RIGHT_05B = [
    Variant(
        "las versiones, con chunk y maximum",
        SCORE,
        [(LARGEST_LINE, "return torch.stack(values.chunk(self.pool_size, dim=-1)).max(0).values")],
    ),
    Variant(
        "view y max, y r repetida",
        SCORE,
        [
            (LARGEST_LINE, "return values.view(*values.shape[:2], self.pool_size, -1).max(2)[0]"),
            ("r = r[:, None].expand(-1, U.size(1), -1)", "r = r.unsqueeze(1).repeat(1, U.shape[1], 1)"),
        ],
    ),
    Variant(
        "los extremos, con gather",
        STEP,
        [
            (GATHER, "pick = lambda where: U.gather(1, where[:, None, None].expand(-1, 1, U.size(2))).squeeze(1)\n        u_start, u_end = pick(start), pick(end)"),
            ("U[rows, new_start], u_end)", "pick(new_start), u_end)"),
        ],
    ),
    Variant(
        "un bucle por ejemplo para coger las filas",
        STEP,
        [
            (GATHER, "u_start = torch.stack([U[b, int(start[b])] for b in range(len(U))])\n        u_end = torch.stack([U[b, int(end[b])] for b in range(len(U))])"),
            (MASK_END, '        end_scores = torch.where(mask, end_scores, torch.tensor(float("-inf")))\n'),
        ],
    ),
]  # fmt: skip

EXERCISES = {"05a": WRONG_05A + RIGHT_05A, "05b": WRONG_05B + RIGHT_05B}
