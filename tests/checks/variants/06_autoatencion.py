"""Respuestas al cuaderno 06: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPES = "Formas de la salida y de los pesos"
FUSED = "Una sola proyección QKV, sean cuantas sean las cabezas"
INVALID = "ValueError si las cabezas no caben"
WEIGHTS = "Los pesos son los de nn.MultiheadAttention"
OUTPUT = "La salida es LN(x + atención)"
LAST = "Normaliza después de sumar el residuo"
GRADIENT = "El gradiente llega a consultas, claves y valores"
LEAK = "Lo que hay en el relleno no influye"
ALONE = "Una secuencia da lo mismo sola que en el lote"
EMPTY = "Una fila sin claves: pesos cero y gradientes finitos"
CAUSAL = "Cada posición ve lo mismo que si la secuencia acabara en ella"
LEFT = "Relleno a la izquierda y causal a la vez"
SUM = "Los pesos devueltos suman 1 también al entrenar"
DROPOUT = "El dropout actúa al entrenar y solo entonces"
RESIDUAL = "El residuo no pasa por el dropout"
COPY = "Copia los parámetros y las cabezas, con dropout 0"
SHARED = "No comparte memoria con la original"
MAP = "Son los pesos del modelo"
EVAL = "En modo evaluación, y dejando el modelo como estaba"
CROP = "Sin las posiciones de relleno"
IMAGE = "La imagen son los pesos, sin trasponer ni reescalar"
LABELS = "Una etiqueta por palabra, en su sitio, en los dos ejes"
SCALE = "Escala de color de 0 a 1, en los ejes que se le dan"
RANK = "Las k mayores de cada fila, de mayor a menor"
LIMITS = "Palabras repetidas, empates, y k mayor que n"


CLASS = "ej1a_clase"
SPLIT = "qkv = self.qkv_proj(x).view(B, S, 3, self.num_heads, E // self.num_heads)"
PERMUTE = "q, k, v = qkv.permute(2, 0, 3, 1, 4)  # cada una [B, h, S, d]"
SCORES = "scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))"
SOFTMAX = "weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1)"
CLEAN = "        weights = weights.masked_fill(~allowed, 0.0)\n"
MERGE = "context = (weights @ v).transpose(1, 2).reshape(B, S, E)"
RETURN = "return self.norm(x + self.dropout(self.out_proj(context))), weights"
PADDING = "allowed = allowed & mask[:, None, None, :]"

WRONG_1A = [
    wrong(
        "escala con √E, el tamaño total",
        CLASS,
        ("math.sqrt(q.size(-1))", "math.sqrt(E)"),
        loses=[WEIGHTS, OUTPUT],
    ),
    wrong(
        "no escala", CLASS, (" / math.sqrt(q.size(-1))", ""), loses=[WEIGHTS, OUTPUT]
    ),
    wrong(
        "separa las cabezas con view, sin transpose",
        CLASS,
        (SPLIT, "qkv = self.qkv_proj(x).chunk(3, dim=-1)"),
        (PERMUTE, "q, k, v = (p.reshape(B, self.num_heads, S, -1) for p in qkv)"),
        loses=[WEIGHTS, OUTPUT, LAST, GRADIENT, LEAK, ALONE, CAUSAL, LEFT],
    ),
    wrong(
        "reparte Q, K y V dentro de cada cabeza",
        CLASS,
        (SPLIT, "qkv = self.qkv_proj(x).view(B, S, self.num_heads, 3, E // self.num_heads)"),
        (PERMUTE, "q, k, v = qkv.permute(3, 0, 2, 1, 4)"),
        loses=[WEIGHTS, OUTPUT],
    ),
    wrong(
        "junta las cabezas sin transpose",
        CLASS,
        (MERGE, "context = (weights @ v).reshape(B, S, E)"),
        loses=[OUTPUT, LEAK, ALONE, CAUSAL, LEFT],
    ),
    wrong(
        "softmax sobre las consultas",
        CLASS,
        (".softmax(-1)", ".softmax(-2)"),
        loses=[WEIGHTS, OUTPUT, LAST, GRADIENT, LEAK, ALONE, CAUSAL, SUM],
    ),
    wrong(
        "sin residuo",
        CLASS,
        ("self.norm(x + self.dropout(self.out_proj(context)))", "self.norm(self.dropout(self.out_proj(context)))"),
        loses=[OUTPUT, RESIDUAL],
    ),
    wrong(
        "sin proyección final",
        CLASS,
        ("self.dropout(self.out_proj(context))", "self.dropout(context)"),
        loses=[OUTPUT, RESIDUAL],
    ),
    wrong(
        "normaliza antes de atender",
        CLASS,
        (SPLIT, "qkv = self.qkv_proj(self.norm(x)).view(B, S, 3, self.num_heads, E // self.num_heads)"),
        (RETURN, "return x + self.dropout(self.out_proj(context)), weights"),
        loses=[WEIGHTS, OUTPUT, LAST, RESIDUAL],
    ),
    wrong(
        "normaliza antes de sumar el residuo",
        CLASS,
        (RETURN, "return x + self.norm(self.dropout(self.out_proj(context))), weights"),
        loses=[OUTPUT, LAST, RESIDUAL],
    ),
    wrong(
        "la máscara, en el eje de las consultas",
        CLASS,
        (PADDING, "allowed = allowed & mask[:, None, :, None]"),
        loses=[LEAK, ALONE, EMPTY, LEFT],
    ),
    wrong(
        "la máscara, invertida",
        CLASS,
        (PADDING, "allowed = allowed & ~mask[:, None, None, :]"),
        loses=[LEAK, ALONE, EMPTY, LEFT],
    ),
    wrong(
        "no usa la máscara",
        CLASS,
        (PADDING, "pass"),
        loses=[LEAK, ALONE, EMPTY, LEFT],
    ),
    wrong(
        "la máscara, después de la softmax",
        CLASS,
        (SOFTMAX, "weights = scores.softmax(-1)"),
        loses=[LEAK, ALONE, CAUSAL, LEFT],
    ),
    wrong(
        "causal al revés (triu)",
        CLASS,
        ("allowed.tril()", "allowed.triu()"),
        loses=[CAUSAL, LEFT],
    ),
    wrong("causal estricta", CLASS, ("allowed.tril()", "allowed.tril(-1)"), loses=[CAUSAL]),
    wrong("ignora causal", CLASS, ("allowed.tril()", "allowed"), loses=[CAUSAL, LEFT]),
    wrong(
        "menos infinito: nan en las filas vacías",
        CLASS,
        ("torch.finfo(scores.dtype).min", 'float("-inf")'),
        (CLEAN, ""),
        loses=[EMPTY, LEFT],
    ),
    wrong(
        "limpia el nan de la salida, no el de los pesos",
        CLASS,
        ("torch.finfo(scores.dtype).min", 'float("-inf")'),
        (CLEAN, ""),
        ("context = (weights @ v)", "context = (weights @ v).nan_to_num(0.0)"),
        loses=[EMPTY, LEFT],
    ),
    wrong("el mínimo y nada más: filas vacías uniformes", CLASS, (CLEAN, ""), loses=[EMPTY, LEFT]),
    wrong(
        "una proyección por papel",
        CLASS,
        (
            "self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)",
            "self.q = nn.Linear(embed_dim, embed_dim)\n"
            "        self.k = nn.Linear(embed_dim, embed_dim)\n"
            "        self.v = nn.Linear(embed_dim, embed_dim)",
        ),
        (SPLIT, "qkv = torch.stack([self.q(x), self.k(x), self.v(x)], dim=2)"),
        (PERMUTE, "q, k, v = qkv.view(B, S, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)"),
        loses=[FUSED, WEIGHTS, OUTPUT, GRADIENT, LEAK, ALONE, EMPTY, CAUSAL, LEFT, RESIDUAL, COPY, SHARED],
    ),
    wrong(
        "devuelve los pesos después del dropout",
        CLASS,
        (MERGE, "weights = self.dropout(weights)\n        " + MERGE),
        loses=[SUM],
    ),
    wrong(
        "dropout sobre la suma, residuo incluido",
        CLASS,
        ("self.norm(x + self.dropout(self.out_proj(context)))", "self.norm(self.dropout(x + self.out_proj(context)))"),
        loses=[RESIDUAL],
    ),
    wrong(
        "sin dropout",
        CLASS,
        ("x + self.dropout(self.out_proj(context))", "x + self.out_proj(context)"),
        loses=[DROPOUT],
    ),
    wrong(
        "dropout también al evaluar",
        CLASS,
        ("self.dropout(self.out_proj(context))", "nn.functional.dropout(self.out_proj(context), self.dropout.p)"),
        loses=[SUM, DROPOUT, RESIDUAL],
    ),
    wrong(
        "no comprueba que las cabezas quepan",
        CLASS,
        ("if embed_dim % num_heads:", "if False:"),
        loses=[INVALID],
    ),
    wrong(
        "pesos promediados entre las cabezas",
        CLASS,
        (RETURN, "return self.norm(x + self.dropout(self.out_proj(context))), weights.mean(1)"),
        loses=[SHAPES, FUSED, INVALID, WEIGHTS, OUTPUT, LAST, GRADIENT, LEAK, ALONE, EMPTY, CAUSAL, LEFT, COPY],
    ),
    wrong(
        "los pesos, sin gradiente",
        CLASS,
        ("(weights @ v)", "(weights.detach() @ v)"),
        loses=[GRADIENT],
    ),
    wrong(
        "la atención en NumPy",
        CLASS,
        (MERGE, "context = torch.from_numpy((weights @ v).detach().numpy()).transpose(1, 2).reshape(B, S, E)"),
        loses=[GRADIENT],
    ),
    wrong(
        "no atiende: solo normaliza",
        CLASS,
        (RETURN, "return self.norm(x), torch.zeros(B, self.num_heads, S, S)"),
        loses=[WEIGHTS, OUTPUT, LAST, GRADIENT, LEAK, CAUSAL, SUM, DROPOUT],
    ),
    wrong(
        "cada posición se queda con su valor",
        CLASS,
        ("(weights @ v)", "v"),
        loses=[OUTPUT, GRADIENT, LEAK, CAUSAL],
    ),
    wrong(
        "dropout en los pesos y no en la salida proyectada",
        CLASS,
        ("(weights @ v)", "(self.dropout(weights) @ v)"),
        ("self.dropout(self.out_proj(context))", "self.out_proj(context)"),
        loses=[DROPOUT],
    ),
    wrong(
        "comprueba un solo caso de cabezas que no caben",
        CLASS,
        ("if embed_dim % num_heads:", "if (embed_dim, num_heads) == (10, 3):"),
        loses=[INVALID],
    ),
    wrong(
        "la copia conserva el dropout",
        "ej1a_copia",
        ("reference.num_heads, dropout=0.0", "reference.num_heads, dropout=0.2"),
        loses=[COPY],
    ),
    wrong(
        "copia en el orden clave, consulta, valor",
        "ej1a_copia",
        ("(reference.query, reference.key, reference.value)", "(reference.key, reference.query, reference.value)"),
        loses=[COPY],
    ),
    wrong(
        "olvida el número de cabezas",
        "ej1a_copia",
        ("reference.fc_out.out_features, reference.num_heads, dropout=0.0", "reference.fc_out.out_features, 2, dropout=0.0"),
        loses=[COPY],
    ),
    wrong(
        "comparte la proyección final con la original",
        "ej1a_copia",
        ("        attention.out_proj.load_state_dict(reference.fc_out.state_dict())\n", "        attention.out_proj = reference.fc_out\n"),
        loses=[SHARED],
    ),
]  # fmt: skip

RIGHT_1A = [
    Variant(
        "einsum y chunk",
        CLASS,
        source='''
class MultiHeadSelfAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.1):
        super().__init__()
        self.head_dim, remainder = divmod(embed_dim, num_heads)
        if remainder != 0:
            raise ValueError("las cabezas no caben")
        self.heads = num_heads
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.qkv_proj = nn.Linear(embed_dim, embed_dim * 3)

    def forward(self, x, mask=None, causal=False):
        B, S, E = x.shape
        q, k, v = [t.reshape(B, S, self.heads, self.head_dim) for t in self.qkv_proj(x).chunk(3, -1)]
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * self.head_dim ** -0.5
        blocked = torch.zeros(B, 1, S, S, dtype=torch.bool, device=x.device)
        if mask is not None:
            blocked |= ~mask.view(B, 1, 1, S)
        if causal:
            blocked |= torch.triu(torch.ones(S, S, device=x.device), diagonal=1).bool()
        exps = torch.exp(scores - scores.amax(-1, keepdim=True)) * ~blocked
        weights = exps / exps.sum(-1, keepdim=True).clamp(min=1e-30)
        mixed = torch.einsum("bhqk,bkhd->bqhd", self.drop(weights), v).reshape(B, S, E)
        return self.norm(x + self.drop(self.out_proj(mixed))), weights
''',
    ),
    Variant(
        "scaled_dot_product_attention para la salida",
        CLASS,
        source='''
class MultiHeadSelfAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.1):
        super().__init__()
        if embed_dim % num_heads != 0:
            raise ValueError(f"{embed_dim} no se reparte entre {num_heads}")
        self.num_heads, self.p = num_heads, dropout
        self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x, mask=None, causal=False):
        B, S, E = x.shape
        q, k, v = self.qkv_proj(x).reshape(B, S, 3 * self.num_heads, -1).transpose(1, 2).chunk(3, 1)
        allowed = torch.ones(S, S, dtype=torch.bool, device=x.device).expand(B, 1, S, S)
        if mask is not None:
            allowed = allowed * mask.reshape(B, 1, 1, S)
        if causal:
            allowed = allowed * torch.ones(S, S, dtype=torch.bool, device=x.device).tril()
        any_key = allowed.any(-1, keepdim=True)
        safe = allowed | ~any_key
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=safe) * any_key
        scores = (q @ k.mT) / math.sqrt(k.shape[-1])
        weights = scores.where(safe, float("-inf")).softmax(-1) * any_key
        out = self.out_proj(context.transpose(1, 2).flatten(2))
        return self.norm(x + F.dropout(out, self.p, self.training)), weights
''',
    ),
    Variant(
        "un bucle por cabeza, sobre una sola proyección",
        CLASS,
        source='''
class MultiHeadSelfAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.1):
        if embed_dim % num_heads:
            raise ValueError("embed_dim debe ser múltiplo de num_heads")
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim, bias=True)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None, causal=False):
        batch, length, size = x.size()
        d = size // self.num_heads
        projected = self.qkv_proj(x)
        heads, maps = [], []
        for h in range(self.num_heads):
            q, k, v = (projected[..., i * size + h * d : i * size + (h + 1) * d] for i in range(3))
            scores = torch.bmm(q, k.transpose(1, 2)) / d**0.5
            bias = torch.zeros_like(scores)
            if mask is not None:
                bias = bias.masked_fill(~mask[:, None, :], -1e30)
            if causal:
                future = torch.arange(length)[None, :] > torch.arange(length)[:, None]
                bias = bias.masked_fill(future.to(x.device), -1e30)
            weights = torch.softmax(scores + bias, dim=2) * (bias == 0)
            heads.append(torch.bmm(weights, v))
            maps.append(weights)
        attended = self.out_proj(torch.cat(heads, dim=2))
        return self.norm(self.dropout(attended) + x), torch.stack(maps, dim=1)
''',
    ),
    Variant(
        "máscara causal y escala guardadas como buffers",
        CLASS,
        [
            (
                "self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)",
                'self.register_buffer("past", torch.ones(64, 64, dtype=torch.bool).tril())\n'
                '        self.register_buffer("scale", torch.tensor((embed_dim // num_heads) ** -0.5))\n'
                "        self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)",
            ),
            ("allowed.tril()", "allowed & self.past[:S, :S]"),
            (" / math.sqrt(q.size(-1))", " * self.scale"),
        ],
    ),
    Variant(
        "el dropout, escrito a mano, y un segundo nombre para la normalización",
        CLASS,
        [
            (
                RETURN,
                "out = self.out_proj(context)\n"
                "        if self.training and self.dropout.p > 0:\n"
                "            out = out * (torch.rand_like(out) >= self.dropout.p) / (1 - self.dropout.p)\n"
                "        return self.norm(x + out), weights",
            ),
            ("self.norm = nn.LayerNorm(embed_dim)", "self.ln = self.norm = nn.LayerNorm(embed_dim)"),
        ],
    ),
    Variant(
        "menos infinito, y los nan de los pesos a cero",
        CLASS,
        [(".min).softmax(-1)", ".min).softmax(-1).nan_to_num(0.0)"), ("torch.finfo(scores.dtype).min", 'float("-inf")')],
    ),
    Variant(
        "la copia, con state_dict",
        "ej1a_copia",
        source='''
def from_self_attention(reference):
    size = reference.query.in_features
    layer = MultiHeadSelfAttention(size, reference.num_heads, 0.0)
    state = reference.state_dict()
    new = layer.state_dict()
    for kind in ("weight", "bias"):
        parts = [state[f"{name}.{kind}"].clone() for name in ("query", "key", "value")]
        new[f"qkv_proj.{kind}"] = torch.vstack(parts) if kind == "weight" else torch.hstack(parts)
        new[f"out_proj.{kind}"] = state[f"fc_out.{kind}"].clone()
    layer.load_state_dict(new)
    return layer
''',
    ),
]  # fmt: skip

WRONG_1B = [
    wrong(
        "lee el mapa en modo entrenamiento",
        "ej1b_mapa",
        ("    model.eval()\n", ""),
        loses=[EVAL],
    ),
    wrong(
        "deja el modelo en modo evaluación",
        "ej1b_mapa",
        ("    model.train(was_training)\n", ""),
        loses=[EVAL],
    ),
    wrong(
        "siempre lo deja en modo entrenamiento",
        "ej1b_mapa",
        ("model.train(was_training)", "model.train()"),
        loses=[EVAL],
    ),
    wrong(
        "el mapa arrastra gradientes",
        "ej1b_mapa",
        ("with torch.no_grad():", "if True:"),
        loses=[EVAL],
    ),
    wrong(
        "deja en modo evaluación las partes del modelo",
        "ej1b_mapa",
        ("model.train(was_training)", "model.training = was_training"),
        loses=[EVAL],
    ),
    wrong(
        "cuenta palabras distintas",
        "ej1b_mapa",
        ("n = int((ids != PAD).sum())", "n = len(set(ids.tolist()) - {PAD})"),
        loses=[MAP, EVAL, CROP],
    ),
    wrong(
        "recorta las columnas y no las filas",
        "ej1b_mapa",
        ("weights[:, :n, :n]", "weights[:, :, :n]"),
        loses=[MAP, EVAL, CROP],
    ),
    wrong(
        "traspone el mapa",
        "ej1b_mapa",
        ("weights[:, :n, :n]", "weights[:, :n, :n].mT"),
        loses=[MAP, EVAL, CROP],
    ),
    wrong(
        "promedia las cabezas",
        "ej1b_mapa",
        ("weights[:, :n, :n]", "weights[:, :n, :n].mean(0).expand(2, n, n)"),
        loses=[MAP, EVAL, CROP],
    ),
    wrong(
        "dibuja la traspuesta",
        "ej1b_dibujo",
        ("imshow(weights,", "imshow(weights.T,"),
        loses=[IMAGE],
    ),
    wrong(
        "reescala los pesos al máximo",
        "ej1b_dibujo",
        ("imshow(weights,", "imshow(weights / weights.max(),"),
        loses=[IMAGE],
    ),
    wrong(
        "deja que imshow elija la escala",
        "ej1b_dibujo",
        ("vmin=0.0, vmax=1.0, ", ""),
        loses=[SCALE],
    ),
    wrong(
        "una etiqueta de cada dos",
        "ej1b_dibujo",
        ("ax.set_xticks(range(len(tokens)), tokens,", "ax.set_xticks(range(0, len(tokens), 2), tokens[::2],"),
        loses=[LABELS],
    ),
    wrong(
        "etiquetas solo en un eje",
        "ej1b_dibujo",
        ("    ax.set_yticks(range(len(tokens)), tokens)\n", ""),
        loses=[LABELS],
    ),
    wrong(
        "etiquetas corridas media celda",
        "ej1b_dibujo",
        ("ax.set_yticks(range(len(tokens)), tokens)", "ax.set_yticks([i + 0.5 for i in range(len(tokens))], tokens)"),
        loses=[LABELS],
    ),
    wrong(
        "dibuja siempre en una figura nueva",
        "ej1b_dibujo",
        ("    if ax is None:\n        _, ax", "    if True:\n        _, ax"),
        loses=[SCALE],
    ),
    wrong(
        "busca la posición de cada etiqueta por su palabra",
        "ej1b_dibujo",
        ("ax.set_yticks(range(len(tokens)), tokens)", "ax.set_yticks([tokens.index(t) for t in tokens], tokens)"),
        loses=[LABELS],
    ),
    wrong(
        "las filas, de abajo arriba, y las etiquetas al revés",
        "ej1b_dibujo",
        ("imshow(weights,", "imshow(weights, extent=(-0.5, len(tokens) - 0.5, -0.5, len(tokens) - 0.5),"),
        loses=[LABELS],
    ),
    wrong(
        "dibuja siempre en los últimos ejes",
        "ej1b_dibujo",
        ("_, ax = plt.subplots(figsize=(5, 4.5), layout=\"constrained\")", "ax = plt.gca()"),
        ("    ax.figure.colorbar(image, ax=ax, label=\"Peso de atención\")\n", ""),
        loses=[SCALE],
    ),
    wrong(
        "dibuja en los ejes actuales, no en los que se le dan",
        "ej1b_dibujo",
        ("image = ax.imshow(", "ax = plt.gca()\n    image = ax.imshow("),
        loses=[SCALE],
    ),
    wrong(
        "no devuelve los ejes",
        "ej1b_dibujo",
        ("    return ax", "    plt.show()"),
        loses=[IMAGE, LABELS, SCALE],
    ),
    wrong(
        "busca el máximo por columnas",
        "ej1b_lista",
        ("torch.topk(weights, min(k, len(tokens)), dim=-1)", "torch.topk(weights.T, min(k, len(tokens)), dim=-1)"),
        loses=[RANK, LIMITS],
    ),
    wrong(
        "de menor a mayor",
        "ej1b_lista",
        ("dim=-1)", "dim=-1, largest=False)"),
        loses=[RANK, LIMITS],
    ),
    wrong(
        "falla si k es mayor que n",
        "ej1b_lista",
        ("min(k, len(tokens))", "k"),
        loses=[LIMITS],
    ),
    wrong(
        "confunde las palabras repetidas",
        "ej1b_lista",
        ("[(tokens[j], value) for j, value in zip(row_indices, row_values)]", "list({tokens[j]: value for j, value in zip(row_indices, row_values)}.items())"),
        loses=[LIMITS],
    ),
    wrong(
        "redondea los pesos",
        "ej1b_lista",
        ("[(tokens[j], value)", "[(tokens[j], round(value, 2))"),
        loses=[RANK],
    ),
    wrong(
        "busca cada peso por su valor: los empates se repiten",
        "ej1b_lista",
        ("[(tokens[j], value) for", "[(tokens[row_values.index(value) if len(set(row_values)) == 1 else j], value) for"),
        loses=[LIMITS],
    ),
    wrong(
        "estropea los pesos que recibe",
        "ej1b_lista",
        ("    return [", "    weights.zero_()\n    return ["),
        loses=[RANK],
    ),
    wrong(
        "pesos como tensores, no como números",
        "ej1b_lista",
        ("values.tolist()", "values"),
        loses=[RANK, LIMITS],
    ),
]  # fmt: skip

RIGHT_1B = [
    Variant(
        "el mapa con inference_mode y una máscara",
        "ej1b_mapa",
        source='''
def attention_map(model, ids):
    mode = model.training
    try:
        model.train(False)
        with torch.inference_mode():
            *_, weights = model(ids.unsqueeze(0))
    finally:
        model.train(mode)
    real = ids != PAD
    return weights.squeeze(0)[:, real][:, :, real].clone()
''',
    ),
    Variant(
        "el dibujo con matshow y NumPy",
        "ej1b_dibujo",
        source='''
import numpy as np

def plot_attention(weights, tokens, ax=None):
    if ax is None:
        figure = plt.figure()
        ax = figure.add_subplot()
    picture = ax.matshow(np.asarray(weights), cmap="viridis")
    picture.set_clim(0, 1)
    positions = np.arange(len(tokens))
    ax.set_xticks(positions)
    ax.set_xticklabels(tokens, rotation=90)
    ax.set_yticks(positions)
    ax.set_yticklabels(tokens)
    return ax
''',
    ),
    Variant(
        "celdas de 0 a n, y etiquetas arriba y abajo",
        "ej1b_dibujo",
        source='''
def plot_attention(weights, tokens, ax=None):
    ax = ax or plt.figure().add_subplot()
    n = len(tokens)
    ax.imshow(weights, vmin=0, vmax=1, extent=(0, n, n, 0))
    ax.set_xticks([i + 0.5 for i in range(n)], labels=tokens)
    ax.set_yticks([i + 0.5 for i in range(n)], labels=tokens)
    ax.tick_params(top=True, labeltop=True)
    return ax
''',
    ),
    Variant(
        "marcas cada unidad, con un formateador",
        "ej1b_dibujo",
        source='''
from matplotlib.ticker import FuncFormatter, MultipleLocator

def plot_attention(weights, tokens, ax=None):
    if ax is None:
        _, ax = plt.subplots()
    ax.imshow(weights, vmin=0, vmax=1, origin="lower")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MultipleLocator(1))
        axis.set_major_formatter(
            FuncFormatter(lambda i, _: tokens[round(i)] if 0 <= i < len(tokens) else "")
        )
    return ax
''',
    ),
    Variant(
        "el dibujo que borra lo que hubiera en los ejes",
        "ej1b_dibujo",
        [("    image = ax.imshow(", "    ax.clear()\n    image = ax.imshow(")],
    ),
    Variant(
        "la lista con sorted",
        "ej1b_lista",
        source='''
def top_k_attention(weights, tokens, k=3):
    ranking = []
    for row in weights:
        pairs = [(token, float(weight)) for token, weight in zip(tokens, row)]
        ranking.append(sorted(pairs, key=lambda pair: -pair[1])[:k])
    return ranking
''',
    ),
]  # fmt: skip

EXERCISES = {"1a": WRONG_1A + RIGHT_1A, "1b": WRONG_1B + RIGHT_1B}
