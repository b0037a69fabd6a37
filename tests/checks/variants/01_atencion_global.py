"""Respuestas al cuaderno 01: las incorrectas, con las comprobaciones que pierden, y las correctas."""

from tests.support import Variant, wrong

SHAPES = "Formas de la salida y de los pesos"
PARAMETERS = "Cada método tiene sus parámetros y ninguno más"
UNKNOWN = "ValueError si el método no existe"
DOT = "Los pesos de dot"
GENERAL = "Los pesos de general"
CONCAT = "Los pesos de concat"
OUTPUT = "La salida es tanh(W_c [c; h])"
GRADIENT = "El gradiente llega a todo"
PADDED = "Con relleno, cada frase da lo mismo que recortada"
EMPTY = "Una frase sin palabras: pesos cero y gradientes finitos"
HALF = "En 16 bits"
CURRENT = "Atiende con el estado actual de la última capa"
LOGITS = "Los logits salen de la atención; dropout, solo al entrenar"
SENTENCE = "La log-probabilidad de cada frase"
MEAN = "La pérdida es la media por palabra de todo el lote"
IGNORED = "El paso 0 y el relleno no cuentan, ni aunque sean nan"
SLOPE = "El gradiente es el de la entropía cruzada, y 0 en lo demás"
GREEDY = "Con K = 1, la voraz"
WIDE = "Con K grande, todas las posibles y en orden"
EXACT = "Con K intermedio, exactamente las del enunciado"
KEPT = "Las terminadas se conservan"
ALPHA = "La longitud se normaliza con power"
LIMITS = "max_len, y nada de relleno ni de inicio"
STATE = "Cada hipótesis lleva su estado"
MODE = "En modo evaluación, y dejando el modelo como estaba"

LAYER, DECODER = "ej01a_clase", "ej01a_decodificador"
LOSS, BEAM = "ej01b_funcion", "ej01b_busqueda"
SOFTMAX = "weights = masked_softmax(scores, mask)"
JOINED = "torch.cat([context, hidden], dim=-1)"
SCORE = "return (hidden * keys).sum(dim=-1).T  # [S, B] → [B, S]"
KEYS = 'keys = self.score_layer(encoder_outputs) if self.method == "general" else encoder_outputs'
RETURN = "return torch.tanh(self.combine(torch.cat([context, hidden], dim=-1))), weights"
STEP = "_, hidden = self.gru(embedded[None], hidden)"
ATTEND = "attentional, weights = self.attention(hidden[-1], encoder_outputs, mask)"
REAL = "real = (steps >= 1) & (steps < trg_lengths)  # [T, B]"
AVERAGE = "return -log_probs.sum() / real.sum(), log_probs"
BEST = "best = sorted(possible, reverse=True)[:beam_size]"
ENDED = "ended += [(tokens, total) for total, tokens, _ in best if tokens[-1] == END]"
SCORED = "total / (len(tokens) - 1) ** power"
SELECT = "state = model.select(state, torch.tensor(rows, device=model.device))"

WRONG_A = [
    wrong(
        "dot, dividido entre la raíz de H",
        LAYER,
        (SCORE, "return (hidden * keys).sum(dim=-1).T / hidden.size(-1) ** 0.5"),
        loses=[DOT, GENERAL, PADDED, CURRENT, LOGITS],
    ),
    wrong(
        "general, con la matriz traspuesta",
        LAYER,
        (KEYS, 'hidden = self.score_layer(hidden) if self.method == "general" else hidden\n        keys = encoder_outputs'),
        loses=[GENERAL, PADDED],
    ),
    wrong(
        "concat, en el otro orden",
        LAYER,
        ("torch.cat([repeated, encoder_outputs], dim=-1)", "torch.cat([encoder_outputs, repeated], dim=-1)"),
        loses=[CONCAT, PADDED],
    ),
    wrong(
        "concat, sin tanh",
        LAYER,
        ("self.v(torch.tanh(self.score_layer(joined)))", "self.v(self.score_layer(joined))"),
        loses=[CONCAT, GRADIENT, PADDED],
    ),
    wrong("la salida, en el otro orden", LAYER, (JOINED, "torch.cat([hidden, context], dim=-1)"), loses=[OUTPUT, LOGITS]),
    wrong("la salida, sin tanh", LAYER, (RETURN, "return self.combine(torch.cat([context, hidden], dim=-1)), weights"), loses=[OUTPUT, GRADIENT, LOGITS]),
    wrong(
        "la salida es el contexto, sin la consulta",
        LAYER,
        (JOINED, "torch.cat([context, torch.zeros_like(hidden)], dim=-1)"),
        loses=[OUTPUT, LOGITS],
    ),
    wrong("sin máscara", LAYER, (SOFTMAX, "weights = scores.softmax(dim=1)"), loses=[PADDED, EMPTY, HALF, CURRENT, LOGITS]),
    wrong("la máscara, al revés", LAYER, (SOFTMAX, "weights = masked_softmax(scores, ~mask)"), loses=[DOT, GENERAL, CONCAT, GRADIENT, PADDED, EMPTY, HALF, CURRENT, LOGITS]),
    wrong("la máscara, después de la softmax", LAYER, (SOFTMAX, "weights = scores.softmax(dim=1) * mask"), loses=[PADDED, CURRENT, LOGITS]),
    wrong("puntuaciones por máscara", LAYER, (SOFTMAX, "weights = (scores * mask).softmax(dim=1) * mask"), loses=[PADDED, CURRENT, LOGITS]),
    wrong("menos infinito: nan sin palabras", LAYER, (SOFTMAX, 'weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)'), loses=[EMPTY]),
    wrong("nan limpiado al final", LAYER, (SOFTMAX, 'weights = (scores + torch.zeros_like(scores).masked_fill(~mask, float("-inf"))).softmax(dim=1).nan_to_num(0.0)'), loses=[EMPTY]),
    wrong("menos diez mil millones: no cabe en 16 bits", LAYER, (SOFTMAX, "weights = scores.masked_fill(~mask, -1e10).softmax(dim=1) * mask"), loses=[HALF]),
    wrong("uniforme sobre el relleno si no hay palabras", LAYER, (SOFTMAX, "weights = scores.masked_fill(~mask, -3e4).softmax(dim=1)"), loses=[EMPTY]),
    wrong("softmax sobre el lote", LAYER, (SOFTMAX, "weights = scores.softmax(dim=0) * mask"), loses=[DOT, GENERAL, CONCAT, PADDED, CURRENT, LOGITS]),
    wrong("puntúa sin gradiente", LAYER, ("scores = self.score(hidden, encoder_outputs)", "scores = self.score(hidden, encoder_outputs).detach()"), loses=[GRADIENT]),
    wrong("combine, con sesgo", LAYER, ("self.combine = nn.Linear(2 * hidden_dim, hidden_dim, bias=False)", "self.combine = nn.Linear(2 * hidden_dim, hidden_dim)"), loses=[PARAMETERS, OUTPUT, LOGITS]),
    wrong("score_layer también en dot", LAYER, ('if method == "general":', 'if method in ("dot", "general"):'), loses=[PARAMETERS, GRADIENT]),
    wrong("acepta cualquier método", LAYER, ('if method not in ("dot", "general", "concat"):', "if False:"), loses=[UNKNOWN]),
    wrong("los pesos, como los da la GRU: [S, B]", LAYER, (RETURN, "return torch.tanh(self.combine(torch.cat([context, hidden], dim=-1))), weights.T"), loses=[SHAPES, PARAMETERS, UNKNOWN, DOT, GENERAL, CONCAT, OUTPUT, PADDED, EMPTY, HALF, CURRENT, LOGITS]),
    wrong("atiende con el estado anterior", DECODER, (ATTEND, "attentional, weights = self.attention(previous[-1], encoder_outputs, mask)"), (STEP, "previous = hidden\n        _, hidden = self.gru(embedded[None], hidden)"), loses=[CURRENT, LOGITS]),
    wrong("atiende con la primera capa", DECODER, ("self.attention(hidden[-1],", "self.attention(hidden[0],"), loses=[CURRENT]),
    wrong("no pasa la máscara", DECODER, ("encoder_outputs, mask)\n        return", "encoder_outputs)\n        return"), loses=[CURRENT, LOGITS]),
    wrong("los logits salen del estado, sin atención", DECODER, ("self.out(attentional)", "self.out(hidden[-1])"), loses=[LOGITS]),
    wrong("sin dropout", DECODER, ("self.dropout(self.embedding(input))", "self.embedding(input)"), loses=[LOGITS]),
    wrong("devuelve el estado anterior", DECODER, (STEP, "_, new = self.gru(embedded[None], hidden)"), ("self.attention(hidden[-1],", "self.attention(new[-1],"), loses=[CURRENT]),
]  # fmt: skip

RIGHT_A = [
    Variant(
        "einsum, y la softmax a mano",
        LAYER,
        source='''
class LuongAttention(nn.Module):
    def __init__(self, hidden_dim, method="dot"):
        super().__init__()
        H = hidden_dim
        if method == "general":
            self.score_layer = nn.Linear(H, H, bias=False)
        elif method == "concat":
            self.score_layer = nn.Linear(2 * H, H, bias=False)
            self.v = nn.Linear(H, 1, bias=False)
        elif method != "dot":
            raise ValueError("método desconocido")
        self.method = method
        self.combine = nn.Linear(2 * H, H, bias=False)

    def project_keys(self, encoder_outputs):
        return encoder_outputs

    def score(self, hidden, encoder_outputs):
        if self.method == "dot":
            return torch.einsum("bh,sbh->bs", hidden, encoder_outputs)
        if self.method == "general":
            return torch.einsum("bh,hk,sbk->bs", hidden, self.score_layer.weight, encoder_outputs)
        Wh, Ws = self.score_layer.weight.chunk(2, dim=1)
        energy = torch.tanh((hidden @ Wh.T)[None] + encoder_outputs @ Ws.T)
        return torch.einsum("sbh,h->bs", energy, self.v.weight[0])

    def forward(self, hidden, encoder_outputs, mask=None):
        scores = self.score(hidden, encoder_outputs)
        if mask is None:
            mask = torch.ones_like(scores)
        mask = mask.to(scores.dtype)
        scores = scores - (scores * mask).amax(1, keepdim=True).detach()
        e = torch.exp((scores * mask).clamp(max=10)) * mask
        weights = e / e.sum(1, keepdim=True).clamp(min=1e-6)
        context = torch.einsum("bs,sbh->bh", weights, encoder_outputs)
        return self.combine(torch.cat((context, hidden), 1)).tanh(), weights
''',
    ),
    Variant(
        "un bucle por frase",
        LAYER,
        source='''
class LuongAttention(nn.Module):
    def __init__(self, hidden_dim, method="dot"):
        super().__init__()
        if method not in {"dot", "general", "concat"}:
            raise ValueError(method)
        self.method = method
        self.combine = nn.Linear(hidden_dim + hidden_dim, hidden_dim, bias=False)
        sizes = {"general": hidden_dim, "concat": 2 * hidden_dim}
        if method in sizes:
            self.score_layer = nn.Linear(sizes[method], hidden_dim, bias=False)
        if method == "concat":
            self.v = nn.Linear(hidden_dim, 1, bias=False)

    def project_keys(self, encoder_outputs):
        return encoder_outputs

    def one(self, h, states):
        if self.method == "dot":
            return states @ h
        if self.method == "general":
            return self.score_layer(states) @ h
        pairs = torch.stack([torch.cat([h, state]) for state in states])
        return self.v(torch.tanh(self.score_layer(pairs)))[:, 0]

    def forward(self, hidden, encoder_outputs, mask=None):
        S, B, H = encoder_outputs.shape
        out, rows = [], []
        for b in range(B):
            real = torch.ones(S, dtype=torch.bool) if mask is None else mask[b]
            weights = hidden.new_zeros(S)
            if real.any():
                states = encoder_outputs[real, b]
                weights = weights.masked_scatter(real, torch.softmax(self.one(hidden[b], states), 0))
            context = weights @ encoder_outputs[:, b]
            out.append(torch.tanh(self.combine(torch.cat([context, hidden[b]]))))
            rows.append(weights)
        return torch.stack(out), torch.stack(rows)
''',
    ),
    Variant(
        "el lote delante, y el mínimo de cada tipo",
        LAYER,
        [
            (SCORE, "return torch.bmm(keys.transpose(0, 1), hidden[:, :, None]).squeeze(2)"),
            (SOFTMAX, "weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) * mask"),
            ("context = (weights[:, None] @ encoder_outputs.transpose(0, 1)).squeeze(1)", "context = (weights.T[..., None] * encoder_outputs).sum(0)"),
        ],
    ),
    Variant(
        "el decodificador, con la salida de la GRU",
        DECODER,
        [
            (STEP, "output, hidden = self.gru(self.dropout(self.embedding(input)).unsqueeze(0), hidden)"),
            ("        embedded = self.dropout(self.embedding(input))\n", ""),
            (ATTEND, "attentional, weights = self.attention(output.squeeze(0), encoder_outputs, mask=mask)"),
        ],
    ),
]  # fmt: skip

WRONG_B = [
    wrong("cuenta el paso 0", LOSS, ("(steps >= 1) & (steps < trg_lengths)", "steps < trg_lengths"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("cuenta el relleno", LOSS, ("(steps >= 1) & (steps < trg_lengths)", "(steps >= 1) & (trg_lengths > 0)"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("una palabra de menos", LOSS, ("steps < trg_lengths", "steps < trg_lengths - 1"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("la media de las frases", LOSS, (AVERAGE, "return -(log_probs / (trg_lengths - 1)).mean(), log_probs"), loses=[MEAN, IGNORED, SLOPE]),
    wrong("entre el número de frases", LOSS, (AVERAGE, "return -log_probs.mean(), log_probs"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("entre T por B", LOSS, (AVERAGE, "return -log_probs.sum() / real.numel(), log_probs"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("divide contando el inicio", LOSS, (AVERAGE, "return -log_probs.sum() / trg_lengths.sum(), log_probs"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("devuelve medias por frase", LOSS, (AVERAGE, "return -log_probs.sum() / real.sum(), log_probs / (trg_lengths - 1)"), loses=[SENTENCE]),
    wrong(
        "multiplica por la máscara",
        LOSS,
        ("chosen = outputs[real].log_softmax(dim=-1).gather(1, trg[real][:, None]).squeeze(1)\n", "every = outputs.log_softmax(dim=-1).gather(2, trg[..., None]).squeeze(2)\n"),
        ("log_probs = chosen.new_zeros(real.shape).masked_scatter(real, chosen).sum(dim=0)", "log_probs = (every * real).sum(dim=0)"),
        loses=[IGNORED],
    ),
    wrong("sin normalizar los logits", LOSS, ("outputs[real].log_softmax(dim=-1)", "outputs[real]"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("dos softmax", LOSS, ("outputs[real].log_softmax(dim=-1)", "outputs[real].softmax(dim=-1).log_softmax(dim=-1)"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("la pérdida, sin gradiente", LOSS, (AVERAGE, "return -log_probs.detach().sum() / real.sum() + 0 * outputs[real].sum(), log_probs"), loses=[SLOPE]),
    wrong("el signo, al revés", LOSS, (AVERAGE, "return log_probs.sum() / real.sum(), log_probs"), loses=[SENTENCE, MEAN, IGNORED, SLOPE]),
    wrong("siempre voraz", BEAM, (BEST, "best = sorted(possible, reverse=True)[:1]"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS, STATE]),
    wrong("K por cada viva, sin que compitan", BEAM, (BEST, "best = [new for r in range(len(live)) for new in sorted((p for p in possible if p[2] == r), reverse=True)[:beam_size]]"), loses=[EXACT, ALPHA]),
    wrong("solo la mejor prolongación de cada viva", BEAM, (BEST, "best = sorted((max(p for p in possible if p[2] == r) for r in range(len(live))), reverse=True)[:beam_size]"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS, STATE]),
    wrong("las terminadas no ocupan sitio en el haz", BEAM, (BEST, "best = sorted((p for p in possible if p[1][-1] != END), reverse=True)[:beam_size] + [p for p in sorted(possible, reverse=True)[:beam_size] if p[1][-1] == END]"), loses=[GREEDY, EXACT, ALPHA]),
    wrong("pierde las terminadas", BEAM, (ENDED, "ended = [(tokens, total) for total, tokens, _ in best if tokens[-1] == END]"), loses=[WIDE, EXACT, KEPT, ALPHA, LIMITS]),
    wrong("se para en cuanto termina una", BEAM, ("            if not live:\n", "            if not live or ended:\n"), loses=[WIDE, EXACT, KEPT, ALPHA, LIMITS, STATE]),
    wrong("sigue prolongando las terminadas", BEAM, ("rows = [row for _, tokens, row in best if tokens[-1] != END]", "rows = [row for _, tokens, row in best]"), ("live = [(tokens, total) for total, tokens, _ in best if tokens[-1] != END]", "live = [(tokens, total) for total, tokens, _ in best]"), loses=[GREEDY, WIDE, EXACT, ALPHA]),
    wrong("olvida las que no terminaron", BEAM, ("for tokens, total in ended + live]", "for tokens, total in ended]"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS, STATE]),
    wrong("sin normalizar por longitud", BEAM, (SCORED, "total"), loses=[ALPHA]),
    wrong("siempre la media", BEAM, (SCORED, "total / (len(tokens) - 1)"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, STATE]),
    wrong("cuenta el inicio en la longitud", BEAM, (SCORED, "total / len(tokens) ** power"), loses=[ALPHA]),
    wrong("multiplica por la longitud", BEAM, (SCORED, "total * (len(tokens) - 1) ** power"), loses=[ALPHA]),
    wrong("de peor a mejor", BEAM, ("key=lambda hypothesis: hypothesis[1], reverse=True)", "key=lambda hypothesis: hypothesis[1])"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS]),
    wrong("probabilidades que no se acumulan", BEAM, ("(total + p, [*tokens, k], row)", "(p, [*tokens, k], row)"), loses=[GREEDY, WIDE, EXACT, ALPHA, STATE]),
    wrong("devuelve también el inicio", BEAM, ("(tokens[1:], total /", "(tokens, total /"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS, STATE]),
    wrong("logits sin normalizar", BEAM, ("next_log_probs(logits)", "logits"), loses=[GREEDY, WIDE, EXACT, ALPHA, LIMITS, STATE]),
    wrong("puede escribir el inicio", BEAM, ("next_log_probs(logits)", "logits.log_softmax(dim=-1)"), loses=[GREEDY, WIDE, EXACT, ALPHA, LIMITS]),
    wrong("un paso de más", BEAM, ("for _ in range(max_len):", "for _ in range(max_len + 1):"), loses=[GREEDY, WIDE, EXACT, KEPT, ALPHA, LIMITS]),
    wrong("el estado no acompaña", BEAM, (SELECT, "state = model.select(state, torch.zeros(len(rows), dtype=torch.long))"), loses=[STATE]),
    wrong("el estado, por el puesto y no por la fila", BEAM, (SELECT, "state = model.select(state, torch.arange(len(rows)).clamp(max=len(state[0][0]) - 1 if state else 0))"), loses=[STATE]),
    wrong("en el modo en que esté", BEAM, ("    model.eval()\n", ""), loses=[MODE]),
    wrong("deja el modelo en modo evaluación", BEAM, ("    model.train(was_training)\n", ""), loses=[MODE]),
]  # fmt: skip

RIGHT_B = [
    Variant(
        "la entropía cruzada de PyTorch, frase a frase",
        LOSS,
        source='''
def sequence_loss(outputs, trg, trg_lengths):
    log_probs, words = [], 0
    for b, n in enumerate(trg_lengths.tolist()):
        log_probs.append(-F.cross_entropy(outputs[1:n, b], trg[1:n, b], reduction="sum"))
        words += n - 1
    log_probs = torch.stack(log_probs)
    return -log_probs.sum() / words, log_probs
''',
    ),
    Variant(
        "ignore_index, con el relleno marcado y los nan fuera antes",
        LOSS,
        source='''
def sequence_loss(outputs, trg, trg_lengths):
    T, B, V = outputs.shape
    t = torch.arange(T).unsqueeze(1)
    out = (t == 0) | (t >= trg_lengths.unsqueeze(0))
    outputs = outputs.masked_fill(out.unsqueeze(-1), 0.0)
    targets = trg.masked_fill(out, -100)
    each = F.cross_entropy(outputs.view(-1, V), targets.view(-1), ignore_index=-100, reduction="none")
    each = each.view(T, B)
    return each.sum() / (trg_lengths - 1).sum(), -each.sum(0)
''',
    ),
    Variant(
        "topk sobre la matriz aplanada",
        BEAM,
        source='''
def beam_search(model, src, src_lengths, beam_size, max_len=40, power=0.0):
    mode = model.training
    model.train(False)
    with torch.no_grad():
        state = model.start(src, src_lengths)
        sequences = torch.full((1, 1), START, dtype=torch.long)
        totals = torch.zeros(1)
        results = []
        for _ in range(max_len):
            logits, state, _ = model.step(sequences[:, -1], state)
            scores = totals[:, None] + next_log_probs(logits)
            V = scores.shape[1]
            k = min(beam_size, scores.shape[0] * (V - 2))
            totals, flat = scores.reshape(-1).topk(k)
            parents, words = torch.div(flat, V, rounding_mode="floor"), flat % V
            sequences = torch.cat([sequences[parents], words[:, None]], dim=1)
            over = words == END
            results += [(s[1:].tolist(), float(t)) for s, t in zip(sequences[over], totals[over])]
            sequences, totals, parents = sequences[~over], totals[~over], parents[~over]
            if len(sequences) == 0:
                break
            state = model.select(state, parents)
        results += [(s[1:].tolist(), float(t)) for s, t in zip(sequences, totals)]
    model.train(mode)
    return sorted([(s, t / len(s) ** power) for s, t in results], key=lambda x: -x[1])
''',
    ),
    Variant(
        "vuelve a escribir cada hipótesis desde el principio, sin estado",
        BEAM,
        source='''
def beam_search(model, src, src_lengths, beam_size, max_len=40, power=0.0):
    training = model.training
    model.eval()

    @torch.no_grad()
    def extensions(words, total):
        state = model.start(src, src_lengths)
        for word in [START, *words]:
            logits, state, _ = model.step(torch.tensor([word]), state)
        row = torch.log_softmax(logits[0], 0)
        return [(total + row[w].item(), words + (w,)) for w in range(len(row)) if w not in (PAD, START)]

    live, done = [(0.0, ())], []
    while live and max_len > 0:
        max_len -= 1
        candidates = [e for total, words in live for e in extensions(words, total)]
        candidates.sort(key=lambda c: c[0], reverse=True)
        top = candidates[:beam_size]
        done.extend(c for c in top if c[1][-1] == END)
        live = [c for c in top if c[1][-1] != END]
    model.train(training)
    ranked = [(list(words), total / len(words) ** power) for total, words in done + live]
    return sorted(ranked, key=lambda r: r[1], reverse=True)
''',
    ),
]  # fmt: skip

EXERCISES = {"01a": WRONG_A + RIGHT_A, "01b": WRONG_B + RIGHT_B}
