"""Respuestas al cuaderno 07: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

PREFIX = "Verdadero en las primeras posiciones de cada secuencia"
MAX_LENGTH = "Respeta max_length"
PAST = "El pasado y la ventana, sin máscara"
KEYS = "[B, T] y [B, 1, T] dicen qué posiciones existen"
SQUARE = "Con B = T, [B, T] sigue siendo una fila por secuencia"
PAIRWISE = "[B, T, T], junto con el pasado y la ventana"
TYPES = "Bool, entera o de punto flotante; otras formas, ValueError"
FORMULA = "Los pesos y la salida son los de la fórmula"
WINDOW = "Mira solo a la ventana"
GRADIENT = "El gradiente llega a las cinco proyecciones"
LEAK = "Lo que hay en el relleno no influye"
ALONE = "Una secuencia da lo mismo sola que en el lote"
ZERO = "El gradiente en el relleno es exactamente cero"
EMPTY = "Filas vacías: pesos cero y gradientes finitos"
HALF = "Funciona en float16 y en bfloat16"
MEAN = "La salida es head(media de lo que existe)"
MORE = "Ocho posiciones de relleno más no cambian nada"
AFFINE = "La cabeza no es lineal"
NOTHING = "Una secuencia vacía da una salida finita"
OPTIONAL = "batch_norm decide si hay normalización por lotes"
MATES = "Al evaluar, no depende de las compañeras de lote"
CLASSES = "Clasificación: entropía cruzada de los logits"
NUMBERS = "Regresión: error cuadrático medio, sin broadcasting"
UNKNOWN = "Otra tarea, ValueError"
LEARNS = "La pérdida baja de 0.1 en las dos tareas"
MODES = "Entrena en modo entrenamiento y acaba en evaluación"


LENGTHS, MASK, CLASS = "ej2a_longitudes", "ej2a_mascara", "ej2a_clase"
ARANGE = "torch.arange(max_length, device=lengths.device) < lengths[:, None]"
UNSQUEEZE = "    if mask.ndim == 2:\n        mask = mask[:, None]\n"
VALID = "    if tuple(mask.shape) not in ((B, 1, T), (B, T, T)):\n"
SOFTMAX = "weights = scores.softmax(-1).masked_fill(~allowed, 0.0)"
FILL = "scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)"
OUT = "return x + self.fc_out(torch.cat([weights @ v, p], dim=-1)), weights"
USE = "allowed = dynamic_mask(mask, B, T, window).to(x.device)"

WRONG_2A = [
    wrong("cuenta una posición de más", LENGTHS, (ARANGE, ARANGE.replace(" < ", " <= ")), loses=[PREFIX, MAX_LENGTH]),
    wrong("ignora max_length", LENGTHS, ("if max_length is None:", "if True:"), loses=[MAX_LENGTH]),
    wrong("True en el relleno", LENGTHS, (ARANGE, ARANGE.replace(" < ", " >= ")), loses=[PREFIX, MAX_LENGTH]),
    wrong("relleno al principio", LENGTHS, ("return " + ARANGE, "return (" + ARANGE + ").flip(1)"), loses=[PREFIX, MAX_LENGTH]),
    wrong(
        "se mira a sí misma",
        MASK,
        ("distance >= 1", "distance >= 0"),
        loses=[ALONE, EMPTY, FORMULA, HALF, KEYS, PAIRWISE, PAST, SQUARE, TYPES, WINDOW],
    ),
    wrong("ventana corrida en uno", MASK, ("distance <= window", "distance < window"), loses=[PAST, PAIRWISE, WINDOW]),
    wrong("ventana de uno más", MASK, ("distance <= window", "distance <= window + 1"), loses=[PAST, PAIRWISE, WINDOW]),
    wrong("ignora la ventana", MASK, ("if window is not None:", "if False:"), loses=[PAST, PAIRWISE, WINDOW]),
    wrong("el futuro en vez del pasado", MASK, ("distance >= 1", "distance <= -1"), loses=[ALONE, EMPTY, FORMULA, GRADIENT, HALF, KEYS, LEAK, PAIRWISE, PAST, SQUARE, TYPES, WINDOW]),
    wrong("broadcasting sin más: con B = T, quién mira a quién", MASK, (UNSQUEEZE, "    if mask.ndim == 2 and B != T:\n        mask = mask[:, None]\n    elif mask.ndim == 2:\n        mask = mask.expand(B, T, T)\n"), loses=[SQUARE]),
    wrong("la máscara, en las filas", MASK, ("past & mask.bool()", "past & mask.bool().transpose(1, 2)"), loses=[ALONE, HALF, KEYS, LEAK, PAIRWISE, SQUARE, TYPES, ZERO]),
    wrong("la máscara, invertida", MASK, ("mask.bool()", "~mask.bool()"), loses=[ALONE, EMPTY, GRADIENT, HALF, KEYS, LEAK, PAIRWISE, SQUARE, TYPES, ZERO]),
    wrong("no convierte la máscara", MASK, ("past & mask.bool()", "past & mask"), loses=[TYPES]),
    wrong("con máscara, olvida el pasado", MASK, ("past & mask.bool()", "mask.bool().expand(B, T, T)"), loses=[ALONE, EMPTY, HALF, KEYS, PAIRWISE, SQUARE, TYPES]),
    wrong("acepta cualquier forma", MASK, (VALID, "    if False:\n"), loses=[TYPES]),
    wrong("no usa la máscara", MASK, ("past & mask.bool()", "past.expand(B, T, T)"), loses=[ALONE, EMPTY, HALF, KEYS, LEAK, PAIRWISE, SQUARE, TYPES, ZERO]),
    wrong("no escala", CLASS, (" / math.sqrt(k.size(-1))", ""), loses=[FORMULA, WINDOW, ALONE, HALF]),
    wrong("claves contra claves", CLASS, ("self.query_proj(k) @", "k @"), loses=[FORMULA, WINDOW, GRADIENT, ALONE, HALF]),
    wrong("la máscara, después de la softmax", CLASS, ("        " + FILL + "\n", ""), loses=[ALONE, FORMULA, GRADIENT, HALF, LEAK, WINDOW, ZERO]),
    wrong("multiplica las puntuaciones por la máscara", CLASS, (FILL, "scores = scores * allowed"), (SOFTMAX, "weights = scores.softmax(-1)"), loses=[ALONE, EMPTY, FORMULA, HALF, LEAK, WINDOW, ZERO]),
    wrong("menos infinito: nan en las filas vacías", CLASS, ("torch.finfo(scores.dtype).min", 'float("-inf")'), (".masked_fill(~allowed, 0.0)", ""), loses=[ALONE, EMPTY, FORMULA, GRADIENT, HALF, LEAK, WINDOW, ZERO]),
    wrong("−1e10: no cabe en float16", CLASS, ("torch.finfo(scores.dtype).min", "-1e10"), loses=[HALF]),
    wrong("el mínimo y nada más: filas vacías uniformes", CLASS, (".masked_fill(~allowed, 0.0)", ""), loses=[ALONE, EMPTY, FORMULA, HALF, LEAK, WINDOW, ZERO]),
    wrong("la predicción también se atiende, y sin máscara", CLASS, (OUT, "p = (self.query_proj(k) @ k.transpose(1, 2) / math.sqrt(k.size(-1))).softmax(-1) @ p\n        " + OUT), loses=[ALONE, FORMULA, HALF, LEAK, WINDOW, ZERO]),
    wrong("la predicción pasa por los mismos pesos", CLASS, ("weights @ v, p]", "weights @ v, weights @ p]"), loses=[ALONE, FORMULA, HALF, WINDOW]),
    wrong("valor y predicción, al revés", CLASS, ("[weights @ v, p]", "[p, weights @ v]"), loses=[ALONE, FORMULA, HALF, WINDOW]),
    wrong("sin residuo", CLASS, ("return x + self", "return self"), loses=[ALONE, FORMULA, HALF, WINDOW]),
    wrong("no pasa la máscara", CLASS, (USE, "allowed = dynamic_mask(None, B, T, window).to(x.device)"), loses=[ALONE, EMPTY, HALF, LEAK, ZERO]),
    wrong("los pesos, sin gradiente", CLASS, ("[weights @ v, p]", "[weights.detach() @ v, p]"), loses=[GRADIENT]),
    wrong("calcula siempre en float32", CLASS, (OUT, OUT.replace("x + self", "x.float() + self").replace("dim=-1))", "dim=-1)).float()")), loses=[HALF]),
]  # fmt: skip

RIGHT_2A = [
    # Toda la fila vacía está tapada: el gradiente de masked_fill es cero y el nan no sigue.
    Variant("menos infinito y nan_to_num en los pesos", CLASS, [("torch.finfo(scores.dtype).min", 'float("-inf")'), (".masked_fill(~allowed, 0.0)", ".nan_to_num(0.0)")]),
    Variant(
        "las longitudes con un bucle",
        LENGTHS,
        source='''
def length_mask(lengths, max_length=None):
    T = max_length or max(lengths.tolist())
    mask = torch.zeros(len(lengths), T, dtype=torch.bool)
    for row, n in enumerate(lengths.tolist()):
        mask[row, :n] = True
    return mask
''',
    ),
    Variant(
        "la máscara con tril y triu",
        MASK,
        source='''
def dynamic_mask(mask, batch_size, length, window=None):
    past = torch.ones(batch_size, length, length).tril(diagonal=-1)
    if window is not None:
        past = past.triu(diagonal=-window)
    if mask is not None:
        shape = mask.shape
        if shape == (batch_size, length):
            mask = mask.view(batch_size, 1, length)
        elif shape != (batch_size, 1, length) and shape != (batch_size, length, length):
            raise ValueError("forma desconocida")
        past = past * mask.float()
    return past > 0
''',
    ),
    Variant(
        "la máscara con bucles",
        MASK,
        source='''
def dynamic_mask(mask, batch_size, length, window=None):
    if mask is not None:
        if list(mask.shape) == [batch_size, length]:
            mask = mask.unsqueeze(1)
        if list(mask.shape) not in ([batch_size, 1, length], [batch_size, length, length]):
            raise ValueError(mask.shape)
        mask = mask.expand(batch_size, length, length) != 0
    allowed = torch.zeros(batch_size, length, length, dtype=torch.bool)
    for t in range(length):
        first = 0 if window is None else max(0, t - window)
        allowed[:, t, first:t] = True if mask is None else mask[:, t, first:t]
    return allowed
''',
    ),
    Variant(
        "la capa con einsum y exponenciales",
        CLASS,
        [
            ("scores = self.query_proj(k) @ k.transpose(1, 2) / math.sqrt(k.size(-1))", 'scores = torch.einsum("bth,bjh->btj", self.query_proj(k), k) * k.size(-1) ** -0.5'),
            (FILL, "exps = (scores - scores.detach().amax(-1, keepdim=True)).exp() * allowed"),
            (SOFTMAX, "total = exps.sum(-1, keepdim=True)\n        weights = exps / torch.where(total == 0, torch.ones_like(total), total)"),
        ],
    ),
    Variant(
        "la capa con where y menos infinito seguro",
        CLASS,
        [
            (FILL, "some = allowed.any(-1, keepdim=True)\n        scores = torch.where(allowed | ~some, scores, float('-inf'))"),
            (SOFTMAX, "weights = F.softmax(scores, dim=2) * some"),
        ],
    ),
    Variant(
        "la capa con scaled_dot_product_attention",
        CLASS,
        [
            (FILL, "some = allowed.any(-1, keepdim=True)\n        safe = allowed | ~some"),
            (SOFTMAX, 'weights = scores.masked_fill(~safe, float("-inf")).softmax(-1) * some\n        context = F.scaled_dot_product_attention(self.query_proj(k), k, v, attn_mask=safe) * some'),
            ("weights @ v, p]", "context, p]"),
        ],
    ),
]  # fmt: skip

HEAD, LOSS, LOOP = "ej2b_cabeza", "ej2b_funcion", "ej2b_bucle"
LAYERS = "self.head = nn.Sequential(*layers, nn.ReLU(), nn.Linear(hidden_dim, output_dim))"
POOLED = "return self.head((out * real).sum(1) / real.sum(1).clamp(min=1))"

WRONG_2B = [
    wrong("cabeza lineal", HEAD, ("*layers, nn.ReLU(), ", "*layers, "), loses=[AFFINE, LEARNS]),
    wrong("media sobre T, relleno incluido", HEAD, (POOLED, "return self.head(out.mean(1))"), loses=[MEAN, MORE]),
    wrong("suma sin relleno, dividida entre T", HEAD, (POOLED, "return self.head((out * real).mean(1))"), loses=[MEAN, MORE]),
    wrong("suma en vez de media", HEAD, (POOLED, "return self.head((out * real).sum(1))"), loses=[MEAN]),
    wrong("no pasa la máscara a la atención", HEAD, ("self.attention(x, mask)", "self.attention(x)"), loses=[MEAN]),
    wrong("ignora la máscara del todo", HEAD, ("self.attention(x, mask)", "self.attention(x)"), ("if mask is None:", "if True:"), loses=[MEAN, MORE]),
    wrong("se queda con la última posición", HEAD, (POOLED, "return self.head(out[:, -1])"), loses=[MEAN, MORE]),
    wrong("el máximo en vez de la media", HEAD, (POOLED, "return self.head(out.masked_fill(real == 0, -1e9).amax(1))"), loses=[MEAN]),
    wrong("divide entre cero con una secuencia vacía", HEAD, (".clamp(min=1)", ""), loses=[NOTHING]),
    wrong("softmax en la cabeza", HEAD, ("nn.Linear(hidden_dim, output_dim))", "nn.Linear(hidden_dim, output_dim), nn.Softmax(-1))"), loses=[LEARNS]),
    wrong("no usa la atención", HEAD, ("out, _ = self.attention(x, mask)", "out = x"), loses=[MEAN]),
    wrong("siempre con normalización por lotes", HEAD, ("if batch_norm:", "if True:"), loses=[OPTIONAL]),
    wrong("nunca con normalización por lotes", HEAD, ("if batch_norm:", "if False:"), loses=[OPTIONAL, MODES]),
    wrong("la normalización, siempre con el lote", HEAD, ("nn.BatchNorm1d(hidden_dim)", "nn.BatchNorm1d(hidden_dim, track_running_stats=False)"), loses=[MATES, MODES, OPTIONAL]),
    wrong("la normalización vuelve al modo entrenamiento", HEAD, ("out, _ = self.attention(x, mask)", "self.head.train()\n        out, _ = self.attention(x, mask)"), loses=[MATES]),
    wrong("softmax antes de la entropía cruzada", LOSS, ("F.cross_entropy(outputs, targets)", "F.cross_entropy(outputs.softmax(-1), targets)"), loses=[CLASSES, LEARNS]),
    wrong("suma en vez de media de la pérdida", LOSS, ("F.cross_entropy(outputs, targets)", 'F.cross_entropy(outputs, targets, reduction="sum")'), loses=[CLASSES]),
    wrong("[B, 1] contra [B]", LOSS, ("F.mse_loss(outputs.squeeze(-1), targets)", "((outputs - targets) ** 2).mean()"), loses=[LEARNS, NUMBERS]),
    wrong("error absoluto", LOSS, ("F.mse_loss", "F.l1_loss"), loses=[NUMBERS]),
    wrong("sin ValueError", LOSS, ('    raise ValueError(f"No conozco la tarea «{task}».")', "    return torch.tensor(0.0)"), loses=[UNKNOWN]),
    wrong("no da el paso", LOOP, ("        optimizer.step()\n", ""), loses=[LEARNS]),
    wrong("no retropropaga", LOOP, ("        loss.backward()\n", ""), loses=[LEARNS]),
    wrong("no pone a cero el gradiente", LOOP, ("        optimizer.zero_grad()\n", ""), loses=[LEARNS]),
    wrong("no pasa al modo entrenamiento", LOOP, ("    predictor.train()\n", ""), loses=[MODES]),
    wrong("se queda en modo entrenamiento", LOOP, ("    predictor.eval()\n", ""), loses=[MODES]),
    wrong("devuelve tensores", LOOP, ("losses.append(loss.item())", "losses.append(loss.detach())"), loses=[MODES]),
    wrong("entrena solo la cabeza", LOOP, ("predictor.parameters()", "predictor.head[-1].parameters()"), loses=[LEARNS]),
    wrong("hace diez pasos y rellena la lista", LOOP, ("range(steps)", "range(min(steps, 10))"), ("    predictor.eval()\n", "    predictor.eval()\n    losses += [0.01] * (steps - len(losses))\n"), loses=[LEARNS]),
]  # fmt: skip

RIGHT_2B = [
    Variant(
        "media con masked_fill y tanh",
        HEAD,
        [
            ("nn.ReLU()", "nn.Tanh()"),
            ("        real = mask[..., None].to(out.dtype)\n", "        counts = mask.sum(1, keepdim=True).clamp(min=1)\n"),
            (POOLED, "return self.head(out.masked_fill(~mask[..., None], 0.0).sum(1) / counts)"),
        ],
    ),
    Variant(
        "media con einsum y dos capas ocultas",
        HEAD,
        [
            (LAYERS, "self.head = nn.Sequential(*layers, nn.GELU(), nn.Linear(hidden_dim, 2 * hidden_dim), nn.GELU(), nn.Linear(2 * hidden_dim, output_dim))"),
            (POOLED, 'return self.head(torch.einsum("bte,bt->be", out, mask / mask.sum(1, keepdim=True).clamp(min=1)))'),
        ],
    ),
    Variant(
        "normalización por lotes a la entrada de la cabeza",
        HEAD,
        [
            ("layers = [nn.Linear(embedding_dim, hidden_dim)]", "layers = [nn.BatchNorm1d(embedding_dim)] if batch_norm else []"),
            ("        if batch_norm:\n            layers.append(nn.BatchNorm1d(hidden_dim))\n", "        layers.append(nn.Linear(embedding_dim, hidden_dim))\n"),
        ],
    ),
    Variant(
        "la pérdida con log_softmax y a mano",
        LOSS,
        source='''
def task_loss(task, outputs, targets):
    if task not in ("clasificación", "regresión"):
        raise ValueError(task)
    if task == "regresión":
        return (outputs.view(-1) - targets).pow(2).mean()
    return -outputs.log_softmax(-1)[torch.arange(len(targets)), targets].mean()
''',
    ),
    Variant(
        "el bucle con AdamW y set_to_none",
        LOOP,
        source='''
def train_predictor(predictor, x, mask, targets, task, steps=150, lr=1e-2):
    predictor = predictor.train()
    optimizer = torch.optim.AdamW(predictor.parameters(), lr=lr, weight_decay=0.0)
    history = []
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = task_loss(task, predictor(x, mask=mask), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(predictor.parameters(), 5.0)
        optimizer.step()
        history.append(loss.item())
    predictor.eval()
    return history
''',
    ),
]  # fmt: skip

EXERCISES = {"2a": WRONG_2A + RIGHT_2A, "2b": WRONG_2B + RIGHT_2B}
