"""Comprobaciones del cuaderno 01: `LuongAttention` (01a), y la pérdida y la búsqueda en haz (01b).

Los oráculos son las fórmulas del enunciado, con bucles. Las tolerancias son de 1e-5: con vectores
de 6 números, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import itertools
import math

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

H = 6
METHODS = ("dot", "general", "concat")
PAD, START, END = 0, 1, 2


# --- Oráculo del ejercicio 01a --------------------------------------------------------------------


def parameter_shapes(method: str) -> dict[str, list[int]]:
    """Los parámetros de cada método, con sus formas."""
    shapes = {"combine.weight": [H, 2 * H]}
    if method == "general":
        shapes["score_layer.weight"] = [H, H]
    if method == "concat":
        shapes |= {"score_layer.weight": [H, 2 * H], "v.weight": [1, H]}
    return shapes


def layer_with_weights(LuongAttention, method: str):
    """Una capa con parámetros al azar, y esos parámetros."""
    layer = LuongAttention(H, method)
    state = {name: list(value.shape) for name, value in layer.state_dict().items()}
    for name, shape in parameter_shapes(method).items():
        expect(name in state, f"Con «{method}» falta el parámetro {name}.", "mira la tabla.")
        found = state[name]
        expect(found == shape, f"Con «{method}», {name} es {found} y debería ser {shape}.")
    weights = {name: torch.randn(shape) * 0.7 for name, shape in parameter_shapes(method).items()}
    layer.load_state_dict(weights, strict=False)
    layer.eval()
    return layer, weights


def expected_weights(method: str, parameters: dict, hidden, states) -> torch.Tensor:
    """Los pesos `[S]` de un ejemplo sin relleno: hidden `[H]`, states `[S, H]`."""
    scores = []
    for state in states:
        if method == "dot":
            scores.append(hidden @ state)
        elif method == "general":
            scores.append(hidden @ (parameters["score_layer.weight"] @ state))
        else:
            energy = torch.tanh(parameters["score_layer.weight"] @ torch.cat([hidden, state]))
            scores.append((parameters["v.weight"] @ energy)[0])
    return torch.stack(scores).softmax(0)


def example(lengths, S=5):
    """Consultas, vectores y máscara de un lote, con relleno también al azar."""
    B = len(lengths)
    mask = torch.arange(S) < torch.tensor(lengths)[:, None]
    return torch.randn(B, H), torch.randn(S, B, H), mask


# --- 01a: estructura ------------------------------------------------------------------------------


@check("ej01a_estructura", "Formas de la salida y de los pesos", points=0.5)
def output_shapes(LuongAttention):
    for B, S, size, method in [(1, 1, 4, "dot"), (3, 5, 6, "general"), (4, 2, 3, "concat")]:
        found = LuongAttention(size, method)(torch.randn(B, size), torch.randn(S, B, size))
        shapes = [list(value.shape) for value in found]
        wanted = [[B, size], [B, S]]
        case = f"Con «{method}», B={B}, S={S} y H={size}"
        expect(shapes == wanted, f"{case}, las formas son {shapes} y deberían ser {wanted}.")


@check("ej01a_estructura", "Cada método tiene sus parámetros y ninguno más", points=1.0)
def parameters_of_each_method(LuongAttention):
    for method in METHODS:
        layer, _ = layer_with_weights(LuongAttention, method)
        names = sorted(name for name, _ in layer.named_parameters())
        wanted = sorted(parameter_shapes(method))
        expect(
            names == wanted,
            f"Con «{method}», los parámetros son {names} y deberían ser {wanted}.",
            "ninguna de las capas lleva sesgo, y «dot» no tiene score_layer.",
        )


@check("ej01a_estructura", "ValueError si el método no existe", points=0.5)
def unknown_method(LuongAttention):
    expect_error(ValueError, lambda: LuongAttention(H, "bahdanau"), "Con method='bahdanau'")


# --- 01a: puntuaciones ----------------------------------------------------------------------------


def expect_weights(LuongAttention, method: str, hint: str) -> None:
    layer, parameters = layer_with_weights(LuongAttention, method)
    hidden, states, _ = example([5, 5, 5])
    expected = torch.stack(
        [expected_weights(method, parameters, hidden[b], states[:, b]) for b in range(3)]
    )
    found = layer(hidden, states)[1]
    expect_close(found, expected, f"los pesos de «{method}»", hint)


@check("ej01a_puntuacion", "Los pesos de dot", points=1.0)
def dot_weights(LuongAttention):
    hint = "el producto escalar, sin dividir entre nada, y softmax sobre las palabras."
    expect_weights(LuongAttention, "dot", hint)


@check("ej01a_puntuacion", "Los pesos de general", points=1.0)
def general_weights(LuongAttention):
    hint = "W_a se aplica a los vectores del codificador; aplicada a hidden, sería su traspuesta."
    expect_weights(LuongAttention, "general", hint)


@check("ej01a_puntuacion", "Los pesos de concat", points=1.0)
def concat_weights(LuongAttention):
    hint = "[h_t; vector], en ese orden; tanh, y después v."
    expect_weights(LuongAttention, "concat", hint)


# --- 01a: salida ----------------------------------------------------------------------------------


@check("ej01a_salida", "La salida es tanh(W_c [c; h])", points=1.0)
def output_is_the_formula(LuongAttention):
    for method in METHODS:
        layer, parameters = layer_with_weights(LuongAttention, method)
        hidden, states, mask = example([5, 3, 1])
        attentional, weights = layer(hidden, states, mask)
        shapes = list(weights.shape), list(attentional.shape)
        expect(shapes == ([3, 5], [3, H]), f"Los pesos y la salida tienen formas {shapes}.")
        context = torch.stack([weights[b].detach() @ states[:, b] for b in range(3)])
        joined = torch.cat([context, hidden], dim=1)
        expect_close(
            attentional,
            torch.tanh(joined @ parameters["combine.weight"].T),
            f"los valores de la salida de «{method}», comparados con tus propios pesos",
            "primero el contexto, después h_t; y tanh.",
        )


@check("ej01a_salida", "El gradiente llega a todo", points=0.5)
def gradients_reach_everything(LuongAttention):
    for method in METHODS:
        layer, _ = layer_with_weights(LuongAttention, method)
        hidden, states, _ = (value * 0.3 for value in example([5, 5]))  # sin saturar la softmax
        hidden.requires_grad_()
        states.requires_grad_()
        layer(hidden, states)[1].pow(2).sum().backward()  # solo los pesos
        for name, value in (("hidden", hidden), ("encoder_outputs", states)):
            arrived = value.grad is not None and bool(value.grad.abs().max() > 1e-5)
            expect(arrived, f"Con «{method}», el gradiente de los pesos no llega a {name}.")
        layer(hidden, states)[0].pow(2).sum().backward()
        for name, parameter in layer.named_parameters():
            arrived = parameter.grad is not None and bool(parameter.grad.abs().max() > 1e-5)
            expect(arrived, f"Con «{method}», el gradiente no llega a {name}.", "¿sobra un detach?")


# --- 01a: relleno ---------------------------------------------------------------------------------


@check("ej01a_relleno", "Con relleno, cada frase da lo mismo que recortada", points=1.0)
def padding_does_not_leak(LuongAttention):
    for method in METHODS:
        layer, parameters = layer_with_weights(LuongAttention, method)
        lengths = [5, 3, 1]
        hidden, states, mask = example(lengths)
        found = layer(hidden, states, mask)[1]
        for b, n in enumerate(lengths):
            alone = expected_weights(method, parameters, hidden[b], states[:n, b])
            expect_close(
                found[b],
                F.pad(alone, (0, 5 - n)),
                f"los pesos de «{method}» en una frase de {n} palabras y {5 - n} de relleno",
                "la máscara actúa sobre las puntuaciones, antes de la softmax.",
            )


@check("ej01a_relleno", "Una frase sin palabras: pesos cero y gradientes finitos", points=0.5)
def empty_sentence(LuongAttention):
    for method in METHODS:
        layer, _ = layer_with_weights(LuongAttention, method)
        hidden, states, mask = example([5, 0])
        states.requires_grad_()
        attentional, weights = layer(hidden, states, mask)
        expect_finite(weights, f"los pesos de «{method}», con una frase sin palabras")
        largest = weights[1].abs().max().item()
        expect(largest == 0, f"Sin palabras, los pesos deberían ser 0 y llegan a {largest:.2g}.")
        attentional[0].sum().backward()
        expect_finite(
            states.grad,
            "el gradiente, aunque la pérdida no use la frase sin palabras",
            "el nan no debe llegar a existir: limpiarlo al final no limpia el gradiente.",
        )


@check("ej01a_relleno", "En 16 bits", points=0.5)
def half_precision(LuongAttention):
    for method in METHODS:
        layer, _ = layer_with_weights(LuongAttention, method)
        hidden, states, mask = example([5, 2])
        expected = [value.detach() for value in layer(hidden, states, mask)]
        layer.half()
        found = layer(hidden.half(), states.half(), mask)
        for name, value, wanted in zip(("la salida", "los pesos"), found, expected, strict=True):
            expect(value.dtype == torch.half, f"En 16 bits, {name} sale como {value.dtype}.")
            expect_close(value.float(), wanted, f"los valores de {name} en 16 bits", atol=0.05)


# --- 01a: decodificador ---------------------------------------------------------------------------


def decoder_with_weights(LuongDecoder, LuongAttention, layers=1):
    """Un decodificador de 7 palabras con parámetros al azar, y esos parámetros."""
    decoder = LuongDecoder(7, 3, H, LuongAttention(H), num_layers=layers, dropout=0.5)
    shapes = {name: value.shape for name, value in decoder.state_dict().items()}
    parameters = {name: torch.randn(shape) * 0.6 for name, shape in shapes.items()}
    decoder.load_state_dict(parameters)
    decoder.eval()
    return decoder, parameters


def gru_states(parameters: dict, embedded: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Un paso de las GRU del decodificador, con una capa sobre otra: hidden `[L, B, H]`."""
    states, x = [], embedded
    for k, state in enumerate(hidden):
        cell = torch.nn.GRUCell(x.size(1), H)
        names = {name: parameters[f"gru.{name}_l{k}"] for name in cell.state_dict()}
        cell.load_state_dict(names)
        x = cell(x, state).detach()
        states.append(x)
    return torch.stack(states)


@check("ej01a_orden", "Atiende con el estado actual de la última capa", points=1.0)
def attends_with_the_current_state(LuongDecoder, LuongAttention):
    for layers in (1, 2):
        decoder, parameters = decoder_with_weights(LuongDecoder, LuongAttention, layers)
        _, states, mask = example([5, 3, 4])
        tokens, hidden = torch.tensor([1, 4, 6]), torch.randn(layers, 3, H)
        new = gru_states(parameters, parameters["embedding.weight"][tokens], hidden)
        scores = torch.einsum("bh,sbh->bs", new[-1], states)
        expected = scores.masked_fill(~mask, float("-inf")).softmax(1)
        _, found, weights = decoder(tokens, hidden, states, mask)
        expect_close(found, new, f"los valores del estado nuevo, con {layers} capas")
        expect_close(
            weights,
            expected,
            f"los pesos, con {layers} capas",
            "la consulta es el estado que sale de la GRU, no el que entra; y la máscara llega.",
        )


@check("ej01a_orden", "Los logits salen de la atención; dropout, solo al entrenar", points=0.5)
def logits_come_from_the_attentional_state(LuongDecoder, LuongAttention):
    decoder, parameters = decoder_with_weights(LuongDecoder, LuongAttention)
    _, states, mask = example([5, 3, 4])
    tokens, hidden = torch.tensor([1, 4, 6]), torch.randn(1, 3, H)
    new = gru_states(parameters, parameters["embedding.weight"][tokens], hidden)[0]
    scores = torch.einsum("bh,sbh->bs", new, states)
    weights = scores.masked_fill(~mask, float("-inf")).softmax(1)
    joined = torch.cat([torch.einsum("bs,sbh->bh", weights, states), new], dim=1)
    attentional = torch.tanh(joined @ parameters["attention.combine.weight"].T)
    expected = attentional @ parameters["out.weight"].T + parameters["out.bias"]
    expect_close(decoder(tokens, hidden, states, mask)[0], expected, "los logits")
    decoder.train()
    twice = [decoder(tokens, hidden, states, mask)[0].detach() for _ in range(2)]
    expect(
        bool((twice[0] - twice[1]).abs().max() > 1e-5),
        "Al entrenar con dropout=0.5, dos pasadas dan los mismos logits.",
        "self.dropout, sobre el embedding.",
    )


# --- 01b: pérdida ---------------------------------------------------------------------------------


def sentences(lengths, T=6, V=7):
    """Logits y palabras al azar, y las log-probabilidades `[B]`, con bucles."""
    B = len(lengths)
    outputs, trg = torch.randn(T, B, V) * 2, torch.randint(0, V, (T, B))
    log_probs = []
    for b, n in enumerate(lengths):
        total = 0.0
        for t in range(1, n):
            row = outputs[t, b].tolist()
            total += row[int(trg[t, b])] - math.log(sum(math.exp(x) for x in row))
        log_probs.append(total)
    return outputs, trg, torch.tensor(lengths), torch.tensor(log_probs)


def expect_scalar(loss, wanted: float, case: str, hint: str = "") -> None:
    expect(loss.dim() == 0, f"La pérdida debería ser un escalar y es {list(loss.shape)}.")
    close = abs(loss.item() - wanted) < 1e-4
    expect(close, f"{case}, la pérdida vale {loss.item():.4f} y debería ser {wanted:.4f}.", hint)


@check("ej01b_perdida", "La log-probabilidad de cada frase", points=1.0)
def log_probability_of_each_sentence(sequence_loss):
    outputs, trg, lengths, expected = sentences([6, 2, 4])
    hint = "una suma, no una media; de t = 1 a la última palabra real."
    found = sequence_loss(outputs, trg, lengths)[1]
    expect_close(found, expected, "las log-probabilidades", hint, atol=1e-4)


@check("ej01b_perdida", "La pérdida es la media por palabra de todo el lote", points=1.0)
def mean_over_real_tokens(sequence_loss):
    for lengths in ([6, 6], [6, 2, 3], [2]):
        outputs, trg, trg_lengths, log_probs = sentences(lengths)
        wanted = -log_probs.sum().item() / (sum(lengths) - len(lengths))
        loss, _ = sequence_loss(outputs, trg, trg_lengths)
        hint = "se divide una vez, entre las palabras reales de todas las frases, sin la de inicio."
        expect_scalar(loss, wanted, f"Con longitudes {lengths}", hint)


@check("ej01b_perdida", "El paso 0 y el relleno no cuentan, ni aunque sean nan", points=1.0)
def nothing_else_counts(sequence_loss):
    lengths = [6, 2, 4]
    outputs, trg, trg_lengths, log_probs = sentences(lengths)
    wanted = -log_probs.sum().item() / 9
    steps = torch.arange(6)[:, None]
    ignored = (steps == 0) | (steps >= trg_lengths)
    noisy_trg = torch.where(ignored, torch.randint(0, 7, trg.shape), trg)
    for name, value in (("100", 100.0), ("infinito", math.inf), ("nan", math.nan)):
        noisy = outputs.masked_fill(ignored[..., None], value).requires_grad_()
        loss, _ = sequence_loss(noisy, noisy_trg, trg_lengths)
        expect_scalar(loss, wanted, f"Con {name} en el paso 0 y en el relleno")
        loss.backward()
        expect_finite(noisy.grad, f"el gradiente, con {name} en lo que no cuenta")


@check("ej01b_perdida", "El gradiente es el de la entropía cruzada, y 0 en lo demás", points=0.5)
def gradient_of_the_loss(sequence_loss):
    outputs, trg, trg_lengths, _ = sentences([6, 2, 4])
    steps = torch.arange(6)[:, None]
    real = (steps >= 1) & (steps < trg_lengths)
    expected = (outputs.softmax(-1) - F.one_hot(trg, 7)) * real[..., None] / 9
    outputs.requires_grad_()
    sequence_loss(outputs, trg, trg_lengths)[0].backward()
    expect_close(outputs.grad, expected, "los gradientes de la pérdida")


# --- Oráculo de la búsqueda -----------------------------------------------------------------------

SOURCE = torch.ones(1, 1, dtype=torch.long), torch.ones(1, dtype=torch.long)


def random_table(V: int, generator: torch.Generator, end: float = 1.0) -> torch.Tensor:
    """Probabilidades de un modelo de bigramas; `end` es cuánto pesa terminar."""
    logits = torch.randn(V, V, generator=generator) * 1.5
    logits[:, END] += math.log(end)
    return logits.softmax(1)


def extended(tokens: tuple, total: float, table: torch.Tensor):
    """Todas las prolongaciones de una hipótesis."""
    row = table[tokens[-1] if tokens else START].double().log()
    return [
        ((*tokens, token), total + row[token].item())
        for token in range(len(table))
        if token not in (PAD, START)
    ]


def reference_search(table, beam_size: int, max_len: int, power: float = 0.0):
    """Los cinco pasos del enunciado, con listas."""
    live, ended = [((), 0.0)], []
    for _ in range(max_len):
        grown = [new for tokens, total in live for new in extended(tokens, total, table)]
        best = sorted(grown, key=lambda new: -new[1])[:beam_size]
        ended += [new for new in best if new[0][-1] == END]
        live = [new for new in best if new[0][-1] != END]
    found = [(tokens, total / len(tokens) ** power) for tokens, total in ended + live]
    return sorted(found, key=lambda new: -new[1])


def normal(found):
    """Lo que devuelve una búsqueda, con tipos conocidos."""
    return [(tuple(int(token) for token in tokens), float(score)) for tokens, score in found]


def log_probability(tokens, table) -> float:
    """La de una hipótesis: cada palabra, tras la anterior."""
    pairs = zip((START, *tokens), tokens, strict=False)
    return sum(table[a, b].double().log().item() for a, b in pairs)


def expect_same(found, expected, table, power: float, case: str, hint: str = "") -> None:
    """Falla si dos listas de hipótesis no son iguales, salvo empates.

    Dos hipótesis con las mismas parejas de palabras valen lo mismo y da igual cuál se guarde: se
    comparan las puntuaciones, y que cada una sea la de su hipótesis.
    """
    found = normal(found)
    expect(
        all(math.isfinite(score) for _, score in found),
        f"{case} alguna hipótesis vale -inf.",
        "descarta las prolongaciones imposibles, que escriben relleno o inicio.",
    )
    names = [list(tokens) for tokens, _ in found]
    expect(
        len(found) == len(expected),
        f"{case} salen {len(found)} hipótesis y deberían ser {len(expected)}. Las tuyas empiezan "
        f"por {names[:3]}; las esperadas, por {[list(tokens) for tokens, _ in expected[:3]]}.",
        hint,
    )
    repeated = [tokens for tokens in names if names.count(tokens) > 1]
    expect(not repeated, f"{case} sale más de una vez la hipótesis {repeated[:1]}.")
    for place, ((tokens, score), (other, wanted)) in enumerate(zip(found, expected, strict=True)):
        right = log_probability(tokens, table) / len(tokens) ** power
        expect(
            abs(score - right) < 1e-4,
            f"{case} la hipótesis {list(tokens)} vale {score:.4f} y debería valer {right:.4f}.",
            hint,
        )
        expect(
            abs(score - wanted) < 1e-4,
            f"{case} en el puesto {place} sale {list(tokens)}, con {score:.4f}, y debería salir "
            f"{list(other)}, con {wanted:.4f}.",
            hint,
        )


def tables(count: int = 4, end: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [random_table(6, generator, end) for _ in range(count)]


# --- 01b: búsqueda --------------------------------------------------------------------------------


@check("ej01b_haz", "Con K = 1, la voraz", points=1.0)
def beam_of_one_is_greedy(beam_search, BigramModel):
    for table in tables(end=0.3):
        tokens = []
        while len(tokens) < 7 and END not in tokens:
            row = table[tokens[-1] if tokens else START].clone()
            row[[PAD, START]] = 0
            tokens.append(int(row.argmax()))
        found = normal(beam_search(BigramModel(table), *SOURCE, 1, 7))
        names = [list(names) for names, _ in found]
        expect(names == [tokens], f"Con K=1 salen {names} y la voraz escribe {tokens}.")


@check("ej01b_haz", "Con K grande, todas las posibles y en orden", points=1.0)
def wide_beam_is_exhaustive(beam_search, BigramModel):
    for table in tables():
        everything = [
            tokens
            for n in range(1, 5)
            for tokens in itertools.product(range(2, 6), repeat=n)
            if END not in tokens[:-1] and (tokens[-1] == END or n == 4)
        ]
        scored = [(tokens, log_probability(tokens, table)) for tokens in everything]
        scored.sort(key=lambda new: -new[1])
        found = beam_search(BigramModel(table), *SOURCE, 200, 4)
        hint = "en cada paso compiten las prolongaciones de todas las vivas."
        expect_same(found, scored, table, 0.0, "Con K=200 y max_len=4,", hint)


@check("ej01b_haz", "Con K intermedio, exactamente las del enunciado", points=1.0)
def beam_of_the_statement(beam_search, BigramModel):
    for table in tables():
        for beam_size in (2, 3, 5):
            expected = reference_search(table, beam_size, 6)
            found = beam_search(BigramModel(table), *SOURCE, beam_size, 6)
            hint = "las K mejores prolongaciones incluyen las que acaban en <fin>."
            expect_same(found, expected, table, 0.0, f"Con K={beam_size},", hint)


@check("ej01b_hipotesis", "Las terminadas se conservan", points=1.0)
def ended_hypotheses_are_kept(beam_search, BigramModel):
    table = torch.full((6, 6), 0.01)
    table[START, 3], table[START, 4] = 0.5, 0.4
    table[3, 5], table[5, 5], table[4, END] = 0.9, 0.9, 0.95
    table /= table.sum(1, keepdim=True)
    found = normal(beam_search(BigramModel(table), *SOURCE, 2, 8))
    names = [list(tokens) for tokens, _ in found]
    expect(  # acaba en el paso 2; la otra viva sigue hasta el 8
        [4, END] in names,
        f"La hipótesis [4, {END}] terminó en el paso 2 y no está entre las devueltas: {names}.",
        "cuando una termina, se guarda y las demás siguen.",
    )
    expect(
        names[0] == [4, END] and max(map(len, names)) == 8,
        f"La mejor es [4, {END}], y otra llega a 8 palabras sin terminar; salen {names}.",
        "acaba cuando no quedan vivas o tras max_len pasos.",
    )


@check("ej01b_hipotesis", "La longitud se normaliza con power", points=1.0)
def length_normalisation(beam_search, BigramModel):
    for table in tables(end=0.6):
        for power in (0.5, 1.0):
            expected = reference_search(table, 4, 6, power)
            found = beam_search(BigramModel(table), *SOURCE, 4, 6, power)
            hint = "al final, entre el número de palabras (con <fin>) elevado a power."
            expect_same(found, expected, table, power, f"Con K=4 y power={power},", hint)


@check("ej01b_hipotesis", "max_len, y nada de relleno ni de inicio", points=0.5)
def limits_of_the_search(beam_search, BigramModel):
    generator = torch.Generator().manual_seed(1)
    table = random_table(6, generator)
    table[:, [PAD, START]] += 5  # serían las más probables
    table = table / table.sum(1, keepdim=True)
    for max_len in (1, 3):
        found = normal(beam_search(BigramModel(table), *SOURCE, 30, max_len))
        wrong = [list(t) for t, _ in found if PAD in t or START in t]
        expect(not wrong, f"Escribe relleno o inicio: {wrong[:2]}.", "usa next_log_probs.")
        endless = [list(t) for t, s in found if not math.isfinite(s)]
        expect(not endless, f"La puntuación de {endless[:1]} no es finita.")
        lengths = sorted({len(t) for t, _ in found})
        wanted = list(range(1, max_len + 1))
        expect(lengths == wanted, f"Con max_len={max_len} hay hipótesis de {lengths} palabras.")
        cut = sum(END not in t for t, _ in found)
        expect(cut > 0, f"Con max_len={max_len} faltan las que se quedaron sin terminar.")


# --- 01b: con un traductor ------------------------------------------------------------------------


def translator(build_translator, Attention):
    """Un traductor diminuto de parámetros grandes: lo que escribe depende de lo anterior."""
    model = build_translator(Attention, 4, 6, (5, 7))
    generator = torch.Generator().manual_seed(3)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict(
        {name: torch.randn(shape, generator=generator) * 1.5 for name, shape in shapes.items()}
    )
    model.eval()
    return model, torch.tensor([[1], [3], [2], [4]]), torch.tensor([4])


@check("ej01b_estado", "Cada hipótesis lleva su estado", points=1.5)
def states_follow_their_hypotheses(beam_search, build_translator, Attention):
    model, src, src_lengths = translator(build_translator, Attention)
    found = normal(beam_search(model, src, src_lengths, 6, 5))
    expect(len(found) >= 6, f"Con K=6 y max_len=5 solo salen {len(found)} hipótesis.")
    T = 1 + max(len(tokens) for tokens, _ in found)
    rows = [[START, *tokens] + [PAD] * (T - 1 - len(tokens)) for tokens, _ in found]
    trg, B = torch.tensor(rows).T, len(found)
    model.train()  # con las palabras correctas: solo se puede al entrenar, y no hay dropout
    outputs = model(src.expand(-1, B), src_lengths.expand(B), trg, 1.0).detach()
    log_probs = outputs.log_softmax(-1)
    for b, (tokens, score) in enumerate(found):
        right = sum(log_probs[t, b, token].item() for t, token in enumerate(tokens, start=1))
        expect(
            abs(score - right) < 1e-3,
            f"La puntuación de {list(tokens)} es {score:.4f}; al escribirla desde el principio, el "
            f"traductor le da {right:.4f}.",
            "tras elegir, select(state, rows) con la fila de la que viene cada hipótesis.",
        )


@check("ej01b_estado", "En modo evaluación, y dejando el modelo como estaba", points=0.5)
def search_mode(beam_search, build_translator, Attention):
    model, src, src_lengths = translator(build_translator, Attention)
    model.decoder.dropout.p = 0.9
    expected = normal(beam_search(model, src, src_lengths, 3, 4))
    for training in (True, False):
        model.train(training)
        found = normal(beam_search(model, src, src_lengths, 3, 4))
        same = [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
        expect(same, "Con el modelo en modo entrenamiento sale otra cosa: ¿el dropout?")
        expect(
            model.training == training and model.decoder.dropout.training == training,
            f"El modelo estaba con training={training} y has dejado otra cosa.",
        )
