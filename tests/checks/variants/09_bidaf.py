"""Respuestas al cuaderno 09: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

VECTOR = "Un vector por palabra"
LETTERS_PAD = "El relleno tras las letras no cuenta"
WORDLESS = "Una palabra sin letras son ceros, y sus gradientes son finitos"
ALONE = "Cada palabra va por su cuenta"
EVERY = "Todas las letras llegan a todo el vector"
ORDER = "Cuenta el orden"
BEYOND = "Ve más allá de una ventana de cinco letras"
JOINS = "Concatena la palabra y sus letras"
POSITIONS = "Con positions=True, suma la posición; sin él, no"
OPTIONAL = "Las letras pueden faltar, y el relleno no mueve nada"
FIGURES = "Las cuatro cifras son las de la tabla"
MODE = "En modo evaluación, y dejando el modelo como estaba"
SKIP = "Con la rama a cero, el salto y nada más"
BRANCH = "La rama: LayerNorm de cada vector"
GRADIENT = "El gradiente pasa por el salto"
DROPOUT = "El dropout, solo en la rama y solo al entrenar"
AFTER_FLOW = "Después de AttentionFlow: C proyectado, más la atención"
AFTER_MODELING = "Después de ModelingLayer: G' proyectado, más lo modelado"
FORWARD = "Las puntuaciones usan los dos, y el relleno no las mueve"
NORMS = "La norma de todo el gradiente de cada capa"
CLEAN = "El modelo queda igual y sin gradientes"
SPANS = "Tramos válidos, de varias longitudes y en varios sitios"
DECIDES = "La pregunta decide entre varias personas"
SEED = "La semilla manda"
BRUTE = "El mejor de todos los tramos, en 200 casos"
MASKED = "El relleno no se señala nunca"
EXTREMES = "Menos infinito y puntuaciones muy grandes"
ENGLISH = "Las reglas del inglés son las oficiales"
SPANISH = "Las reglas del español"
EM = "EM: alguna de las buenas, normalizadas"
F1 = "F1: precisión y cobertura, con repeticiones"
F1_EDGES = "F1: la mejor de las buenas, y las vacías"
LEARNS = "La pregunta decide: más de 0.8 con tres claves"
LOOP = "Pérdidas, modos y lotes"
EVALUATES = "EM y F1 con el mejor tramo"
TUNES = "Cada combinación, desde la misma semilla y con validación"

WORDS_CELL = [VECTOR, LETTERS_PAD, WORDLESS, ALONE]
LETTERS_CELL = [EVERY, ORDER, BEYOND]
UNION_CELL = [JOINS, POSITIONS, OPTIONAL]
SUM_CELL = [SKIP, BRANCH, GRADIENT, DROPOUT]

ENCODER, UNION, EFFECT = "ej4a_codificador", "ej4a_integrar", "ej4a_medir"
LAST = "out[written] = torch.cat([last[0], last[1]], dim=1)"
PACKED = "packed = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)"
GRU_LAST = "_, last = self.gru(packed)  # [2, palabras, output_dim / 2]: lo último de cada sentido"
JOINED = "return self.positions(torch.cat([vectors, spelled], dim=-1))"
RIGHT_LINE = 'right = (start.argmax(1) == data["start"]) & (end.argmax(1) == data["end"])'

WRONG_4A = [
    wrong(
        "la última posición, con el relleno leído",
        ENCODER,
        (PACKED, "states, _ = self.gru(x)"),
        (GRU_LAST, ""),
        (LAST, "out[written] = states[:, -1]"),
        loses=[*WORDS_CELL, EVERY, OPTIONAL],
    ),
    wrong(
        "sin empaquetar",
        ENCODER,
        (PACKED, "packed = x"),
        loses=[*WORDS_CELL, OPTIONAL],
    ),
    wrong(
        "los dos sentidos, tras la última letra",
        ENCODER,
        (GRU_LAST, "states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)"),
        (LAST, "out[written] = states[torch.arange(len(n)), n - 1]"),
        loses=[EVERY],
    ),
    Variant(
        "convolución profunda con el relleno en el máximo",
        ENCODER,
        source='''
class CharacterEncoder(nn.Module):
    def __init__(self, char_vocab_size, char_dim, output_dim):
        super().__init__()
        self.embedding = nn.Embedding(char_vocab_size, char_dim, padding_idx=0)
        self.first = nn.Conv1d(char_dim, 32, 5, padding=2)
        self.second = nn.Conv1d(32, output_dim, 5, padding=2)

    def forward(self, chars):
        x = self.embedding(chars.flatten(0, 1)).transpose(1, 2)
        return self.second(self.first(x).tanh()).amax(2).unflatten(0, chars.shape[:2])
''',
        loses=frozenset([*WORDS_CELL, OPTIONAL]),
    ),
    Variant(
        "una bolsa de letras",
        ENCODER,
        source='''
class CharacterEncoder(nn.Module):
    def __init__(self, char_vocab_size, char_dim, output_dim):
        super().__init__()
        self.embedding = nn.Embedding(char_vocab_size, output_dim, padding_idx=0)

    def forward(self, chars):
        return self.embedding(chars).sum(2)
''',
        loses=frozenset([*LETTERS_CELL, JOINS]),
    ),
    Variant(
        "la convolución de la lección",
        ENCODER,
        source='''
class CharacterEncoder(CharacterCNN):
    pass
''',
        loses=frozenset([BEYOND, JOINS]),
    ),
    wrong(
        "falla con una palabra sin letras",
        ENCODER,
        ("written = lengths > 0", "written = lengths >= 0"),
        loses=[WORDLESS, OPTIONAL, FIGURES, MODE],
    ),
    wrong(
        "una palabra sin letras no da ceros",
        ENCODER,
        ("lengths = (letters != 0).sum(1)", "lengths = (letters != 0).sum(1).clamp(min=1)"),
        loses=[WORDLESS],
    ),
    wrong(
        "normaliza entre las palabras del lote",
        ENCODER,
        (LAST, "vectors = torch.cat([last[0], last[1]], dim=1)\n            out[written] = vectors - vectors.mean(0) / 2"),
        loses=[ALONE],
    ),
    wrong(
        "mezcla los ejes al deshacer",
        ENCODER,
        ("return out.unflatten(0, chars.shape[:2])", "return out.unflatten(0, chars.shape[1::-1]).transpose(0, 1)"),
        loses=[ALONE, OPTIONAL],
    ),
    wrong(
        "se queda con la convolución de BiDAF",
        UNION,
        ("        self.char_encoder = CharacterEncoder(char_vocab_size, char_dim, char_dim)\n", ""),
        loses=[JOINS],
    ),
    wrong("las letras, delante", UNION, ("[vectors, spelled]", "[spelled, vectors]"), loses=UNION_CELL),
    wrong("las letras, sin la palabra", UNION, (JOINED, "return self.positions(torch.cat([0 * vectors, spelled], dim=-1))"), loses=UNION_CELL),
    wrong("siempre con posiciones", UNION, (" if positions else nn.Identity()", ""), loses=UNION_CELL),
    wrong("nunca con posiciones", UNION, ("PositionalEncoding(size, 0.0, 1000) if positions else nn.Identity()", "nn.Identity()"), loses=[POSITIONS]),
    wrong("la posición, solo en las palabras", UNION, ("size = word_dim + char_dim", "size = word_dim"), (JOINED, "return torch.cat([self.positions(vectors), spelled], dim=-1)"), loses=[POSITIONS]),
    wrong("la posición, con dropout", UNION, ("PositionalEncoding(size, 0.0, 1000)", "PositionalEncoding(size, 0.1, 1000)"), loses=[POSITIONS]),
    wrong("falla sin letras", UNION, ("if chars is None:", "if chars is False:"), loses=[POSITIONS, OPTIONAL, FIGURES, MODE]),
    wrong("mide en modo entrenamiento", EFFECT, ("    model.eval()\n", ""), loses=[MODE]),
    wrong("deja el modelo en modo evaluación", EFFECT, ("    model.train(was_training)\n", ""), loses=[MODE]),
    wrong("solo mira el principio", EFFECT, (RIGHT_LINE, 'right = start.argmax(1) == data["start"]'), loses=[FIGURES, MODE]),
    wrong("siempre con letras", EFFECT, ('("_without_chars", INPUTS[:2])', '("_without_chars", INPUTS)'), loses=[FIGURES]),
    wrong("nan en un grupo vacío", EFFECT, (" if group.any() else None", ""), loses=[FIGURES]),
]  # fmt: skip

RIGHT_4A = [
    Variant(
        "una red convolucional de tres capas",
        ENCODER,
        source='''
class CharacterEncoder(nn.Module):
    def __init__(self, char_vocab_size, char_dim, output_dim):
        super().__init__()
        self.embedding = nn.Embedding(char_vocab_size, char_dim, padding_idx=0)
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 5, padding=2) for a, b in ((char_dim, 32), (32, 32), (32, output_dim))
        )

    def forward(self, chars):
        letters = chars.flatten(0, 1)
        real = (letters != 0)[:, None]
        x = self.embedding(letters).transpose(1, 2) * real
        for layer in self.layers:
            x = torch.tanh(layer(x)) * real
        best = x.masked_fill(~real, -2.0).amax(2) * real.any(2)
        return best.unflatten(0, chars.shape[:2])
''',
    ),
    Variant(
        "un bucle por palabra, con LSTM",
        ENCODER,
        source='''
class CharacterEncoder(nn.Module):
    def __init__(self, char_vocab_size, char_dim, output_dim):
        super().__init__()
        self.embedding = nn.Embedding(char_vocab_size, char_dim, padding_idx=0)
        self.lstm = nn.LSTM(char_dim, output_dim // 2, bidirectional=True, batch_first=True)
        self.size = output_dim

    def forward(self, chars):
        rows = []
        for word in chars.reshape(-1, chars.size(2)):
            real = word[word != 0]
            if len(real) == 0:
                rows.append(torch.zeros(self.size))
                continue
            _, (h, _) = self.lstm(self.embedding(real)[None])
            rows.append(h.reshape(-1))
        return torch.stack(rows).reshape(*chars.shape[:2], self.size)
''',
    ),
    Variant(
        "embed, el de BiDAF más la posición",
        UNION,
        [
            ('        vectors = self.word_embedding(words)\n        if chars is None:\n            spelled = vectors.new_zeros(*words.shape, self.char_dim)\n        else:\n            spelled = self.char_encoder(chars)\n', ""),
            (JOINED, "return self.positions(super().embed(words, chars))"),
        ],
    ),
    Variant(
        "medir con listas de Python",
        EFFECT,
        source='''
def character_effect(model, data):
    mode = model.training
    model.train(False)
    rare = [1 in row for row in data["query"].tolist()]
    golds = list(zip(data["start"].tolist(), data["end"].tolist()))
    out = {}
    with torch.inference_mode():
        for suffix in ("", "_without_chars"):
            letters = (None, None) if suffix else (data["context_char"], data["query_char"])
            found = model(data["context"], data["query"], *letters)
            found = list(zip(*(scores.max(1).indices.tolist() for scores in found)))
            for name, wanted in (("known", False), ("unknown", True)):
                hits = [f == g for f, g, r in zip(found, golds, rare) if r == wanted]
                out[name + suffix] = sum(hits) / len(hits) if hits else None
    model.train(mode)
    return out
''',
    ),
]  # fmt: skip

CONNECTION, MODEL, GRADIENTS = "ej4b_conexion", "ej4b_modelo", "ej4b_gradientes"
ADD = "return self.project(x) + self.dropout(self.norm(y))"
ATTEND = "return self.flow_residual(C, self.attention_flow(C, Q, context_mask, question_mask))"
MODELLED = "return self.modeling_residual(G, self.modeling_layer(G, context_mask))"
OWN_FLOW = """flow = self.attention_flow
        S = flow.similarity(C, Q).masked_fill(~question_mask[:, None], -1e9)
        c2q = {}
        q2c = S.amax(2).masked_fill(~context_mask, -1e9).softmax(1)
        u, h = c2q @ Q, q2c[:, None] @ C
        G = torch.cat([C, u, C * u, C * h], dim=-1) * context_mask[..., None]
        return self.flow_residual(C, G)"""
SQUARES = "norms[name] = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))"

WRONG_4B = [
    wrong("sin el salto", CONNECTION, (ADD, "return self.dropout(self.norm(y))"), loses=[*SUM_CELL, AFTER_FLOW, AFTER_MODELING]),
    wrong("la rama, dos veces", CONNECTION, (ADD, "return self.dropout(self.norm(y)) + self.norm(y)"), loses=[*SUM_CELL, AFTER_FLOW, AFTER_MODELING]),
    wrong("recorta en vez de proyectar", CONNECTION, (ADD, "n = min(x.size(-1), y.size(-1))\n        return F.pad(x[..., :n], (0, y.size(-1) - n)) + self.dropout(self.norm(y))"), loses=[SKIP, BRANCH, GRADIENT, AFTER_FLOW, AFTER_MODELING]),
    wrong("el salto, separado del grafo", CONNECTION, (ADD, "return self.project(x).detach() + self.dropout(self.norm(y))"), loses=[GRADIENT]),
    wrong("normaliza la suma", CONNECTION, ("self.norm = nn.LayerNorm(output_dim)", "self.norm = nn.LayerNorm(output_dim)"), (ADD, "return self.norm(self.project(x) + self.dropout(y))"), loses=[*SUM_CELL, AFTER_FLOW, AFTER_MODELING]),
    wrong("dropout sobre la suma", CONNECTION, (ADD, "return self.dropout(self.project(x) + self.norm(y))"), loses=[DROPOUT]),
    wrong("sin dropout", CONNECTION, (ADD, "return self.project(x) + self.norm(y)"), loses=[DROPOUT]),
    wrong("sin normalizar", CONNECTION, (ADD, "return self.project(x) + self.dropout(y)"), loses=[BRANCH, AFTER_FLOW, AFTER_MODELING]),
    wrong("normaliza sobre el lote", CONNECTION, (ADD, "mean, std = y.mean(0, keepdim=True), y.std(0, keepdim=True, correction=0)\n        return self.project(x) + self.dropout((y - mean) / (std + 1e-5) * self.norm.weight + self.norm.bias)"), loses=[BRANCH, AFTER_FLOW, AFTER_MODELING]),
    wrong("nunca proyecta", CONNECTION, ("nn.Identity() if same else nn.Linear(input_dim, output_dim, bias=False)", "nn.Identity()"), loses=[*SUM_CELL, AFTER_FLOW, AFTER_MODELING, FORWARD, LEARNS, LOOP, TUNES]),
    wrong("solo el residuo de la atención", MODEL, (MODELLED, "return self.modeling_layer(G, context_mask)"), loses=[AFTER_MODELING]),
    wrong("solo el residuo del modelado", MODEL, (ATTEND, "return self.attention_flow(C, Q, context_mask, question_mask)"), loses=[AFTER_FLOW]),
    wrong("el salto y la rama, cambiados de sitio", MODEL, (MODELLED, "M = self.modeling_layer(G, context_mask)\n        return M + self.modeling_residual(G, torch.zeros_like(M))"), loses=[AFTER_MODELING]),
    wrong("no pasa las máscaras a la atención", MODEL, ("self.attention_flow(C, Q, context_mask, question_mask)", "self.attention_flow(C, Q)"), loses=[AFTER_FLOW, FORWARD]),
    wrong("no pasa la máscara al modelado", MODEL, ("self.modeling_layer(G, context_mask)", "self.modeling_layer(G)"), loses=[AFTER_MODELING, FORWARD]),
    wrong("la softmax de C2Q, por columnas", MODEL, (ATTEND, OWN_FLOW.format("S.masked_fill(~context_mask[..., None], -1e9).softmax(1)")), loses=[AFTER_FLOW]),
    wrong("atención uniforme", MODEL, (ATTEND, OWN_FLOW.format("(0 * S).masked_fill(~question_mask[:, None], -1e9).softmax(2)")), loses=[AFTER_FLOW, LEARNS]),
    wrong("el salto solo lleva el contexto, sin la atención", MODEL, (ATTEND, "return self.flow_residual(C, torch.zeros(*C.shape[:2], 4 * C.size(2)))"), loses=[AFTER_FLOW, LEARNS]),
    wrong("suma las normas", GRADIENTS, (SQUARES, "norms[name] = sum(g.norm().item() for g in gradients)"), loses=[NORMS]),
    wrong("solo el primer parámetro", GRADIENTS, (SQUARES, "norms[name] = gradients[0].norm().item()"), loses=[NORMS]),
    wrong("acumula los gradientes de antes", GRADIENTS, ("    model.zero_grad()\n    span_loss", "    span_loss"), loses=[NORMS]),
    wrong("deja los gradientes puestos", GRADIENTS, ("    model.zero_grad()\n    return norms", "    return norms"), loses=[CLEAN]),
]  # fmt: skip

RIGHT_4B = [
    Variant("con funciones y add", CONNECTION, [(ADD, "branch = F.layer_norm(y, y.shape[-1:], self.norm.weight, self.norm.bias)\n        return torch.add(self.dropout(branch), self.project(x))")]),
    Variant(
        "la proyección, condicional en forward",
        CONNECTION,
        [
            ("self.project = nn.Identity() if same else nn.Linear(input_dim, output_dim, bias=False)", "self.same = same\n        if not same:\n            self.project = nn.Linear(input_dim, output_dim, bias=False)"),
            (ADD, "out = self.dropout(self.norm(y))\n        out = out + (x if self.same else self.project(x))\n        return out"),
        ],
    ),
    Variant(
        "con su propio forward",
        MODEL,
        [
            (MODELLED, MODELLED + '''

    def forward(self, context, query, context_char=None, query_char=None):
        C, cm = self.read(context, context_char)
        Q, qm = self.read(query, query_char, "la pregunta")
        G = self.attend(C, Q, cm, qm)
        M = self.model(G, cm)
        return self.output_layer(G, M, cm)'''),
        ],
    ),
    Variant(
        "los gradientes con autograd.grad",
        GRADIENTS,
        source='''
def gradient_norms(model, batch):
    model.zero_grad(set_to_none=True)
    loss = span_loss(model, batch)
    norms = {}
    for name in LAYERS:
        found = torch.autograd.grad(loss, list(getattr(model, name).parameters()), retain_graph=True, allow_unused=True)
        norms[name] = float(torch.cat([g.reshape(-1) for g in found if g is not None]).norm())
    return norms
''',
    ),
]  # fmt: skip

DATA, DECODE, NORMALIZE, METRICS = (
    "ej4c_datos",
    "ej4c_decodificar",
    "ej4c_normalizar",
    "ej4c_metricas",
)
TRAIN, EVALUATE, TUNE = "ej4c_entrenar", "ej4c_evaluar", "ej4c_ajustar"
BEST = 'best = scores.masked_fill(~allowed, float("-inf")).flatten(1).argmax(1)'
BOTH = "allowed = allowed & mask[:, :, None] & mask[:, None, :]"
BAND = "torch.ones_like(scores, dtype=torch.bool).triu().tril(max_length - 1)"
SCORED = "scores.append(float(found == words) if empty else 2 * common / total)  # = 2PR / (P + R)"
READER = "return ResidualBiDAF("
KEPT = 'kept = "".join(char for char in text.lower() if char not in signs)'
BLIND = """class Blind(BiDAF):
        def forward(self, context, query, context_char=None, query_char=None):
            return super().forward(context, torch.ones_like(query[:, :1]))

    return Blind("""
FLOW = """class Flow(AttentionFlow):
        {}

    model = BiDAF(32, 16, 24, vocab_size, CHAR_VOCAB_SIZE, dropout=dropout, modeling_layers=1)
    model.attention_flow = Flow(24)
    return model
    return ResidualBiDAF("""

WRONG_4C = [
    wrong("pregunta siempre por la primera", DATA, ("asked = rng.choice(people)", "asked = people[0]"), loses=[DECIDES]),
    wrong("el fin, una palabra después", DATA, ("len(context) + len(food.split()) - 1", "len(context) + len(food.split())"), loses=[SPANS]),
    wrong("la respuesta de otra persona", DATA, ("if person == asked:", "if person == people[-1]:"), loses=[DECIDES]),
    wrong("una sola persona", DATA, ("rng.sample(PEOPLE, rng.choice([2, 3]))", "rng.sample(PEOPLE, 1)"), loses=[DECIDES]),
    wrong("el azar global", DATA, ("rng = random.Random(seed)", "rng = random"), loses=[SEED]),
    wrong("respuestas de una palabra", DATA, ('"sopa de ajo", "dos huevos", "tarta de miel", "pan", "uvas negras"', '"sopa", "huevos", "tarta", "pan", "uvas"'), loses=[SPANS]),
    wrong("los dos argmax, por separado", DECODE, (BEST, "return start.masked_fill(~mask, float('-inf')).argmax(1), end.masked_fill(~mask, float('-inf')).argmax(1)"), loses=[BRUTE, MASKED, EXTREMES]),
    wrong("sin longitud máxima", DECODE, (".triu().tril(max_length - 1)", ".triu()"), loses=[BRUTE, MASKED]),
    wrong("una palabra de más", DECODE, ("tril(max_length - 1)", "tril(max_length)"), loses=[BRUTE, MASKED]),
    wrong("el otro triángulo", DECODE, (".triu().tril(max_length - 1)", ".tril().triu(1 - max_length)"), loses=[BRUTE, MASKED, EXTREMES]),
    wrong("sin máscara", DECODE, (BOTH, "pass"), loses=[MASKED]),
    wrong("primero el principio, y luego el mejor fin", DECODE, (BEST, 'first = start.masked_fill(~mask, float("-inf")).argmax(1)\n    rows = scores.masked_fill(~allowed, float("-inf"))[torch.arange(len(start)), first]\n    return first, rows.argmax(1)'), loses=[BRUTE, MASKED, EXTREMES]),
    wrong("quita los artículos antes que los signos", NORMALIZE, (KEPT, 'bare = re.sub(rf"\\b({articles[language]})\\b", " ", text.lower())\n    return " ".join("".join(char for char in bare if char not in signs).split())'), loses=[ENGLISH, SPANISH]),
    wrong("los artículos, también dentro de las palabras", NORMALIZE, (r'rf"\b({articles[language]})\b"', 'rf"({articles[language]})"'), loses=[ENGLISH, SPANISH, EM, F1, F1_EDGES]),
    wrong("quita los acentos", NORMALIZE, ('unicodedata.normalize("NFC", text)', '"".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))'), loses=[ENGLISH, SPANISH, EM]),
    wrong("sin NFC", NORMALIZE, ('text = unicodedata.normalize("NFC", text)', "pass"), loses=[SPANISH]),
    wrong("los signos del inglés, también en español", NORMALIZE, ('signs |= {char for char in text if unicodedata.category(char).startswith("P")}', "pass"), loses=[ENGLISH, SPANISH, EM, F1]),
    wrong("los signos del español, también en inglés", NORMALIZE, ('    if language == "es":\n        text', '    if language:\n        text'), loses=[ENGLISH]),
    wrong("cualquier otro idioma es español", NORMALIZE, ("if language not in articles:\n        raise ValueError(f\"El idioma debe ser «es» o «en», no «{language}».\")", 'if language not in articles:\n        language = "es"'), loses=[SPANISH]),
    wrong("EM, solo con la primera", METRICS, ("for gold in gold_answers))", "for gold in gold_answers[:1]))"), loses=[EM]),
    wrong("EM, si la contiene", METRICS, ("found == normalize_answer(gold, language) for", "found in normalize_answer(gold, language) for"), loses=[EM]),
    wrong("F1, solo precisión", METRICS, ("2 * common / total", "common / len(found)"), loses=[EM, F1, F1_EDGES]),
    wrong("F1, solo cobertura", METRICS, ("2 * common / total", "common / len(words)"), loses=[EM, F1, F1_EDGES]),
    wrong("F1, con conjuntos", METRICS, ("common = sum((Counter(found) & Counter(words)).values())", "found, words = sorted(set(found)), sorted(set(words))\n        common = len(set(found) & set(words))"), loses=[F1]),
    wrong("F1, la media de las buenas", METRICS, ("return max(scores)", "return sum(scores) / len(scores)"), loses=[F1_EDGES]),
    wrong("F1, entre cero", METRICS, (SCORED, "precision, recall = common / len(found), common / len(words)\n        scores.append(2 * precision * recall / (precision + recall))"), loses=[F1_EDGES, EVALUATES]),
    wrong("F1, las vacías valen cero", METRICS, ("float(found == words) if empty", "0.0 if empty"), loses=[F1_EDGES]),
    wrong("no lee la pregunta", TRAIN, (READER, BLIND), loses=[LEARNS]),
    wrong("la pregunta, resumida: atención uniforme", TRAIN, (READER, FLOW.format("def similarity(self, context, question):\n            return 0 * super().similarity(context, question)")), loses=[LEARNS]),
    wrong("sin atención: la media, y sin productos", TRAIN, (READER, FLOW.format("def forward(self, context, question, context_mask=None, question_mask=None):\n            u = question.mean(1, keepdim=True).expand_as(context)\n            return torch.cat([context, u, 0 * u, 0 * u], dim=-1)")), loses=[LEARNS]),
    wrong("no da el paso", TRAIN, ("            optimizer.step()\n", ""), loses=[LEARNS, LOOP, TUNES]),
    wrong("se queda en modo entrenamiento", TRAIN, ("    model.eval()\n    return means", "    return means"), loses=[LOOP]),
    wrong("no pasa el dropout", TRAIN, ("dropout=dropout, modeling_layers=1", "dropout=0.0, modeling_layers=1"), loses=[LOOP]),
    wrong("una pérdida por lote", TRAIN, ("means.append(sum(losses) / len(losses))", "means += losses"), loses=[LOOP]),
    wrong("evalúa en modo entrenamiento", EVALUATE, ("    model.eval()\n", ""), loses=[EVALUATES]),
    wrong("evalúa con los dos argmax", EVALUATE, ('decode_span(*scores, data["context"] != PAD)', "[s.argmax(1) for s in scores]"), loses=[EVALUATES]),
    wrong("evalúa con las reglas del inglés", EVALUATE, ("metric(text, e.answers)", 'metric(text, e.answers, "en")'), loses=[EVALUATES]),
    wrong("suma en vez de media", EVALUATE, ("for text, e in zip(texts, examples)) / len(examples)", "for text, e in zip(texts, examples))"), loses=[EVALUATES]),
    wrong("no fija la semilla", TUNE, ("        set_seed(seed)\n", ""), loses=[TUNES]),
    wrong("fija la semilla una sola vez", TUNE, ("    for options in grid:\n        set_seed(seed)\n", "    set_seed(seed)\n    for options in grid:\n"), loses=[TUNES]),
    wrong("sigue con el mismo modelo", TUNE, ("    for options in grid:\n        set_seed(seed)\n        model = build_reader(vocab_size, options[\"dropout\"])\n", "    model = build_reader(vocab_size, grid[0][\"dropout\"])\n    for options in grid:\n        set_seed(seed)\n"), loses=[TUNES]),
    wrong("mide con el entrenamiento", TUNE, ("exact_spans(model, validation)", "exact_spans(model, train)"), loses=[TUNES]),
    wrong("elige la peor", TUNE, ("best = max(range", "best = min(range"), loses=[TUNES]),
    wrong("siempre una vuelta", TUNE, ('options["epochs"], options["lr"]', '0, options["lr"]'), loses=[TUNES]),
]  # fmt: skip

RIGHT_4C = [
    Variant(
        "otra historia, con sitios",
        DATA,
        source='''
def simulate_qa(count, seed):
    generator = random.Random(f"historia {seed}")
    out = []
    while len(out) < count:
        friends = generator.sample(PEOPLE, k=4)
        target = generator.randrange(4)
        places = generator.sample([["Cádiz"], ["San", "Juan"], ["la", "playa", "del", "norte"], ["Soria"], ["la", "ermita"]], 4)
        words, span = [], None
        for i, (who, where) in enumerate(zip(friends, places)):
            words.extend(["ayer", who, "durmió", "en"])
            if i == target:
                span = (len(words), len(words) + len(where) - 1)
            words.extend(where + [";"])
        out.append((words, ["¿", "dónde", "durmió", friends[target], "?"], *span))
    return out
''',
    ),
    Variant(
        "todos los tramos, con bucles",
        DECODE,
        source='''
def decode_span(start, end, mask=None, max_length=15):
    starts, ends = [], []
    for b in range(start.size(0)):
        best = None
        for s in range(start.size(1)):
            for e in range(s, min(s + max_length, start.size(1))):
                if mask is not None and not (mask[b, s] and mask[b, e]):
                    continue
                value = float(start[b, s] + end[b, e])
                if best is None or value > best[0]:
                    best = (value, s, e)
        starts.append(best[1])
        ends.append(best[2])
    return torch.tensor(starts), torch.tensor(ends)
''',
    ),
    Variant(
        "el mejor principio para cada fin, con unfold",
        DECODE,
        source='''
def decode_span(start, end, mask=None, max_length=15):
    T = start.size(1)
    if mask is not None:
        start = torch.where(mask > 0, start, float("-inf"))
        end = torch.where(mask > 0, end, float("-inf"))
    windows = F.pad(start, (max_length - 1, 0), value=float("-inf")).unfold(1, max_length, 1)
    value, offset = windows.max(2)
    ends = (value + end).argmax(1)
    rows = torch.arange(len(start))
    return ends - (max_length - 1) + offset[rows, ends], ends
''',
    ),
    Variant(
        "normalizar con str.translate",
        NORMALIZE,
        source='''
def normalize_answer(text, language="es"):
    if language == "en":
        articles, text = {"a", "an", "the"}, text.lower()
        text = text.translate(str.maketrans("", "", string.punctuation))
        return " ".join(re.sub(r"\\b(a|an|the)\\b", " ", text).split())
    if language != "es":
        raise ValueError("solo «es» y «en»")
    text = unicodedata.normalize("NFC", text).lower()
    text = "".join(c for c in text if unicodedata.category(c)[0] != "P" and c not in "$+<=>^`|~")
    words = re.sub(r"\\b(?:el|la|los|las|un|una|unos|unas)\\b", " ", text).split()
    return " ".join(words)
''',
    ),
    Variant(
        "F1 con precisión y cobertura",
        METRICS,
        source='''
def exact_match(prediction, gold_answers, language="es"):
    golds = {normalize_answer(gold, language) for gold in gold_answers}
    return 1.0 if normalize_answer(prediction, language) in golds else 0.0


def f1_score(prediction, gold_answers, language="es"):
    def one(gold):
        a = normalize_answer(prediction, language).split()
        b = normalize_answer(gold, language).split()
        if len(a) == 0 or len(b) == 0:
            return float(a == b)
        left = list(b)
        common = 0
        for word in a:
            if word in left:
                left.remove(word)
                common += 1
        if common == 0:
            return 0.0
        precision, recall = common / len(a), common / len(b)
        return 2 * precision * recall / (precision + recall)

    return max(one(gold) for gold in gold_answers)
''',
    ),
    Variant("el BiDAF con letras, y AdamW", TRAIN, [(READER, "return CharacterBiDAF("), ("torch.optim.Adam(", "torch.optim.AdamW(weight_decay=0.0, params="), ("            nn.utils.clip_grad_norm_(model.parameters(), 5.0)\n", "")]),
    Variant("ajustar con una lista de tuplas", TUNE, [('best = max(range(len(grid)), key=lambda i: results[i]["score"])', 'best = sorted((-row["score"], i) for i, row in enumerate(results))[0][1]')]),
]  # fmt: skip

EXERCISES = {"4a": WRONG_4A + RIGHT_4A, "4b": WRONG_4B + RIGHT_4B, "4c": WRONG_4C + RIGHT_4C}
