"""Respuestas al cuaderno 04: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPES = "Formas de h* y de los mapas"
MATRICES = "Las seis matrices de la tabla y ningún otro parámetro"
FIRST = "Los pesos de la primera palabra"
LATER = "Los pesos de las demás, que dependen de lo releído"
OUTPUT = "h* junta lo releído y la última palabra"
GRADIENT = "El gradiente llega a todo"
DROPOUT = "El dropout, solo en h* y solo al entrenar"
PREMISE = "Con relleno en la premisa, los pesos son los de la recortada"
LAST = "Con relleno en la hipótesis, N es la última palabra real"
NAN = "Un nan en el relleno no llega a la salida ni a los gradientes"
EMPTY = "Sin premisa: pesos cero, y gradientes finitos"
HALF = "En 16 bits"
MEAN = "La media de las palabras reales"
KINDS = "Con máscaras bool, enteras y decimales"
LEAK = "Ni nan ni infinito del relleno llegan a la media"
SLOPE = "El gradiente: 1/n en lo real, y 0 en el relleno"
SEEN = "Un nan en una palabra real se ve, y solo en su sitio"
NOTHING = "Sin palabras: ceros, y gradientes finitos"
WIDE = "En 16 bits, aunque la suma no quepa"
UNTOUCHED = "No cambia lo que recibe"
SHAPE = "ValueError si la máscara no es [B, T]"

LAYER, MEDIA = "ej04a_clase", "ej04b_funcion"
QUERY = "query = self.W_h(hypothesis[:, t]) + self.W_r(memory)"
SCORES = "scores = (keys @ query[..., None]).squeeze(-1) / premise.size(-1) ** 0.5"
SOFTMAX = "weights = masked_softmax(scores, premise_mask)"
REREAD = "reread = (weights[:, None] @ premise).squeeze(1)"
MEMORY = "memory = reread + torch.tanh(self.W_t(memory))"
CLEAN_P = "premise = premise.masked_fill(~premise_mask[..., None], 0.0)\n"
CLEAN_H = "hypothesis = hypothesis.masked_fill(~hypothesis_mask[..., None], 0.0)\n"
R_LAST = "r_last = last_real(torch.stack(memories, dim=1), hypothesis_mask)"
H_LAST = "h_last = last_real(hypothesis, hypothesis_mask)"
STAR = "h_star = self.dropout(torch.tanh(self.W_p(r_last) + self.W_x(h_last)))"
RETURN = "return h_star, torch.stack(maps, dim=1).masked_fill(~hypothesis_mask[..., None], 0.0)"
W_Y = "self.W_y = nn.Linear(hidden_dim, hidden_dim, bias=False)"
TOTAL = "total = states.masked_fill(~real[..., None], 0.0).sum(1, dtype=torch.float32)"
DIVIDE = "return (total / real.sum(1, keepdim=True).clamp(min=1)).to(states.dtype)"
REAL = "real = mask != 0"
SUM = "sum(1, dtype=torch.float32)"

WRONG_A = [
    wrong("r no llega a la consulta", LAYER, (QUERY, "query = self.W_h(hypothesis[:, t])"), loses=[LATER, GRADIENT, PREMISE]),
    wrong("r se olvida en cada paso", LAYER, (QUERY, "memory = torch.zeros_like(memory)\n            " + QUERY), loses=[LATER, OUTPUT, GRADIENT, PREMISE, LAST]),
    wrong("sin tanh(W_t r)", LAYER, (MEMORY, "memory = reread"), loses=[LATER, OUTPUT, GRADIENT, PREMISE, LAST]),
    wrong("W_t r, sin tanh", LAYER, (MEMORY, "memory = reread + self.W_t(memory)"), loses=[LATER, OUTPUT, PREMISE, LAST]),
    wrong("tanh de lo recién releído", LAYER, (MEMORY, "memory = reread + torch.tanh(self.W_t(reread))"), loses=[LATER, OUTPUT, GRADIENT, DROPOUT, PREMISE, LAST]),
    wrong("lo recordado no pasa por W_t", LAYER, (MEMORY, "memory = reread + torch.tanh(memory)"), loses=[LATER, OUTPUT, GRADIENT, PREMISE, LAST]),
    wrong("la consulta, sin W_h h", LAYER, (QUERY, "query = self.W_r(memory)"), loses=[FIRST, LATER, GRADIENT, PREMISE]),
    wrong(
        "r_t donde va r_{t-1}",
        LAYER,
        (QUERY, "first = masked_softmax((keys @ (self.W_h(hypothesis[:, t]) + self.W_r(memory))[..., None]).squeeze(-1) / premise.size(-1) ** 0.5, premise_mask)\n            now = (first[:, None] @ premise).squeeze(1) + torch.tanh(self.W_t(memory))\n            query = self.W_h(hypothesis[:, t]) + self.W_r(now)"),
        loses=[FIRST, LATER, PREMISE],
    ),
    wrong("todas las consultas, con la última palabra", LAYER, (QUERY, "query = self.W_h(hypothesis[:, -1]) + self.W_r(memory)"), loses=[FIRST, LATER, PREMISE]),
    wrong("sin dividir entre la raíz de H", LAYER, (SCORES, "scores = (keys @ query[..., None]).squeeze(-1)"), loses=[FIRST, LATER, PREMISE]),
    wrong("las claves, sin W_y", LAYER, ("keys = self.W_y(premise)", "keys = premise"), loses=[FIRST, LATER, GRADIENT, PREMISE]),
    wrong("los valores son las claves", LAYER, (REREAD, "reread = (weights[:, None] @ keys).squeeze(1)"), loses=[LATER, OUTPUT, GRADIENT, DROPOUT, PREMISE, LAST]),
    wrong("softmax sobre el lote", LAYER, (SOFTMAX, "weights = scores.softmax(0) * premise_mask"), loses=[FIRST, LATER, PREMISE]),
    wrong("sin softmax: sigmoides", LAYER, (SOFTMAX, "weights = torch.sigmoid(scores) * premise_mask"), loses=[FIRST, LATER, OUTPUT, GRADIENT, DROPOUT, PREMISE]),
    wrong("sin máscara de la premisa", LAYER, (SOFTMAX, "weights = scores.softmax(-1)"), loses=[PREMISE, LAST, NAN, EMPTY, HALF]),
    wrong("la máscara, después de la softmax", LAYER, (SOFTMAX, "weights = scores.softmax(-1) * premise_mask"), loses=[PREMISE]),
    wrong("puntuaciones por máscara", LAYER, (SOFTMAX, "weights = (scores * premise_mask).softmax(-1) * premise_mask"), loses=[PREMISE]),
    wrong("la máscara, al revés", LAYER, (SOFTMAX, "weights = masked_softmax(scores, ~premise_mask)"), loses=[FIRST, LATER, OUTPUT, GRADIENT, DROPOUT, PREMISE, LAST, NAN, EMPTY, HALF]),
    wrong("menos infinito: nan sin premisa", LAYER, (SOFTMAX, 'weights = scores.masked_fill(~premise_mask, float("-inf")).softmax(-1)'), loses=[EMPTY]),
    wrong("nan limpiado al final", LAYER, (SOFTMAX, 'weights = (scores + torch.zeros_like(scores).masked_fill(~premise_mask, float("-inf"))).softmax(-1).nan_to_num(0.0)'), loses=[EMPTY]),
    wrong("uniforme si no hay premisa", LAYER, (SOFTMAX, "weights = scores.masked_fill(~premise_mask, -3e4).softmax(-1)"), loses=[EMPTY]),
    wrong("menos diez mil millones: no cabe en 16 bits", LAYER, (SOFTMAX, "weights = scores.masked_fill(~premise_mask, -1e10).softmax(-1) * premise_mask"), loses=[HALF]),
    wrong("r_N, en el extremo con relleno", LAYER, (R_LAST, "r_last = memories[-1]"), loses=[LAST]),
    wrong("h_N, en el extremo con relleno", LAYER, (H_LAST, "h_last = hypothesis[:, -1]"), loses=[LAST]),
    wrong("la media de la hipótesis, y no la última", LAYER, (H_LAST, "h_last = hypothesis.mean(1)"), loses=[OUTPUT, LAST, EMPTY]),
    wrong("filas de relleno sin anular", LAYER, (RETURN, "return h_star, torch.stack(maps, dim=1)"), loses=[LAST]),
    wrong("premisa sin limpiar: 0 por nan", LAYER, (CLEAN_P, "pass\n"), loses=[NAN]),
    wrong("hipótesis sin limpiar", LAYER, (CLEAN_H, "pass\n"), loses=[NAN]),
    wrong("premisa multiplicada por su máscara", LAYER, (CLEAN_P, "premise = premise * premise_mask[..., None]\n"), loses=[NAN]),
    wrong("todo con nan_to_num", LAYER, (CLEAN_P, "premise = premise.nan_to_num()\n"), loses=[NAN]),
    wrong("h*, sin tanh", LAYER, (STAR, "h_star = self.dropout(self.W_p(r_last) + self.W_x(h_last))"), loses=[OUTPUT, GRADIENT, DROPOUT, LAST, EMPTY]),
    wrong("W_p y W_x, cambiadas", LAYER, (STAR, "h_star = self.dropout(torch.tanh(self.W_x(r_last) + self.W_p(h_last)))"), loses=[OUTPUT, GRADIENT, DROPOUT, LAST, EMPTY]),
    wrong("solo lo releído", LAYER, (STAR, "h_star = self.dropout(torch.tanh(self.W_p(r_last)))"), loses=[OUTPUT, GRADIENT, DROPOUT, LAST, EMPTY]),
    wrong("premisa e hipótesis, cambiadas", LAYER, (CLEAN_P, "premise, hypothesis, premise_mask, hypothesis_mask = hypothesis, premise, hypothesis_mask, premise_mask\n        premise = premise.masked_fill(~premise_mask[..., None], 0.0)\n"), loses=[SHAPES, MATRICES, FIRST, LATER, OUTPUT, GRADIENT, DROPOUT, PREMISE, LAST, NAN, EMPTY, HALF]),
    wrong("dropout también al evaluar", LAYER, (STAR, "h_star = nn.functional.dropout(torch.tanh(self.W_p(r_last) + self.W_x(h_last)), self.dropout.p)"), loses=[DROPOUT]),
    wrong("sin dropout", LAYER, (STAR, "h_star = torch.tanh(self.W_p(r_last) + self.W_x(h_last))"), loses=[DROPOUT]),
    wrong("dropout en los pesos", LAYER, (SOFTMAX, "weights = self.dropout(masked_softmax(scores, premise_mask))"), loses=[DROPOUT]),
    wrong("W_y, con sesgo", LAYER, (W_Y, "self.W_y = nn.Linear(hidden_dim, hidden_dim)"), loses=[MATRICES, GRADIENT]),
    wrong("con un w que sobra", LAYER, (W_Y, W_Y + "\n        self.w = nn.Linear(hidden_dim, 1, bias=False)"), loses=[MATRICES, GRADIENT]),
    wrong("la premisa, sin gradiente", LAYER, (CLEAN_P, "premise = premise.detach().masked_fill(~premise_mask[..., None], 0.0)\n"), loses=[GRADIENT]),
    wrong("los mapas, traspuestos", LAYER, (RETURN, "return h_star, torch.stack(maps, dim=2)"), loses=[SHAPES, MATRICES, FIRST, LATER, OUTPUT, PREMISE, LAST, NAN, EMPTY, HALF]),
]  # fmt: skip

RIGHT_A = [
    Variant(
        "einsum, y los pasos en una matriz",
        LAYER,
        source='''
class DotWordByWord(nn.Module):
    def __init__(self, hidden_dim, dropout=0.0):
        super().__init__()
        H = hidden_dim
        for name in "yhrtpx":
            self.add_module(f"W_{name}", nn.Linear(H, H, bias=False))
        self.p = dropout

    def forward(self, premise, hypothesis, premise_mask=None, hypothesis_mask=None):
        B, S, H = premise.shape
        T = hypothesis.shape[1]
        pm = premise.new_ones(B, S).bool() if premise_mask is None else premise_mask.bool()
        hm = premise.new_ones(B, T).bool() if hypothesis_mask is None else hypothesis_mask.bool()
        Y = torch.where(pm.unsqueeze(-1), premise, premise.new_zeros(()))
        h = torch.where(hm.unsqueeze(-1), hypothesis, hypothesis.new_zeros(()))
        K = self.W_y(Y) / H**0.5
        r, rows = Y.new_zeros(B, H), []
        for t in range(T):
            e = torch.einsum("bsh,bh->bs", K, self.W_h(h)[:, t] + self.W_r(r))
            e = e.masked_fill(~pm, torch.finfo(e.dtype).min)
            a = torch.softmax(e, dim=1) * pm
            new = torch.einsum("bs,bsh->bh", a, Y) + self.W_t(r).tanh()
            r = torch.where(hm[:, t : t + 1], new, r)
            rows.append(a * hm[:, t : t + 1])
        n = hm.sum(1) - 1
        last = h.gather(1, n[:, None, None].expand(B, 1, H)).squeeze(1)
        star = F.dropout((self.W_p(r) + self.W_x(last)).tanh(), self.p, self.training)
        return star, torch.stack(rows).transpose(0, 1)
''',
    ),
    Variant(
        "ejemplo a ejemplo, recortado",
        LAYER,
        source='''
class DotWordByWord(nn.Module):
    def __init__(self, hidden_dim, dropout=0.0):
        super().__init__()
        self.W_y, self.W_h, self.W_r, self.W_t, self.W_p, self.W_x = (
            nn.Linear(hidden_dim, hidden_dim, bias=False) for _ in range(6)
        )
        self.drop = nn.Dropout(dropout)

    def one(self, Y, h, S, T):
        r, rows = Y.new_zeros(Y.shape[1]), []
        for word in h:
            if len(Y):
                e = self.W_y(Y) @ (self.W_h(word) + self.W_r(r)) / Y.shape[1] ** 0.5
                a = e.softmax(0)
                r = a @ Y + torch.tanh(self.W_t(r))
            else:
                a = Y.new_zeros(0)
            rows.append(F.pad(a, (0, S - len(Y))))
        star = torch.tanh(self.W_p(r) + self.W_x(h[-1]))
        return star, F.pad(torch.stack(rows), (0, 0, 0, T - len(h)))

    def forward(self, premise, hypothesis, premise_mask=None, hypothesis_mask=None):
        stars, maps = [], []
        for b in range(len(premise)):
            Y = premise[b] if premise_mask is None else premise[b][premise_mask[b]]
            h = hypothesis[b] if hypothesis_mask is None else hypothesis[b][hypothesis_mask[b]]
            star, rows = self.one(Y, h, premise.shape[1], hypothesis.shape[1])
            stars.append(star)
            maps.append(rows)
        return self.drop(torch.stack(stars)), torch.stack(maps)
''',
    ),
    Variant(
        "la atención de PyTorch, y las consultas proyectadas de una vez",
        LAYER,
        [
            ("keys = self.W_y(premise)\n", "keys, projected = self.W_y(premise), self.W_h(hypothesis)\n"),
            (QUERY, "query = (projected[:, t] + self.W_r(memory))[:, None]"),
            (SCORES, "shown = premise_mask | ~premise_mask.any(1, keepdim=True)"),
            (SOFTMAX, "identity = torch.eye(premise.size(1), dtype=premise.dtype).expand(len(premise), -1, -1)\n            weights = F.scaled_dot_product_attention(query, keys, identity, shown[:, None]).squeeze(1) * premise_mask"),
        ],
    ),
]  # fmt: skip

WRONG_B = [
    wrong("multiplica por la máscara", MEDIA, (TOTAL, "total = (states * real[..., None]).sum(1, dtype=torch.float32)"), loses=[LEAK, SLOPE, SEEN, NOTHING]),
    wrong("sin máscara en la suma", MEDIA, (TOTAL, "total = states.sum(1, dtype=torch.float32)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("divide entre T", MEDIA, (DIVIDE, "return (total / states.size(1)).to(states.dtype)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, WIDE]),
    wrong("divide entre las palabras de todo el lote", MEDIA, (DIVIDE, "return (total / real.sum().clamp(min=1)).to(states.dtype)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, WIDE]),
    wrong("divide entre la media de palabras del lote", MEDIA, (DIVIDE, "return (total / real.sum(1).float().mean().clamp(min=1)).to(states.dtype)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, WIDE]),
    wrong("no divide", MEDIA, (DIVIDE, "return total.to(states.dtype)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, WIDE]),
    wrong("nan_to_num en todo", MEDIA, (TOTAL, "total = (states.nan_to_num() * real[..., None]).sum(1, dtype=torch.float32)"), loses=[SEEN]),
    wrong("nan_to_num en la media", MEDIA, (DIVIDE, "return (total / real.sum(1, keepdim=True)).nan_to_num(0.0).to(states.dtype)"), loses=[SEEN]),
    wrong("nan a cero y a correr: nansum", MEDIA, (TOTAL, "total = states.masked_fill(~real[..., None], 0.0).nansum(1, dtype=torch.float32)"), loses=[SEEN]),
    wrong("nanmean sobre el relleno marcado", MEDIA, (TOTAL, "total = states.float().masked_fill(~real[..., None], float('nan')).nanmean(1)"), (DIVIDE, "return total.to(states.dtype)"), loses=[SEEN, NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("sin clamp: 0 entre 0", MEDIA, (".clamp(min=1)", ""), loses=[NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("suma uno al divisor", MEDIA, (".clamp(min=1)", " + 1"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("un épsilon en el divisor, y demasiado grande", MEDIA, (".clamp(min=1)", " + 1e-2"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("la media de lo tapado", MEDIA, (REAL, "real = mask == 0"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN, NOTHING, WIDE, UNTOUCHED, SHAPE]),
    wrong("la máscara, por sus valores", MEDIA, (DIVIDE, "return (total / mask.float().sum(1, keepdim=True).clamp(min=1)).to(states.dtype)"), loses=[KINDS]),
    wrong("real es solo lo que vale 1", MEDIA, (REAL, "real = mask == 1"), loses=[KINDS]),
    wrong("real es lo que pasa de un medio", MEDIA, (REAL, "real = mask > 0.5"), loses=[KINDS]),
    wrong("la máscara, a byte: 0.3 es 0", MEDIA, (REAL, "real = mask.to(torch.uint8).bool()"), loses=[KINDS]),
    wrong("supone el relleno al final", MEDIA, (REAL, "real = torch.arange(states.size(1)) < (mask != 0).sum(1, keepdim=True)"), loses=[MEAN, KINDS, LEAK, SLOPE, SEEN]),
    wrong("suma en 16 bits", MEDIA, (SUM, "sum(1)"), loses=[WIDE]),
    wrong("devuelve siempre 32 bits", MEDIA, (".to(states.dtype)", ""), loses=[WIDE]),
    wrong("rellena en el sitio", MEDIA, (TOTAL, "with torch.no_grad():\n        states.masked_fill_(~real[..., None], 0.0)\n    " + TOTAL), loses=[UNTOUCHED]),
    wrong("cambia la máscara", MEDIA, (REAL, "real = mask != 0\n    mask.zero_()"), loses=[UNTOUCHED]),
    wrong("sin gradiente", MEDIA, (TOTAL, "total = states.detach().masked_fill(~real[..., None], 0.0).sum(1, dtype=torch.float32)"), loses=[SLOPE, NOTHING]),
    wrong("acepta cualquier máscara", MEDIA, ("if mask.shape != states.shape[:2]:", "if False:"), loses=[SHAPE]),
    wrong("la media sobre los canales", MEDIA, (DIVIDE, "return (total / real.sum(1, keepdim=True).clamp(min=1)).mean(-1, keepdim=True).expand_as(total).to(states.dtype)"), loses=[MEAN, KINDS, LEAK, SEEN]),
]  # fmt: skip

RIGHT_B = [
    Variant(
        "fila a fila",
        MEDIA,
        source='''
def masked_mean(states, mask):
    if list(mask.shape) != list(states.shape[:2]):
        raise ValueError("máscara de otra forma")
    rows = []
    for row, keep in zip(states, mask.ne(0)):
        real = row[keep].float()
        rows.append(real.mean(0) if len(real) else torch.zeros(states.shape[-1]))
    return torch.stack(rows).to(states.dtype)
''',
    ),
    Variant(
        "divide antes de sumar, con where",
        MEDIA,
        source='''
def masked_mean(states, mask):
    if mask.dim() != 2 or mask.shape != states.shape[:-1]:
        raise ValueError(mask.shape)
    keep = mask.bool().unsqueeze(-1)
    n = keep.sum(1, keepdim=True)
    n = torch.where(n == 0, 1, n)
    kept = torch.where(keep, states, torch.zeros((), dtype=states.dtype))
    return (kept.double() / n).sum(1).to(states.dtype)
''',
    ),
    Variant(
        "solo las posiciones reales, con index_add",
        MEDIA,
        source='''
def masked_mean(states, mask):
    B, T, _ = states.shape
    if tuple(mask.shape) != (B, T):
        raise ValueError(f"{tuple(mask.shape)} no es {(B, T)}")
    b, t = torch.nonzero(mask, as_tuple=True)
    total = torch.zeros(B, states.size(2)).index_add(0, b, states[b, t].float())
    count = torch.bincount(b, minlength=B).clamp(min=1)
    return (total / count[:, None]).type_as(states)
''',
    ),
    Variant(
        "multiplica, y elige después: el nan no llega a la suma",
        MEDIA,
        [(TOTAL, "scaled = states * real[..., None]\n    total = torch.where(real[..., None], scaled, 0.0).sum(1, dtype=torch.float32)")],
    ),
]  # fmt: skip

EXERCISES = {"04a": WRONG_A + RIGHT_A, "04b": WRONG_B + RIGHT_B}
