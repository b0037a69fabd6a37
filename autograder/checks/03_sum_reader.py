"""Comprobaciones del cuaderno 03: `pointer_sum` (03a) y `QuestionEncoder` (03b).

Los oráculos son bucles sobre cada ejemplo recortado a sus palabras, y la GRU de PyTorch leyendo
cada pregunta sola. Las tolerancias son de 1e-5: con tan pocos números, el redondeo en precisión
simple queda por debajo de 2e-6; donde los logaritmos llegan a cientos, 1e-3.
"""

import math

import torch
from torch import nn

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

V = 7
E, H = 3, 4


# --- Oráculo del ejercicio 03a --------------------------------------------------------------------


def log_sums(scores, document, vocab_size: int = V):
    """Las log-probabilidades de un ejemplo sin relleno: scores y document `[T]` → `[V]`."""
    log_weights = scores.double() - scores.double().logsumexp(0)
    expected = torch.full((vocab_size,), -math.inf, dtype=torch.double)
    for word in set(document.tolist()):
        expected[word] = log_weights[document == word].logsumexp(0)
    return expected


def stories(lengths, T: int = 6, spread: float = 1.0):
    """Puntuaciones, documentos (con palabras también en el relleno) y máscara, al azar.

    En cada documento, la segunda palabra repite la primera.
    """
    document = torch.randint(1, V, (len(lengths), T))
    document[:, 1] = document[:, 0]
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), T) * spread, document, mask


def expected_of(scores, document, mask):
    """El oráculo de cada ejemplo, recortado."""
    cases = zip(scores, document, mask, strict=True)
    return torch.stack([log_sums(s[m], d[m]) for s, d, m in cases])


def expect_words(found, expected, case: str, hint: str) -> None:
    """Compara probabilidades donde son posibles, y pide -inf en las demás palabras."""
    expect_close(found.exp(), expected.exp(), f"las probabilidades {case}", hint)


# --- 03a: suma ------------------------------------------------------------------------------------


@check("ej03a_suma", "Forma de las log-probabilidades", points=0.5)
def shape_of_log_probs(pointer_sum):
    for B, T, size in [(1, 1, 2), (3, 5, 4), (2, 6, 30)]:
        document = torch.randint(0, size, (B, T))
        mask = torch.ones(B, T, dtype=torch.bool)
        found = list(pointer_sum(torch.randn(B, T), document, mask, size).shape)
        case = f"Con B={B}, T={T} y V={size}"
        expect(found == [B, size], f"{case}, la forma es {found} y debería ser {[B, size]}.")


@check("ej03a_suma", "Las apariciones de una palabra se suman", points=1.5)
def mentions_add_up(pointer_sum):
    scores, document, mask = stories([6, 6, 6])
    expected = expected_of(scores, document, mask)
    hint = "cada palabra recibe los pesos de todas sus apariciones, sumados; después, el logaritmo."
    expect_words(pointer_sum(scores, document, mask, V), expected, "sin relleno", hint)


@check("ej03a_suma", "Menos infinito en lo que no está en el documento", points=1.0)
def absent_words(pointer_sum):
    scores, document, mask = stories([6, 6, 6])
    document.clamp_(max=V - 2)
    absent = torch.ones(3, V, dtype=torch.bool).scatter(1, document, False)
    found = pointer_sum(scores, document, mask, V)
    finite = found.detach()[absent].isfinite().sum().item()
    total = int(absent.sum())
    expect(
        bool((found.detach()[absent] == -math.inf).all()),
        f"De {total} palabras que no están en su documento, {finite} tienen log-probabilidad "
        "finita (o no son -inf).",
        "ni una palabra de otro documento del lote ni una constante pequeña: -inf.",
    )
    lowest = found.detach()[~absent].min().item()
    expect(math.isfinite(lowest), f"Una palabra que sí está tiene log-probabilidad {lowest}.")


# --- 03a: relleno ---------------------------------------------------------------------------------


@check("ej03a_relleno", "Con relleno, la de cada documento recortado", points=1.5)
def padding_is_not_counted(pointer_sum):
    scores, document, mask = stories([6, 3, 1])
    scores = torch.where(mask, scores, torch.randn_like(scores) * 5)
    expected = expected_of(scores, document, mask)
    hint = "la máscara va antes de la softmax, y en el relleno puede haber cualquier palabra."
    expect_words(pointer_sum(scores, document, mask, V), expected, "con relleno", hint)


@check("ej03a_relleno", "Documento vacío: menos infinito y gradientes finitos", points=1.0)
def empty_document(pointer_sum):
    scores, document, mask = stories([6, 0])
    scores.requires_grad_()
    found = pointer_sum(scores, document, mask, V)
    row = found.detach()[1]
    expect(
        bool((row == -math.inf).all()),
        f"Un documento vacío no da probabilidad a ninguna palabra y sale {row.tolist()}.",
        "con toda la fila a -inf, la softmax da nan.",
    )
    (-found[0, document[0, 0]]).backward()
    expect(scores.grad is not None, "El gradiente no llega a las puntuaciones.")
    expect_finite(
        scores.grad,
        "el gradiente, aunque la pérdida no use el documento vacío",
        "el nan no debe llegar a existir: limpiarlo al final no limpia el gradiente.",
    )


@check("ej03a_relleno", "En 16 bits", points=0.5)
def half_precision(pointer_sum):
    scores, document, mask = stories([6, 3, 1])
    scores = scores.half()
    expected = expected_of(scores, document, mask)
    found = pointer_sum(scores, document, mask, V)
    expect_close(
        found.exp().double(),
        expected.exp(),
        "las probabilidades con puntuaciones de 16 bits",
        "en 16 bits no cabe -1e10.",
        atol=5e-3,
    )


# --- 03a: extremos --------------------------------------------------------------------------------


@check("ej03a_extremos", "Exacta con puntuaciones muy separadas", points=1.5)
def far_apart_scores(pointer_sum):
    scores = torch.tensor([[0.0, 0.0, 300.0, 150.0], [-400.0, 20.0, 20.0, -90.0]])
    document = torch.tensor([[1, 1, 2, 3], [4, 2, 2, 4]])
    mask = torch.ones(2, 4, dtype=torch.bool)
    expected = expected_of(scores, document, mask)
    expect_close(
        pointer_sum(scores, document, mask, V),
        expected,
        "las log-probabilidades con puntuaciones que se llevan cientos",
        "un peso de e^-300 es 0 en precisión simple: no salgas de los logaritmos (logsumexp).",
        atol=1e-3,
    )


@check("ej03a_extremos", "El gradiente es el de la fórmula", points=1.0)
def gradient_of_the_answer(pointer_sum):
    scores, document, mask = stories([6, 3, 2])
    answers = document[:, 0].clone()
    expected = []
    for s, d, m, answer in zip(scores, document, mask, answers, strict=True):
        weights = torch.zeros(6)
        weights[m] = s[m].softmax(0)
        share = weights * (d == answer)
        expected.append(weights - share / share.sum())
    scores.requires_grad_()
    found = pointer_sum(scores, document, mask, V)
    (-found.gather(1, answers[:, None]).sum()).backward()
    expect(scores.grad is not None, "El gradiente no llega a las puntuaciones.")
    expect_close(
        scores.grad,
        torch.stack(expected),
        "los gradientes de -ln P(respuesta)",
        "el -inf de las palabras ausentes no debe dejar nan, ni un detach cortar el grafo.",
    )


# --- 03a: pérdida ---------------------------------------------------------------------------------


def answered(rows: int = 4):
    """Log-probabilidades, y respuestas: las dos primeras posibles, y las demás, no."""
    scores, document, mask = stories([5] * rows)
    document.clamp_(max=V - 2)
    answers = torch.full((rows,), V - 1)
    answers[:2] = document[:2, 0]
    return expected_of(scores, document, mask).float(), answers


@check("ej03a_perdida", "La media sobre las respuestas posibles", points=1.0)
def mean_over_possible(cloze_loss):
    log_probs, answers = answered()
    for rows in (2, 4):
        wanted = -(log_probs[0, answers[0]] + log_probs[1, answers[1]]).item() / 2
        found = cloze_loss(log_probs[:rows].clone(), answers[:rows])[0]
        shape = list(found.shape)
        expect(shape == [], f"La pérdida debería ser un escalar y su forma es {shape}.")
        expect(
            abs(found.item() - wanted) < 1e-5,
            f"Con {rows} huecos, dos de ellos posibles, la pérdida es {found.item():.4f} y debería "
            f"ser {wanted:.4f}.",
            "se divide entre los que se pueden contestar.",
        )


@check("ej03a_perdida", "Qué fracción se puede contestar", points=0.5)
def coverage_is_a_fraction(cloze_loss):
    log_probs, answers = answered()
    for rows, wanted in ((2, 1.0), (4, 0.5), (3, 2 / 3)):
        found = cloze_loss(log_probs[:rows].clone(), answers[:rows])[1]
        kind = type(found).__name__
        expect(isinstance(found, float), f"coverage debería ser un float y es {kind}.")
        expect(
            abs(found - wanted) < 1e-6,
            f"coverage es {found:.3f} y debería ser {wanted:.3f}.",
        )


@check("ej03a_perdida", "Sin ninguna respuesta posible, 0 y gradientes finitos", points=1.0)
def nothing_possible(cloze_loss):
    for rows in (slice(2, 4), slice(1, 4)):
        log_probs, answers = answered()
        log_probs, answers = log_probs[rows].clone().requires_grad_(), answers[rows]
        possible = bool(log_probs.detach().gather(1, answers[:, None]).isfinite().any())
        loss = cloze_loss(log_probs, answers)[0]
        expect_finite(loss.detach(), "la pérdida, con respuestas que no están en su documento")
        expect(possible or loss.item() == 0, f"Sin respuestas posibles, la pérdida es {loss:.4f}.")
        loss.backward()
        expect(log_probs.grad is not None, "La pérdida no lleva gradiente.")
        expect_finite(log_probs.grad, "el gradiente, con respuestas que no están en su documento")


# --- Oráculo del ejercicio 03b --------------------------------------------------------------------


def encoder_and_oracle(QuestionEncoder, num_layers: int = 1):
    """Una capa, y una GRU de PyTorch con los mismos parámetros."""
    oracle = nn.GRU(E, H, num_layers, batch_first=True, bidirectional=True)
    state = {f"gru.{name}": value.clone() for name, value in oracle.state_dict().items()}
    layer = QuestionEncoder(E, H, num_layers)
    found = set(layer.state_dict())
    missing = sorted(set(state) - found)
    expect(not missing, f"Falta el parámetro {missing[:1]}.", "mira la tabla del enunciado.")
    layer.load_state_dict(state, strict=False)
    layer.eval()
    return layer, oracle


@torch.no_grad()
def summaries(oracle, x, lengths):
    """El resumen y los estados de cada pregunta leída sola, sin relleno."""
    summary, states = torch.zeros(len(x), 2 * H), torch.zeros(*x.shape[:2], 2 * H)
    for b, n in enumerate(lengths):
        if n == 0:
            continue
        out = oracle(x[b : b + 1, :n])[0][0]
        states[b, :n] = out
        summary[b] = torch.cat([out[-1, :H], out[0, H:]])
    return summary, states


# --- 03b: estructura ------------------------------------------------------------------------------


@check("ej03b_estructura", "Formas de states y summary", points=0.5)
def encoder_shapes(QuestionEncoder):
    for B, Q, size in [(1, 1, 2), (3, 5, 4), (2, 7, 3)]:
        lengths = torch.full((B,), Q)
        states, summary = QuestionEncoder(E, size)(torch.randn(B, Q, E), lengths)
        shapes = list(states.shape), list(summary.shape)
        wanted = [B, Q, 2 * size], [B, 2 * size]
        case = f"Con B={B}, Q={Q} y H={size}"
        expect(shapes == wanted, f"{case}, las formas son {shapes} y deberían ser {wanted}.")


@check("ej03b_estructura", "Una BiGRU y nada más", points=0.5)
def only_the_gru(QuestionEncoder):
    for num_layers in (1, 2):
        layer, oracle = encoder_and_oracle(QuestionEncoder, num_layers)
        found = sum(parameter.numel() for parameter in layer.parameters())
        wanted = sum(parameter.numel() for parameter in oracle.parameters())
        expect(
            found == wanted,
            f"Con num_layers={num_layers} hay {found} parámetros y la BiGRU tiene {wanted}.",
        )


# --- 03b: resumen ---------------------------------------------------------------------------------

ENDS_HINT = "→ termina en la última palabra; ←, en la primera. Y → va delante."


@check("ej03b_resumen", "Sin relleno, [→última; ←primera]", points=1.5)
def both_ends(QuestionEncoder):
    layer, oracle = encoder_and_oracle(QuestionEncoder)
    x = torch.randn(3, 5, E)
    expected = summaries(oracle, x, [5, 5, 5])[0]
    found = layer(x, torch.tensor([5, 5, 5]))[1]
    expect_close(found, expected, "los valores de summary sin relleno", ENDS_HINT)


@check("ej03b_resumen", "Con dos capas, la de arriba", points=1.0)
def top_layer(QuestionEncoder):
    layer, oracle = encoder_and_oracle(QuestionEncoder, num_layers=2)
    x = torch.randn(3, 5, E)
    expected = summaries(oracle, x, [5, 5, 5])[0]
    found = layer(x, torch.tensor([5, 5, 5]))[1]
    hint = "el estado final trae los dos sentidos de cada capa: [L·2, B, H], de abajo arriba."
    expect_close(found, expected, "los valores de summary con dos capas", hint)


@check("ej03b_resumen", "Las dos mitades ven toda la pregunta", points=1.0)
def halves_see_everything(QuestionEncoder):
    layer, _ = encoder_and_oracle(QuestionEncoder)
    x = torch.randn(1, 4, E)
    before = layer(x, torch.tensor([4]))[1].detach()
    for place, name in ((0, "primera"), (3, "última")):
        changed = x.clone()
        changed[:, place] = torch.randn(E) * 2
        moved = (layer(changed, torch.tensor([4]))[1].detach() - before)[0].abs()
        for half, side in ((moved[:H], "primera"), (moved[H:], "segunda")):
            expect(
                half.max().item() > 1e-5,
                f"Al cambiar la {name} palabra, la {side} mitad de summary no se mueve.",
                "¿en qué palabra ha leído ya cada sentido toda la pregunta?",
            )


# --- 03b: longitudes ------------------------------------------------------------------------------


@check("ej03b_longitudes", "Con relleno, el de cada pregunta sola", points=1.5)
def same_as_alone(QuestionEncoder):
    layer, oracle = encoder_and_oracle(QuestionEncoder)
    x, lengths = torch.randn(4, 6, E), [2, 6, 1, 4]
    expected = summaries(oracle, x, lengths)[0]
    found = layer(x, torch.tensor(lengths))[1]
    hint = "¿empieza ← por el relleno? ¿Se queda cada fila en su sitio si no llegan ordenadas?"
    expect_close(found, expected, "los valores de summary con relleno", hint)


@check("ej03b_longitudes", "El relleno no influye", points=1.0)
def question_padding_does_not_leak(QuestionEncoder):
    layer, _ = encoder_and_oracle(QuestionEncoder)
    x, lengths = torch.randn(3, 5, E), torch.tensor([2, 5, 3])
    real = torch.arange(5) < lengths[:, None]
    noisy = torch.where(real[..., None], x, torch.randn_like(x) * 3)
    before = layer(x, lengths)[1].detach()
    expect_close(layer(noisy, lengths)[1], before, "los valores de summary al cambiar el relleno")


@check("ej03b_longitudes", "states: el ancho de entrada, y ceros en el relleno", points=1.0)
def states_keep_their_width(QuestionEncoder):
    layer, oracle = encoder_and_oracle(QuestionEncoder)
    x, lengths = torch.randn(3, 6, E), [2, 4, 3]
    expected = summaries(oracle, x, lengths)[1]
    found = layer(x, torch.tensor(lengths))[0]
    hint = "ninguna llega a 6: al deshacer el paquete hay que pedir el ancho."
    expect_close(found, expected, "los valores de states", hint)


@check("ej03b_longitudes", "Pregunta vacía: ceros y gradientes finitos", points=1.0)
def empty_question(QuestionEncoder):
    layer, oracle = encoder_and_oracle(QuestionEncoder)
    x, lengths = torch.randn(3, 4, E), [3, 0, 4]
    expected = summaries(oracle, x, lengths)
    x.requires_grad_()
    found = layer(x, torch.tensor(lengths))
    for name, value, wanted in zip(("states", "summary"), found, expected[::-1], strict=True):
        expect_close(value, wanted, f"los valores de {name} con una pregunta vacía")
    found[1].pow(2).sum().backward()
    expect(x.grad is not None, "El gradiente no llega a la entrada.")
    expect_finite(x.grad, "el gradiente, con una pregunta vacía")


@check("ej03b_longitudes", "ValueError con longitudes imposibles", points=0.5)
def impossible_lengths(QuestionEncoder):
    layer, _ = encoder_and_oracle(QuestionEncoder)
    x = torch.randn(2, 4, E)
    for lengths in ([5, 1], [-1, 2], [3]):
        expect_error(
            ValueError,
            lambda lengths=lengths: layer(x, torch.tensor(lengths)),
            f"Con dos preguntas de ancho 4 y longitudes {lengths}",
        )
