"""Respuestas al cuaderno 08: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPES = "Formas de context, aoa y G"
FUSE = "fuse es lo único que se aprende"
AOA = "Sin relleno, aoa es la del artículo"
PADDED = "Con relleno, aoa es la de cada ejemplo recortado"
SUM = "aoa suma 1"
C2Q = "C2Q: h, u y su producto"
Q2C = "Q2C: h por el resumen c"
CONTEXT = "El contexto es la mezcla con s de ReLU(fuse(G))"
GRADIENT = "El gradiente llega al documento, a la pregunta y a fuse"
LEAK = "Lo que hay en el relleno no influye"
NONE = "Sin máscaras es lo mismo que con todo real"
EMPTY = "Documento o pregunta vacíos: ceros y gradientes finitos"
FIGURES = "Las tres cifras son las de la tabla"
MODE = "En modo evaluación, y dejando el lector como estaba"
QA = "Supera a la mayoría y a quien no lee la pregunta"
EVEN = "Los valores con tamaño par"
ODD = "Los valores con tamaño impar"
ADDED = "Se suma a x, y es la misma en todo el lote"
LONG = "ValueError si la secuencia no cabe"
PARAMETERS = "No tiene parámetros"
MOVES = "La tabla viaja con el módulo"
DROPOUT = "El dropout actúa sobre la suma, al entrenar y solo entonces"
INPUTS = "Las dos entradas llevan su posición, una sola vez"
LENGTHS = "Las longitudes llegan a la capa"
GIVEN = "Usa la capa que se le da, y su dropout"
ORDER = "Con posiciones, un lector sin recurrencia ve el orden"


LAYER, MEASURE, ENCODING, WRAPPER = "ej3a_clase", "ej3a_medir", "ej3b_clase", "ej3b_capa"
REAL = "real = doc_mask[:, :, None] & ques_mask[:, None, :]"
ALPHA = "alpha = masked_softmax(scores, real, dim=1)"
BETA = "beta = masked_softmax(scores, real, dim=2)"
MEAN = "query_weights = beta.sum(1) / doc_mask.sum(1, keepdim=True).clamp(min=1)  # [B, Q]"
AOA_LINE = "aoa = (alpha @ query_weights[..., None]).squeeze(-1)"
G_LINE = "G = torch.cat([h_doc, attended, h_doc * attended, h_doc * summary], dim=-1)"
CONTEXT_LINE = "context = (aoa[:, None] @ torch.relu(self.fuse(G))).squeeze(1)"

WRONG_3A = [
    wrong(
        "la media del producto, como la fórmula de partida",
        LAYER,
        (AOA_LINE, "aoa = (alpha * beta).mean(2)"),
        loses=[AOA, PADDED, SUM],
    ),
    wrong(
        "las dos softmax, cambiadas de eje",
        LAYER,
        (ALPHA, "alpha = masked_softmax(scores, real, dim=2)"),
        (BETA, "beta = masked_softmax(scores, real, dim=1)"),
        loses=[AOA, PADDED, SUM, C2Q, Q2C, CONTEXT, GRADIENT],
    ),
    wrong(
        "todas las palabras de la pregunta pesan igual",
        LAYER,
        (MEAN, "query_weights = ques_mask / ques_mask.sum(1, keepdim=True).clamp(min=1)"),
        loses=[AOA, PADDED, Q2C],
    ),
    wrong(
        "la media de beta, sobre las filas de relleno también",
        LAYER,
        (MEAN, "query_weights = beta.mean(1)"),
        loses=[PADDED, SUM, Q2C],
    ),
    wrong(
        "sin máscaras",
        LAYER,
        (REAL, "real = torch.ones_like(doc_mask[:, :, None] & ques_mask[:, None, :])"),
        loses=[PADDED, SUM, C2Q, Q2C, LEAK, NONE, EMPTY],
    ),
    wrong(
        "solo la máscara de la pregunta",
        LAYER,
        (REAL, "real = ques_mask[:, None, :].expand(-1, h_doc.size(1), -1)"),
        loses=[PADDED, SUM, Q2C, LEAK, NONE, EMPTY],
    ),
    wrong(
        "solo la máscara del documento",
        LAYER,
        (REAL, "real = doc_mask[:, :, None].expand(-1, -1, h_ques.size(1))"),
        loses=[PADDED, C2Q, Q2C, LEAK, EMPTY],
    ),
    wrong(
        "la máscara, después de la softmax",
        LAYER,
        (ALPHA, "alpha = scores.softmax(1) * real"),
        (BETA, "beta = scores.softmax(2) * real"),
        loses=[PADDED, SUM, C2Q, Q2C, LEAK],
    ),
    wrong(
        "menos infinito: nan con lo vacío",
        LAYER,
        (ALPHA, 'alpha = scores.masked_fill(~real, float("-inf")).softmax(1)'),
        (BETA, 'beta = scores.masked_fill(~real, float("-inf")).softmax(2).nan_to_num(0.0)'),
        loses=[PADDED, SUM, Q2C, LEAK, EMPTY],
    ),
    wrong(
        "divide las puntuaciones entre la raíz de D",
        LAYER,
        ("scores = h_doc @ h_ques.transpose(1, 2)", "scores = h_doc @ h_ques.transpose(1, 2) / math.sqrt(h_doc.size(-1))"),
        loses=[AOA, PADDED, C2Q, Q2C],
    ),
    wrong(
        "otra softmax sobre aoa",
        LAYER,
        (AOA_LINE, "aoa = masked_softmax((alpha @ query_weights[..., None]).squeeze(-1), doc_mask, 1)"),
        loses=[AOA, PADDED, SUM, EMPTY],
    ),
    wrong(
        "C2Q con alpha en vez de beta",
        LAYER,
        ("attended = beta @ h_ques", "attended = alpha @ h_ques"),
        loses=[C2Q, Q2C, CONTEXT, GRADIENT],
    ),
    wrong(
        "Q2C con beta en vez de alpha",
        LAYER,
        ("summaries = alpha.transpose(1, 2) @ h_doc", "summaries = beta.transpose(1, 2) @ h_doc"),
        loses=[Q2C],
    ),
    wrong(
        "Q2C: la media de los resúmenes, sin pesos",
        LAYER,
        ("summary = query_weights[:, None] @ summaries", "summary = summaries.mean(1, keepdim=True)"),
        loses=[Q2C],
    ),
    wrong(
        "u por c en el cuarto bloque",
        LAYER,
        ("h_doc * summary]", "attended * summary]"),
        loses=[Q2C],
    ),
    wrong(
        "suma en vez de multiplicar",
        LAYER,
        ("h_doc * attended, h_doc * summary", "h_doc + attended, h_doc + summary"),
        loses=[C2Q, Q2C],
    ),
    wrong(
        "los bloques, en otro orden",
        LAYER,
        ("h_doc * attended, h_doc * summary", "h_doc * summary, h_doc * attended"),
        loses=[C2Q, Q2C],
    ),
    wrong(
        "sin la dirección Q2C",
        LAYER,
        ("h_doc * summary]", "torch.zeros_like(h_doc)]"),
        loses=[Q2C],
    ),
    wrong("sin ReLU", LAYER, ("torch.relu(self.fuse(G))", "self.fuse(G)"), loses=[CONTEXT]),
    wrong(
        "mezcla antes de fuse",
        LAYER,
        (CONTEXT_LINE, "context = torch.relu(self.fuse((aoa[:, None] @ G).squeeze(1)))"),
        loses=[CONTEXT, EMPTY],
    ),
    wrong(
        "la media de las posiciones, sin s",
        LAYER,
        (CONTEXT_LINE, "context = (torch.relu(self.fuse(G)) * doc_mask[..., None]).sum(1) / doc_mask.sum(1, keepdim=True).clamp(min=1)"),
        loses=[CONTEXT, EMPTY],
    ),
    wrong(
        "el contexto no lleva gradiente a fuse",
        LAYER,
        ("return context, aoa, G", "return context.detach(), aoa, G"),
        loses=[GRADIENT, QA],
    ),
    wrong(
        "aoa, separada del grafo",
        LAYER,
        (AOA_LINE, "aoa = (alpha @ query_weights[..., None]).squeeze(-1).detach()"),
        loses=[GRADIENT],
    ),
    wrong(
        "una BiGRU dentro",
        LAYER,
        ("self.fuse = nn.Linear(4 * hidden_dim, hidden_dim)", "self.fuse = nn.Linear(4 * hidden_dim, hidden_dim)\n        self.gru = nn.GRU(hidden_dim, hidden_dim)"),
        loses=[FUSE],
    ),
    wrong(
        "G de tres bloques",
        LAYER,
        (G_LINE, "G = torch.cat([h_doc, attended, h_doc * attended], dim=-1)"),
        ("nn.Linear(4 * hidden_dim, hidden_dim)", "nn.Linear(3 * hidden_dim, hidden_dim)"),
        loses=[SHAPES, FUSE, AOA, PADDED, SUM, C2Q, Q2C, CONTEXT, GRADIENT, LEAK, NONE, EMPTY],
    ),
    wrong(
        "sin máscara de la pregunta, falla",
        LAYER,
        ("if ques_mask is None:", "if doc_mask is None:"),
        loses=[SHAPES, FUSE, AOA, PADDED, SUM, C2Q, Q2C, CONTEXT, GRADIENT, LEAK, NONE, EMPTY],
    ),
    wrong(
        "no lee la pregunta",
        LAYER,
        ("scores = h_doc", "h_ques = torch.ones_like(h_ques)\n        scores = h_doc"),
        loses=[AOA, PADDED, C2Q, Q2C, CONTEXT, GRADIENT, QA],
    ),
    wrong(
        "mide en modo entrenamiento",
        MEASURE,
        ("    reader.eval()\n", ""),
        loses=[MODE],
    ),
    wrong(
        "deja el lector en modo evaluación",
        MEASURE,
        ("    reader.train(was_training)\n", ""),
        loses=[MODE],
    ),
    wrong(
        "mueve también las respuestas",
        MEASURE,
        ("questions.roll(1, 0)).argmax(1) == answers", "questions.roll(1, 0)).argmax(1) == answers.roll(1, 0)"),
        loses=[FIGURES],
    ),
    wrong(
        "la pregunta del siguiente, no la del anterior",
        MEASURE,
        ("questions.roll(1, 0)", "questions.roll(-1, 0)"),
        loses=[FIGURES],
    ),
    wrong(
        "mueve las palabras dentro de la pregunta",
        MEASURE,
        ("questions.roll(1, 0)", "questions.roll(1, 1)"),
        loses=[FIGURES],
    ),
    wrong(
        "la mayoría, como número de aciertos",
        MEASURE,
        ("answers.bincount().max().item() / len(answers)", "float(answers.bincount().max())"),
        loses=[FIGURES],
    ),
    wrong(
        "la mayoría de lo que responde el lector",
        MEASURE,
        ("answers.bincount().max().item() / len(answers)", "(answers == reader(documents, questions).argmax(1).mode().values).float().mean().item()"),
        loses=[FIGURES],
    ),
    wrong(
        "tensores, no números",
        MEASURE,
        ("right.float().mean().item()", "right.float().mean()"),
        loses=[FIGURES],
    ),
]  # fmt: skip

RIGHT_3A = [
    Variant(
        "un bucle por ejemplo",
        LAYER,
        source='''
class BidirectionalAoA(nn.Module):
    def __init__(self, hidden_dim):
        super().__init__()
        self.fuse = nn.Linear(hidden_dim * 4, hidden_dim)

    def forward(self, h_doc, h_ques, doc_mask=None, ques_mask=None):
        B, T, D = h_doc.shape
        contexts, weights, blocks = [], [], []
        for b in range(B):
            n = T if doc_mask is None else int(doc_mask[b].sum())
            m = h_ques.size(1) if ques_mask is None else int(ques_mask[b].sum())
            if n == 0 or m == 0:
                contexts.append(torch.zeros(D))
                weights.append(torch.zeros(T))
                blocks.append(torch.zeros(T, 4 * D))
                continue
            h, q = h_doc[b, :n], h_ques[b, :m]
            M = h @ q.T
            alpha, beta = torch.softmax(M, 0), torch.softmax(M, 1)
            s = (alpha * beta.mean(0)).sum(1)
            u, c = beta @ q, s @ h
            G = torch.cat([h, u, h * u, h * c], 1)
            contexts.append((s[:, None] * self.fuse(G).clamp(min=0)).sum(0))
            weights.append(torch.cat([s, s.new_zeros(T - n)]))
            blocks.append(torch.cat([G, G.new_zeros(T - n, 4 * D)]))
        return torch.stack(contexts), torch.stack(weights), torch.stack(blocks)
''',
    ),
    Variant(
        "einsum, y la softmax a mano",
        LAYER,
        source='''
class BidirectionalAoA(nn.Module):
    def __init__(self, hidden_dim):
        super().__init__()
        self.fuse = nn.Linear(4 * hidden_dim, hidden_dim)
        self.act = nn.ReLU()

    def forward(self, h_doc, h_ques, doc_mask=None, ques_mask=None):
        dm = torch.ones_like(h_doc[..., 0]) if doc_mask is None else doc_mask.to(h_doc)
        qm = torch.ones_like(h_ques[..., 0]) if ques_mask is None else ques_mask.to(h_doc)
        both = torch.einsum("bt,bq->btq", dm, qm)
        M = torch.einsum("btd,bqd->btq", h_doc, h_ques) * both
        def normalise(axis):
            e = torch.exp(M - M.amax(axis, keepdim=True).detach()) * both
            return e / e.sum(axis, keepdim=True).clamp(min=1e-20)
        alpha, beta = normalise(1), normalise(2)
        bar = beta.sum(1) / dm.sum(1).clamp(min=1)[:, None]
        s = torch.einsum("btq,bq->bt", alpha, bar)
        u = torch.einsum("btq,bqd->btd", beta, h_ques)
        c = torch.einsum("bt,btd->bd", s, h_doc)[:, None]
        G = torch.cat((h_doc, u, h_doc * u, h_doc * c), -1)
        return torch.einsum("bt,btd->bd", s, self.act(self.fuse(G))), s, G
''',
    ),
    Variant(
        "el mínimo del tipo, y multiplicar por la máscara",
        LAYER,
        [
            (ALPHA, "low = scores.masked_fill(~real, torch.finfo(scores.dtype).min)\n        alpha = low.softmax(1) * real"),
            (BETA, "beta = low.softmax(2) * real"),
            ("torch.relu(self.fuse(G))", "nn.functional.relu(self.fuse(G))"),
        ],
    ),
    Variant(
        "menos infinito, y los nan de los dos repartos a cero",
        LAYER,
        [
            (ALPHA, 'low = scores.masked_fill(~real, float("-inf"))\n        alpha = low.softmax(1).nan_to_num(0.0)'),
            (BETA, "beta = low.softmax(2).nan_to_num(0.0)"),
        ],
    ),
    Variant(
        "la fusión, después de anular el relleno",
        LAYER,
        [(G_LINE, G_LINE + "\n        G = G.masked_fill(~doc_mask[..., None], 0.0)")],
    ),
    Variant(
        "medir con listas de Python",
        MEASURE,
        source='''
from collections import Counter

def evaluate_qa(reader, documents, questions, answers):
    mode = reader.training
    reader.train(False)
    try:
        with torch.inference_mode():
            mine = reader(documents, questions).max(-1).indices.tolist()
            others = torch.cat([questions[-1:], questions[:-1]])
            theirs = reader(documents, others).max(-1).indices.tolist()
    finally:
        reader.train(mode)
    wanted = answers.tolist()
    n = len(wanted)
    return dict(
        accuracy=sum(a == b for a, b in zip(mine, wanted)) / n,
        majority=Counter(wanted).most_common(1)[0][1] / n,
        swapped=sum(a == b for a, b in zip(theirs, wanted)) / n,
    )
''',
    ),
]  # fmt: skip

SPEEDS = "speeds = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))"
BUFFER = 'self.register_buffer("table", table, persistent=False)'
ADD = "return self.dropout(x + self.table[: x.size(1)])"

WRONG_3B = [
    wrong(
        "el exponente, i/d en vez de 2i/d",
        ENCODING,
        (SPEEDS, "speeds = 10000.0 ** (-torch.arange((d_model + 1) // 2) / d_model)"),
        loses=[EVEN, ODD, INPUTS],
    ),
    wrong(
        "una velocidad por canal",
        ENCODING,
        ("table[:, 1::2] = angles.cos()[:, : d_model // 2]", "table[:, 1::2] = (angles * 10000 ** (-1 / d_model)).cos()[:, : d_model // 2]"),
        loses=[EVEN, ODD, INPUTS],
    ),
    wrong(
        "solo senos",
        ENCODING,
        ("angles.cos()", "angles.sin()"),
        loses=[EVEN, ODD, ADDED, LONG, INPUTS],
    ),
    wrong(
        "los senos delante y los cosenos detrás",
        ENCODING,
        ("table[:, 0::2] = angles.sin()", "table[:, : (d_model + 1) // 2] = angles.sin()"),
        ("table[:, 1::2] = ", "table[:, (d_model + 1) // 2 :] = "),
        loses=[EVEN, ODD, ADDED, LONG, INPUTS],
    ),
    wrong(
        "cuenta desde 1",
        ENCODING,
        ("torch.arange(max_len)[:, None]", "torch.arange(1, max_len + 1)[:, None]"),
        loses=[EVEN, ODD, ADDED, LONG, INPUTS],
    ),
    wrong(
        "multiplica en vez de sumar",
        ENCODING,
        ("x + self.table", "x * self.table"),
        loses=[EVEN, ODD, ADDED, LONG, DROPOUT, INPUTS],
    ),
    wrong(
        "otra codificación para cada ejemplo del lote",
        ENCODING,
        (ADD, "return self.dropout(x + self.table[: x.size(0), None])"),
        loses=[EVEN, ODD, ADDED, LONG, INPUTS, ORDER],
    ),
    wrong(
        "una tabla que se aprende",
        ENCODING,
        (BUFFER, "self.table = nn.Parameter(table)"),
        loses=[PARAMETERS, GIVEN],
    ),
    wrong(
        "la tabla, un atributo corriente",
        ENCODING,
        (BUFFER, "self.table = table"),
        loses=[MOVES],
    ),
    wrong(
        "falla con tamaño impar",
        ENCODING,
        ("angles.cos()[:, : d_model // 2]", "angles.cos()"),
        loses=[ODD],
    ),
    wrong(
        "con tamaño impar, recorta el exponente",
        ENCODING,
        (SPEEDS, "speeds = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / (d_model // 2 * 2 or 1)))"),
        loses=[ODD],
    ),
    wrong(
        "no comprueba la longitud",
        ENCODING,
        ("if x.size(1) > len(self.table):", "if False:"),
        loses=[LONG],
    ),
    wrong(
        "rechaza la longitud justa",
        ENCODING,
        ("if x.size(1) > len(self.table):", "if x.size(1) >= len(self.table):"),
        loses=[LONG],
    ),
    wrong("sin dropout", ENCODING, ("self.dropout(x + self.table[: x.size(1)])", "x + self.table[: x.size(1)]"), loses=[DROPOUT, GIVEN]),
    wrong(
        "dropout sobre la tabla y no sobre la suma",
        ENCODING,
        ("self.dropout(x + self.table[: x.size(1)])", "x + self.dropout(self.table[: x.size(1)])"),
        loses=[DROPOUT],
    ),
    wrong(
        "dropout también al evaluar",
        ENCODING,
        ("self.dropout(x + self.table[: x.size(1)])", "nn.functional.dropout(x + self.table[: x.size(1)], self.dropout.p)"),
        loses=[EVEN, ODD, ADDED, PARAMETERS, MOVES, DROPOUT, INPUTS, LENGTHS],
    ),
    wrong(
        "cambia x en su sitio",
        ENCODING,
        (ADD, "x += self.table[: x.size(1)]\n        return self.dropout(x)"),
        loses=[ADDED],
    ),
    wrong(
        "cambia la escala de x",
        ENCODING,
        ("x + self.table", "1.5 * x + self.table"),
        loses=[ADDED, INPUTS],
    ),
    wrong(
        "posiciones solo en el documento",
        WRAPPER,
        ("self.positions(question)", "question"),
        loses=[INPUTS],
    ),
    wrong(
        "posiciones solo en la pregunta",
        WRAPPER,
        ("self.positions(document)", "document"),
        loses=[INPUTS, ORDER],
    ),
    wrong(
        "posiciones dos veces",
        WRAPPER,
        ("self.positions(document)", "self.positions(self.positions(document))"),
        loses=[INPUTS],
    ),
    wrong(
        "no pasa las longitudes",
        WRAPPER,
        ("doc_lengths, ques_lengths\n", "None, None\n"),
        loses=[LENGTHS],
    ),
    wrong(
        "las longitudes, cambiadas",
        WRAPPER,
        ("doc_lengths, ques_lengths\n", "ques_lengths, doc_lengths\n"),
        loses=[LENGTHS, ORDER],
    ),
    wrong(
        "ignora el dropout que se le pide",
        WRAPPER,
        ("PositionalEncoding(embedding_dim, dropout, max_len)", "PositionalEncoding(embedding_dim, 0.0, max_len)"),
        loses=[GIVEN],
    ),
    wrong(
        "crea otra capa en vez de usar la que se le da",
        WRAPPER,
        ("self.attention = attention", "self.attention = AttentionOverAttention(embedding_dim, 32)"),
        loses=[INPUTS, LENGTHS, GIVEN],
    ),
]  # fmt: skip

RIGHT_3B = [
    Variant(
        "la codificación, calculada al vuelo",
        ENCODING,
        source='''
class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=500):
        super().__init__()
        self.d, self.max_len, self.p = d_model, max_len, dropout

    def forward(self, x):
        B, T, d = x.shape
        if T > self.max_len:
            raise ValueError("demasiado larga")
        k = torch.arange(d, device=x.device)
        t = torch.arange(T, device=x.device, dtype=torch.float)[:, None]
        angle = t / torch.pow(torch.tensor(10000.0, device=x.device), (k - k % 2) / d)
        pe = torch.where(k % 2 == 0, angle.sin(), angle.cos()).to(x.dtype)
        return nn.functional.dropout(x + pe, self.p, self.training)
''',
    ),
    Variant(
        "números de Python, en un buffer con eje de lote",
        ENCODING,
        source='''
class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=500):
        super().__init__()
        self.drop = nn.Dropout(p=dropout)
        rows = [
            [
                math.cos(t / 10000 ** ((k - 1) / d_model)) if k % 2 else math.sin(t / 10000 ** (k / d_model))
                for k in range(d_model)
            ]
            for t in range(max_len)
        ]
        self.register_buffer("pe", torch.tensor(rows).unsqueeze(0))

    def forward(self, x):
        if x.shape[1] > self.pe.shape[1]:
            raise ValueError(f"no caben {x.shape[1]} posiciones")
        return self.drop(x + self.pe[:, : x.shape[1]])
''',
    ),
    Variant(
        "senos y cosenos intercalados con stack",
        ENCODING,
        [
            ("        table = torch.zeros(max_len, d_model)\n", ""),
            ("        table[:, 0::2] = angles.sin()\n", ""),
            (
                "table[:, 1::2] = angles.cos()[:, : d_model // 2]",
                "table = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :d_model]",
            ),
        ],
    ),
    Variant(
        "una codificación para cada entrada",
        WRAPPER,
        source='''
class WithPositions(nn.Module):
    def __init__(self, attention, embedding_dim, dropout=0.1, max_len=500):
        super().__init__()
        self.in_document = PositionalEncoding(embedding_dim, dropout=dropout, max_len=max_len)
        self.in_question = PositionalEncoding(embedding_dim, dropout=dropout, max_len=max_len)
        self.layer = attention

    def forward(self, document, question, doc_lengths=None, ques_lengths=None):
        document, question = self.in_document(document), self.in_question(question)
        return self.layer(document, question, doc_lengths=doc_lengths, ques_lengths=ques_lengths)
''',
    ),
]  # fmt: skip

EXERCISES = {"3a": WRONG_3A + RIGHT_3A, "3b": WRONG_3B + RIGHT_3B}
