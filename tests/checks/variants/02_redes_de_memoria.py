"""Respuestas al cuaderno 02: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

FORMULA = "La fórmula, en frases sin relleno"
LENGTHS = "Cada frase, con su longitud"
ZERO = "Cero en el relleno y en las frases vacías"
AXES = "Longitudes con cualquier número de ejes"
SUM = "La suma pesada de las palabras"
PADDING = "El relleno no influye"
STORIES = "Historias, preguntas y frases vacías"
TABLE = "Solo se aprende la tabla, y solo las palabras leídas"
SWAP = "Cambiar dos palabras de sitio cambia el vector"
ORDER = "Aprende una tarea en la que solo cuenta el orden"
NAMES = "Los nombres y las formas de las tablas"
SHARED = "Compartidas de verdad: ni copias ni parámetros de más"
GRADIENT = "El gradiente de una tabla suma todos sus papeles"
ONE = "Un salto"
SEVERAL = "Varios saltos"
WEIGHTS = "Los pesos de cada salto"
AGES = "La última frase que existe tiene edad 1"
LEAK = "El relleno de la historia no influye"
NOTHING = "Sin frases, y con más de las que caben"
LATEST = "Aprende cuál fue el último viaje"

POSITIONS, ENCODER, MEMORY = "ej02a_funcion", "ej02a_clase", "ej02b_clase"
PESOS = [FORMULA, LENGTHS, ZERO, AXES]
VECTORS = [SUM, PADDING, STORIES]
SCORES_OF = [GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK]

PLACE = "place = j / J.clamp(min=1)"
FORMULA_LINE = "return ((1 - place) - k / dim * (1 - 2 * place)) * (j <= J)"
WEIGHTED = "(self.embedding(tokens) * weights).sum(-2)"
TABLE_LINE = "self.embedding = nn.Embedding(vocab_size, dim)"

WRONG_02A = [
    wrong(
        "los lugares, desde 0",
        POSITIONS,
        ("torch.arange(1, max_len + 1, device", "torch.arange(max_len, device"),
        loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES, TABLE],
    ),
    wrong(
        "los canales, desde 0",
        POSITIONS,
        ("torch.arange(1, dim + 1, device", "torch.arange(dim, device"),
        loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES],
    ),
    wrong(
        "el ancho del lote en lugar de la longitud",
        POSITIONS,
        (PLACE, "place = j / max_len"),
        loses=[LENGTHS, AXES, PADDING, STORIES],
    ),
    wrong("el relleno pesa", POSITIONS, (" * (j <= J)", " * (J > -1)"), loses=[ZERO, AXES, PADDING, STORIES, TABLE]),
    wrong("divide entre cero en una frase vacía", POSITIONS, ("J.clamp(min=1)", "J"), loses=[ZERO, STORIES]),
    wrong(
        "sin el término del canal",
        POSITIONS,
        ("(1 - place) - k / dim * (1 - 2 * place)", "(1 - place) + 0 * k"),
        loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES, TABLE],
    ),
    wrong(
        "los canales, antes que los lugares",
        POSITIONS,
        (FORMULA_LINE, FORMULA_LINE.replace("return (", "return ((") + ").transpose(-1, -2)"),
        loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES, TABLE, SWAP, ORDER],
    ),
    wrong("suma el término del canal", POSITIONS, ("- k / dim *", "+ k / dim *"), loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES]),
    wrong(
        "solo longitudes de un eje",
        POSITIONS,
        ("lengths[..., None, None]", "lengths[:, None, None]"),
        loses=[AXES, SUM, PADDING, STORIES, TABLE],
    ),
    wrong(
        "todos los pesos a 1",
        POSITIONS,
        (FORMULA_LINE, "return torch.ones_like(k / dim) * (j <= J)"),
        loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES, SWAP, ORDER],
    ),
    wrong("la última palabra, fuera", POSITIONS, ("(j <= J)", "(j < J)"), loses=[FORMULA, LENGTHS, ZERO, AXES, SUM, PADDING, STORIES, TABLE]),
    wrong("la media de las posiciones", ENCODER, (WEIGHTED, WEIGHTED.replace("sum", "mean")), loses=[SUM, PADDING, STORIES]),
    wrong("suma el eje 1", ENCODER, (".sum(-2)", ".sum(1)"), loses=[SUM, PADDING, STORIES, TABLE]),
    wrong(
        "la suma sin pesos",
        ENCODER,
        ("* weights)", "* (tokens != PAD)[..., None])"),
        loses=[SUM, PADDING, STORIES, SWAP, ORDER],
    ),
    wrong(
        "todas las frases miden lo que el lote",
        ENCODER,
        ("lengths = (tokens != PAD).sum(-1)", "lengths = torch.full(tokens.shape[:-1], tokens.size(-1))"),
        loses=[PADDING, STORIES, TABLE],
    ),
    wrong(
        "una capa de más",
        ENCODER,
        (TABLE_LINE, TABLE_LINE + "\n        self.extra = nn.Linear(dim, dim)"),
        loses=[TABLE],
    ),
    wrong("la tabla no aprende", ENCODER, ("self.embedding(tokens) *", "self.embedding(tokens).detach() *"), loses=[TABLE]),
    wrong(
        "divide entre la longitud",
        ENCODER,
        (".sum(-2)", ".sum(-2) / lengths.clamp(min=1)[..., None]"),
        loses=[SUM, PADDING, STORIES],
    ),
    wrong("las palabras, del revés", ENCODER, ("self.embedding(tokens) *", "self.embedding(tokens.flip(-1)) *"), loses=[SUM, PADDING, STORIES, TABLE, ORDER]),
    wrong(
        "cada frase, según su puesto en la historia",
        ENCODER,
        ("lengths = (tokens != PAD).sum(-1)", "lengths = (tokens != PAD).sum(-1).flatten()[0].expand(tokens.shape[:-1])"),
        loses=[PADDING, STORIES],
    ),
]  # fmt: skip

RIGHT_02A = [
    Variant(
        "los pesos, con bucles",
        POSITIONS,
        source="""
def position_weights(lengths, max_len, dim):
    flat = lengths.reshape(-1).tolist()
    out = torch.zeros(len(flat), max_len, dim)
    for row, J in enumerate(flat):
        for j in range(1, J + 1):
            for k in range(1, dim + 1):
                out[row, j - 1, k - 1] = (1 - j / J) - (k / dim) * (1 - 2 * j / J)
    return out.reshape(*lengths.shape, max_len, dim)
""",
    ),
    Variant(
        "la fórmula, ordenada de otra manera, y where",
        POSITIONS,
        [
            (
                FORMULA_LINE,
                "weights = (1 - k / dim) + place * (2 * k / dim - 1)\n"
                "    return torch.where(j <= J, weights, torch.zeros_like(weights))",
            ),
        ],
    ),
    Variant(
        "einsum, y padding_idx",
        ENCODER,
        [
            (TABLE_LINE, "self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PAD)"),
            (WEIGHTED, 'torch.einsum("...ld,...ld->...d", self.embedding(tokens), weights)'),
        ],
    ),
    Variant(
        "dos sumas, sin escribir los pesos",
        ENCODER,
        source="""
class SentenceEncoder(nn.Module):
    def __init__(self, vocab_size, dim):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.register_buffer("slope", torch.arange(1, dim + 1) / dim, persistent=False)

    def forward(self, tokens):
        real = (tokens > 0).float()
        place = real.cumsum(-1) / real.sum(-1, keepdim=True).clamp(min=1)
        words = self.embedding(tokens)
        early = ((1 - place) * real).unsqueeze(-1) * words
        tilt = ((1 - 2 * place) * real).unsqueeze(-1) * words
        return early.sum(-2) - self.slope * tilt.sum(-2)
""",
    ),
]

SHARE_WORDS = "self.A, self.C = nn.ModuleList(words[:-1]), nn.ModuleList(words[1:])"
SHARE_TIMES = "self.TA, self.TC = nn.ModuleList(times[:-1]), nn.ModuleList(times[1:])"
COPIED = '__import__("copy").deepcopy'
KEYS, VALUES = "bag(A, sentences) + TA(ages)", "bag(C, sentences) + TC(ages)"
AGES_LINE = "ages = (mask.sum(1, keepdim=True) - order) * mask"
SCORES = "(keys @ u[..., None]).squeeze(-1)"
ATTEND = f"p = masked_softmax({SCORES}, mask)"
UPDATE = "u = u + (p[:, None] @ values).squeeze(1)"
ANSWER = "(u @ self.C[-1].weight.T).log_softmax(-1)"
BAG = "(table(tokens) * (tokens != PAD)[..., None]).sum(-2)"
START = "u, weights = bag(self.A[0], question), []"
LIMIT = "self.max_memories = max_memories"

WRONG_02B = [
    wrong(
        "los valores son una copia de las claves siguientes",
        MEMORY,
        (SHARE_WORDS, f"self.A, self.C = nn.ModuleList(words[:-1]), nn.ModuleList({COPIED}(words[1:]))"),
        loses=[SHARED, GRADIENT],
    ),
    wrong(
        "las edades, sin compartir",
        MEMORY,
        (SHARE_TIMES, f"self.TA, self.TC = nn.ModuleList(times[:-1]), nn.ModuleList({COPIED}(times[1:]))"),
        loses=[SHARED, GRADIENT],
    ),
    wrong(
        "los mismos números en dos parámetros",
        MEMORY,
        (LIMIT, LIMIT + f"\n        self.C = nn.ModuleList({COPIED}(words[1:]))\n        for k in range(hops - 1):\n            self.C[k].weight.data = self.A[k + 1].weight.data"),
        loses=[SHARED, GRADIENT],
    ),
    wrong(
        "tablas por capas",
        MEMORY,
        (SHARE_WORDS, "self.A, self.C = nn.ModuleList(words[:1] * hops), nn.ModuleList(words[1:2] * hops)"),
        loses=[SHARED, GRADIENT, SEVERAL, WEIGHTS, LEAK, NOTHING],
    ),
    wrong(
        "una tabla aparte para la pregunta",
        MEMORY,
        (LIMIT, LIMIT + "\n        self.B = nn.Embedding(vocab_size, dim)"),
        (START, START.replace("self.A[0]", "self.B")),
        loses=[SHARED, GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, NOTHING],
    ),
    wrong(
        "una capa aparte para la respuesta",
        MEMORY,
        (LIMIT, LIMIT + "\n        self.W = nn.Linear(dim, vocab_size, bias=False)"),
        (ANSWER, "self.W(u).log_softmax(-1)"),
        loses=[SHARED, GRADIENT, ONE, SEVERAL, LEAK, NOTHING],
    ),
    wrong("sin sumar el estado", MEMORY, (UPDATE, UPDATE.replace("u = u + ", "u = ")), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, LEAK, NOTHING]),
    wrong("las claves del primer salto, siempre", MEMORY, (KEYS, "bag(self.A[0], sentences) + self.TA[0](ages)"), loses=[GRADIENT, SEVERAL, WEIGHTS, LEAK]),
    wrong("las claves también son los valores", MEMORY, (VALUES, KEYS), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, LEAK]),
    wrong("las claves, sin edad", MEMORY, (KEYS, "bag(A, sentences) + 0 * TA(ages)"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, LATEST]),
    wrong("los valores, sin edad", MEMORY, (VALUES, "bag(C, sentences)"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, LEAK]),
    wrong("ninguna edad", MEMORY, (KEYS, "bag(A, sentences)"), (VALUES, "bag(C, sentences)"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, LATEST]),
    wrong("las edades, contadas con N", MEMORY, ("mask.sum(1, keepdim=True) - order", "count - order"), loses=[AGES, LEAK]),
    wrong("la edad es el lugar", MEMORY, (AGES_LINE, "ages = (order + 1) * mask"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK]),
    wrong("las edades, desde 0", MEMORY, (AGES_LINE, "ages = (mask.sum(1, keepdim=True) - order - 1) * mask"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK]),
    wrong("el relleno suma", MEMORY, (BAG, "table(tokens).sum(-2)"), loses=[LEAK]),
    wrong(
        "confía en padding_idx",
        MEMORY,
        (BAG, "table(tokens).sum(-2)"),
        ("words = [nn.Embedding(vocab_size, dim) for", "words = [nn.Embedding(vocab_size, dim, padding_idx=PAD) for"),
        loses=[LEAK],
    ),
    wrong("sin máscara en la softmax", MEMORY, (ATTEND, f"p = {SCORES}.softmax(-1)"), loses=[AGES, LEAK, NOTHING]),
    wrong(
        "menos infinito: nan sin frases",
        MEMORY,
        (ATTEND, f'p = {SCORES}.masked_fill(~mask, float("-inf")).softmax(-1)'),
        loses=[NOTHING],
    ),
    wrong("la máscara, después de la softmax", MEMORY, (ATTEND, f"p = {SCORES}.softmax(-1) * mask"), loses=[AGES, LEAK]),
    wrong("caben todas", MEMORY, ("if count > self.max_memories:", "if count < 0:"), loses=[NOTHING]),
    wrong("cabe una menos", MEMORY, ("if count > self.max_memories:", "if count >= self.max_memories:"), loses=[LEAK, NOTHING]),
    wrong(
        "divide las puntuaciones entre la raíz de d",
        MEMORY,
        (ATTEND, f"p = masked_softmax({SCORES} / u.size(1) ** 0.5, mask)"),
        loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK],
    ),
    wrong(
        "las edades, con otros nombres",
        MEMORY,
        (SHARE_TIMES, SHARE_TIMES.replace("TA", "T_A").replace("TC", "T_C")),
        ("self.TA, self.TC):", "self.T_A, self.T_C):"),
        loses=[NAMES, SHARED, GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, NOTHING, LATEST],
    ),
    wrong("una fila de edades de más", MEMORY, ("nn.Embedding(max_memories + 1, dim)", "nn.Embedding(max_memories + 2, dim)"), loses=[NAMES, SHARED, GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, NOTHING]),
    wrong("responde con la tabla de la pregunta", MEMORY, (ANSWER, ANSWER.replace("self.C[-1]", "self.A[0]")), loses=[GRADIENT, ONE, SEVERAL, LEAK, NOTHING]),
    wrong("el estado, separado del grafo", MEMORY, (UPDATE, UPDATE.replace("u = u +", "u = u.detach() +")), loses=[GRADIENT]),
    wrong("los saltos, del revés", MEMORY, ("torch.stack(weights, dim=1)", "torch.stack(weights[::-1], dim=1)"), loses=[WEIGHTS, LEAK]),
    wrong("probabilidades, sin logaritmo", MEMORY, ("log_softmax(-1)", "softmax(-1)"), loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, LEAK, NOTHING]),
    wrong(
        "un salto de más",
        MEMORY,
        ("range(hops + 1)]\n        times", "range(hops + 2)]\n        times"),
        ("for _ in range(hops + 1)]\n        for table", "for _ in range(hops + 2)]\n        for table"),
        loses=[SHARED, GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK, NOTHING],
    ),
    wrong(
        "puntuaciones sin softmax",
        MEMORY,
        (ATTEND, f"p = {SCORES} * mask"),
        loses=[GRADIENT, ONE, SEVERAL, WEIGHTS, AGES, LEAK],
    ),
]  # fmt: skip

RIGHT_02B = [
    Variant(
        "un bucle por frase, y las tablas creadas salto a salto",
        MEMORY,
        source='''
class AdjacentMemory(nn.Module):
    def __init__(self, vocab_size, dim, hops=3, max_memories=50):
        super().__init__()
        self.limit = max_memories
        self.A, self.C, self.TA, self.TC = (nn.ModuleList() for _ in range(4))
        def new(size):
            table = nn.Embedding(size, dim)
            table.weight.data *= 0.1
            return table
        for k in range(hops):
            self.A.append(self.C[-1] if k else new(vocab_size))
            self.TA.append(self.TC[-1] if k else new(max_memories + 1))
            self.C.append(new(vocab_size))
            self.TC.append(new(max_memories + 1))

    def add_up(self, table, tokens):
        total = 0
        for j in range(tokens.size(1)):
            word = tokens[:, j]
            total = total + torch.where((word > 0)[:, None], table(word), torch.tensor(0.0))
        return total

    def forward(self, sentences, question):
        if len(sentences[0]) > self.limit:
            raise ValueError("demasiadas frases")
        exists = [sentences[:, i].sum(1) > 0 for i in range(len(sentences[0]))]
        total = sum(e.long() for e in exists)
        u, weights = self.add_up(self.A[0], question), []
        for k in range(len(self.A)):
            exps, values = [], []
            for i, here in enumerate(exists):
                age = torch.where(here, total - i, torch.tensor(0))
                m = self.add_up(self.A[k], sentences[:, i]) + self.TA[k](age)
                values.append(self.add_up(self.C[k], sentences[:, i]) + self.TC[k](age))
                exps.append(torch.exp((m * u).sum(1)) * here)
            p = torch.stack(exps, 1)
            p = p / p.sum(1, keepdim=True).clamp(min=1e-30)
            u = u + sum(p[:, i : i + 1] * value for i, value in enumerate(values))
            weights.append(p)
        return torch.log_softmax(u @ self.C[-1].weight.t(), 1), torch.stack(weights, 1)
''',
    ),
    Variant(
        "einsum, edades con cumsum y el mínimo del tipo",
        MEMORY,
        [
            (AGES_LINE, "ages = mask.long().flip(1).cumsum(1).flip(1) * mask"),
            (
                ATTEND,
                'scores = torch.einsum("bnd,bd->bn", keys, u)\n'
                "            low = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n"
                "            p = low.softmax(-1) * mask",
            ),
            (UPDATE, 'u = u + torch.einsum("bn,bnd->bd", p, values)'),
        ],
    ),
    Variant(
        "los pesos compartidos, atributo a atributo",
        MEMORY,
        [
            (SHARE_WORDS, "self.A, self.C = (nn.ModuleList(nn.Embedding(vocab_size, dim) for _ in range(hops)) for _ in 'AC')"),
            (
                LIMIT,
                LIMIT + "\n        for table in (*self.A, *self.C):\n            nn.init.normal_(table.weight, std=0.1)\n"
                "        for k in range(1, hops):\n            self.A[k].weight = self.C[k - 1].weight",
            ),
        ],
    ),
    Variant(
        "una capa lineal que comparte su peso",
        MEMORY,
        [
            (LIMIT, LIMIT + "\n        self.W = nn.Linear(dim, vocab_size, bias=False)\n        self.W.weight = self.C[-1].weight"),
            (ANSWER, "nn.functional.log_softmax(self.W(u), dim=1)"),
        ],
    ),
]  # fmt: skip

EXERCISES = {"02a": WRONG_02A + RIGHT_02A, "02b": WRONG_02B + RIGHT_02B}
