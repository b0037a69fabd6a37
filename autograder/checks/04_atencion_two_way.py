"""Comprobaciones del cuaderno 04: `DotWordByWord` (04a) y `masked_mean` (04b).

Los oráculos son las fórmulas del enunciado, con bucles. Las tolerancias son de 1e-5: con vectores
de 6 números, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import math
from functools import partial

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

H = 6
NAMES = ("W_y", "W_h", "W_r", "W_t", "W_p", "W_x")


# --- Oráculo del ejercicio 04a --------------------------------------------------------------------


def layer_with_weights(DotWordByWord, dropout=0.0):
    """Una capa con parámetros al azar, en modo evaluación, y esos parámetros."""
    layer = DotWordByWord(H, dropout)
    state = {name: list(value.shape) for name, value in layer.state_dict().items()}
    for name in NAMES:
        found = state.get(f"{name}.weight")
        expect(found is not None, f"Falta el parámetro {name}.weight.", "mira la tabla.")
        expect(found == [H, H], f"{name}.weight es {found} y debería ser {[H, H]}.")
    weights = {f"{name}.weight": torch.randn(H, H) * 0.6 for name in NAMES}
    layer.load_state_dict(weights, strict=False)
    layer.eval()
    return layer, {name: weights[f"{name}.weight"] for name in NAMES}


def sentences(S=5, T=4, B=3):
    """Premisas e hipótesis al azar, sin relleno."""
    return torch.randn(B, S, H), torch.randn(B, T, H)


def masks_for(lengths, size):
    return torch.arange(size) < torch.tensor(lengths)[:, None]


def expected_map(W, premise, hypothesis):
    """Los pesos `[T, S]` de un ejemplo sin relleno: premise `[S, H]`, hypothesis `[T, H]`."""
    r, rows = torch.zeros(H), []
    for h in hypothesis:
        query = W["W_h"] @ h + W["W_r"] @ r
        scores = torch.stack([(W["W_y"] @ y) @ query / math.sqrt(H) for y in premise])
        rows.append(scores.softmax(0))
        r = reread(W, rows[-1], premise, r)
    return torch.stack(rows)


def reread(W, weights, premise, r):
    """Un paso de lo recordado."""
    return weights @ premise + torch.tanh(W["W_t"] @ r)


def expected_output(W, weights, premise, hypothesis):
    """h* `[H]` de un ejemplo sin relleno, con los pesos `[T, S]` que se den."""
    r = torch.zeros(H)
    for row in weights:
        r = reread(W, row, premise, r)
    return torch.tanh(W["W_p"] @ r + W["W_x"] @ hypothesis[-1])


def expect_maps_shape(maps, shape) -> None:
    found = list(maps.shape)
    expect(found == shape, f"Los mapas son {found} y deberían ser {shape}.")


# --- 04a: estructura ------------------------------------------------------------------------------


@check("ej04a_estructura", "Formas de h* y de los mapas", points=0.5)
def output_shapes(DotWordByWord):
    for B, S, T, size in [(1, 1, 1, 4), (3, 5, 2, 6), (2, 3, 7, 3), (4, 4, 4, 4)]:
        found = DotWordByWord(size)(torch.randn(B, S, size), torch.randn(B, T, size))
        shapes = [list(value.shape) for value in found]
        wanted = [[B, size], [B, T, S]]
        case = f"Con B={B}, S={S}, T={T} y H={size}"
        expect(shapes == wanted, f"{case}, las formas son {shapes} y deberían ser {wanted}.")


@check("ej04a_estructura", "Las seis matrices de la tabla y ningún otro parámetro", points=1.0)
def only_the_six_matrices(DotWordByWord):
    layer, _ = layer_with_weights(DotWordByWord)
    names = sorted(name for name, _ in layer.named_parameters())
    wanted = sorted(f"{name}.weight" for name in NAMES)
    hint = "ninguna lleva sesgo, y el producto escalar no necesita w."
    expect(names == wanted, f"Los parámetros son {names} y deberían ser {wanted}.", hint)


# --- 04a: pesos -----------------------------------------------------------------------------------


def maps_and_oracle(DotWordByWord):
    layer, W = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    expected = torch.stack(
        [expected_map(W, *pair) for pair in zip(premise, hypothesis, strict=True)]
    )
    found = layer(premise, hypothesis)[1]
    expect_maps_shape(found, list(expected.shape))
    return found, expected


@check("ej04a_pesos", "Los pesos de la primera palabra", points=1.5)
def first_weights(DotWordByWord):
    found, expected = maps_and_oracle(DotWordByWord)
    hint = "r_0 es 0: q_1 = W_h h_1; se divide entre la raíz de H, y la softmax recorre la premisa."
    expect_close(found[:, 0], expected[:, 0], "los pesos de la primera palabra", hint)


@check("ej04a_pesos", "Los pesos de las demás, que dependen de lo releído", points=1.5)
def later_weights(DotWordByWord):
    found, expected = maps_and_oracle(DotWordByWord)
    hint = "q_t lleva W_r r_{t-1}, y r_{t-1} suma lo releído y tanh(W_t r_{t-2})."
    expect_close(found[:, 1:], expected[:, 1:], "los pesos desde la segunda palabra", hint)


# --- 04a: salida ----------------------------------------------------------------------------------


@check("ej04a_salida", "h* junta lo releído y la última palabra", points=1.5)
def output_is_the_formula(DotWordByWord):
    layer, W = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    h_star, maps = layer(premise, hypothesis)
    expect_maps_shape(maps, [3, 4, 5])
    pairs = zip(maps.detach(), premise, hypothesis, strict=True)
    expected = torch.stack([expected_output(W, *pair) for pair in pairs])
    hint = "r_t = Σ α y + tanh(W_t r_{t-1}); después, tanh(W_p r_N + W_x h_N)."
    expect_close(h_star, expected, "los valores de h*, con tus propios pesos", hint)


@check("ej04a_salida", "El gradiente llega a todo", points=0.5)
def gradients_reach_everything(DotWordByWord):
    layer, _ = layer_with_weights(DotWordByWord)
    premise, hypothesis = (value * 0.3 for value in sentences())  # sin saturar nada
    premise.requires_grad_()
    hypothesis.requires_grad_()
    layer(premise, hypothesis)[0].pow(2).sum().backward()
    values = [("premise", premise), ("hypothesis", hypothesis), *layer.named_parameters()]
    for name, value in values:
        arrived = value.grad is not None and bool(value.grad.abs().max() > 1e-7)
        expect(arrived, f"El gradiente de h* no llega a {name}.", "¿sobra un detach?")


@check("ej04a_salida", "El dropout, solo en h* y solo al entrenar", points=0.5)
def dropout_only_on_the_output(DotWordByWord):
    layer, _ = layer_with_weights(DotWordByWord, dropout=0.5)
    premise, hypothesis = sentences(B=20)
    h_star, maps = (value.detach() for value in layer(premise, hypothesis))
    again = layer(premise, hypothesis)[0].detach()
    change = (h_star - again).abs().max().item()
    expect(change == 0, f"En modo evaluación, dos pasadas iguales difieren en {change:.2g}.")
    layer.train()
    noisy, noisy_maps = (value.detach() for value in layer(premise, hypothesis))
    expect_close(noisy_maps, maps, "los pesos al entrenar", "el dropout no toca los pesos.")
    zeros = (noisy == 0).float().mean().item()
    expect(0.3 < zeros < 0.7, f"Con dropout=0.5, al entrenar se anula {zeros:.0%} de h*.")
    kept = noisy != 0
    expect_close(noisy[kept], 2 * h_star[kept], "los valores de h* que el dropout no anula")


# --- 04a: relleno ---------------------------------------------------------------------------------


def expect_finite_gradients(layer, premise, hypothesis, case: str) -> None:
    """Falla si tras retropropagar hay algún gradiente que no sea finito."""
    for name, value in [
        ("premise", premise),
        ("hypothesis", hypothesis),
        *layer.named_parameters(),
    ]:
        if value.grad is None:  # de eso se ocupa otra comprobación
            continue
        hint = "el nan no debe llegar a existir: limpiarlo al final no limpia los gradientes."
        expect_finite(value.grad, f"el gradiente de {name}, {case}", hint)


@check("ej04a_relleno", "Con relleno en la premisa, los pesos son los de la recortada", points=1.5)
def padded_premise(DotWordByWord):
    layer, W = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    lengths = [5, 3, 1]
    found = layer(premise, hypothesis, masks_for(lengths, 5))[1]
    expect_maps_shape(found, [3, 4, 5])
    for b, n in enumerate(lengths):
        expected = F.pad(expected_map(W, premise[b, :n], hypothesis[b]), (0, 5 - n))
        what = f"los pesos con {n} palabras y {5 - n} de relleno"
        hint = "la máscara actúa sobre las puntuaciones, antes de la softmax."
        expect_close(found[b], expected, what, hint)


@check("ej04a_relleno", "Con relleno en la hipótesis, N es la última palabra real", points=1.0)
def padded_hypothesis(DotWordByWord):
    layer, W = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    lengths = [4, 2, 1]
    h_star, maps = layer(premise, hypothesis, None, masks_for(lengths, 4))
    expect_maps_shape(maps, [3, 4, 5])
    for b, n in enumerate(lengths):
        rest = maps[b, n:].detach().abs().sum().item()
        expect(rest == 0, f"Las filas de relleno de maps suman {rest:.2g} y deberían ser 0.")
        row = maps[b, :n].detach()
        expected = expected_output(W, row, premise[b], hypothesis[b, :n])
        what = f"los valores de h* con {n} palabras y {4 - n} de relleno, con tus propios pesos"
        expect_close(h_star[b], expected, what, "r_N y h_N son los de la última palabra real.")


@check("ej04a_relleno", "Un nan en el relleno no llega a la salida ni a los gradientes", points=1.0)
def nan_in_padding(DotWordByWord):
    layer, _ = layer_with_weights(DotWordByWord)
    pair = sentences()
    masks = masks_for([5, 3, 1], 5), masks_for([4, 2, 1], 4)
    expected = [value.detach() for value in layer(*pair, *masks)]
    for value in (math.nan, math.inf):
        dirty = [x.masked_fill(~m[..., None], value) for x, m in zip(pair, masks, strict=True)]
        inputs = [x.requires_grad_() for x in dirty]
        found = layer(*inputs, *masks)
        for name, output, wanted in zip(("h*", "los mapas"), found, expected, strict=True):
            hint = "un peso 0 no basta: 0 por nan es nan."
            expect_close(output, wanted, f"los valores de {name}, con {value} en el relleno", hint)
        (found[0].sum() + found[1].pow(2).sum()).backward()
        expect_finite_gradients(layer, *inputs, case=f"con {value} en el relleno")


@check("ej04a_relleno", "Sin premisa: pesos cero, y gradientes finitos", points=1.0)
def empty_premise(DotWordByWord):
    layer, W = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    premise.requires_grad_()
    hypothesis.requires_grad_()
    h_star, maps = layer(premise, hypothesis, masks_for([5, 0, 2], 5))
    largest = maps[1].detach().abs().max().item()
    expect(largest == 0, f"Sin premisa, los pesos deberían ser 0 y llegan a {largest:.2g}.")
    expected = torch.tanh(W["W_x"] @ hypothesis[1, -1].detach())
    expect_close(h_star[1], expected, "los valores de h* sin premisa", "r es 0: queda tanh(W_x h).")
    (h_star.sum() + maps.pow(2).sum()).backward()
    expect_finite_gradients(layer, premise, hypothesis, case="si una premisa está vacía")


@check("ej04a_relleno", "En 16 bits", points=0.5)
def half_precision(DotWordByWord):
    layer, _ = layer_with_weights(DotWordByWord)
    premise, hypothesis = sentences()
    masks = masks_for([5, 3, 1], 5), masks_for([4, 2, 1], 4)
    expected = [value.detach() for value in layer(premise, hypothesis, *masks)]
    layer.half()
    found = layer(premise.half(), hypothesis.half(), *masks)
    for name, value, wanted in zip(("h*", "los mapas"), found, expected, strict=True):
        expect(value.dtype == torch.half, f"En 16 bits, {name} sale como {value.dtype}.")
        expect_close(value.float(), wanted, f"los valores de {name} en 16 bits", atol=0.05)


# --- 04b: media -----------------------------------------------------------------------------------

MASK = torch.tensor(
    [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 1]], dtype=torch.bool
)


def loop_mean(states, mask):
    """La media de lo real, con bucles; cada fila tiene algo."""
    rows = []
    for b in range(len(states)):
        real = [states[b, t] for t in range(states.size(1)) if mask[b, t]]
        rows.append(sum(real) / len(real))
    return torch.stack(rows)


@check("ej04b_media", "La media de las palabras reales", points=1.0)
def mean_of_the_real(masked_mean):
    for size in (1, 3, 5):
        states = torch.randn(4, 5, size) * 3
        expected = loop_mean(states, MASK)
        hint = "cada fila se divide entre sus palabras reales."
        expect_close(masked_mean(states, MASK.clone()), expected, "las medias", hint)


@check("ej04b_media", "Con máscaras bool, enteras y decimales", points=1.0)
def masks_of_any_type(masked_mean):
    states = torch.randn(4, 5, 3)
    expected = loop_mean(states, MASK)
    kinds = {
        "enteros": MASK.long(),
        "uint8": MASK.to(torch.uint8),
        "decimales": MASK.float(),
        "enteros, con un 7 en vez de 1": MASK.long() * 7,
        "decimales, con 0.3 en vez de 1": MASK * 0.3,
    }
    for name, mask in kinds.items():
        hint = "es real lo que no es 0, valga lo que valga."
        expect_close(masked_mean(states, mask), expected, f"las medias con máscara de {name}", hint)


# --- 04b: relleno ---------------------------------------------------------------------------------


@check("ej04b_relleno", "Ni nan ni infinito del relleno llegan a la media", points=1.5)
def nothing_leaks(masked_mean):
    states = torch.randn(4, 5, 3)
    expected = loop_mean(states, MASK)
    for value in (1e4, math.nan, math.inf, -math.inf):
        dirty = states.masked_fill(~MASK[..., None], value)
        hint = "multiplicar por 0 no borra un nan; elegir, sí."
        expect_close(masked_mean(dirty, MASK.clone()), expected, f"las medias, con {value}", hint)


@check("ej04b_relleno", "El gradiente: 1/n en lo real, y 0 en el relleno", points=1.0)
def gradient_is_one_over_n(masked_mean):
    expected = (MASK / MASK.sum(1, keepdim=True))[..., None].expand(4, 5, 3)
    states = torch.randn(4, 5, 3)
    for value in (0.0, math.nan, math.inf):
        dirty = states.masked_fill(~MASK[..., None], value).requires_grad_()
        masked_mean(dirty, MASK.clone()).sum().backward()
        expect(dirty.grad is not None, "La media se separó del grafo.", "¿sobra un detach?")
        hint = "cada palabra real aporta 1/n a la media de su fila, y el relleno, nada."
        expect_close(dirty.grad, expected, f"los gradientes, con {value} en el relleno", hint)


@check("ej04b_relleno", "Un nan en una palabra real se ve, y solo en su sitio", points=1.0)
def real_nan_is_seen(masked_mean):
    states = torch.randn(4, 5, 3)
    expected = loop_mean(states, MASK)
    for value in (math.nan, math.inf):
        dirty = states.clone()
        dirty[2, 3, 1] = value  # real
        wanted = expected.clone()
        wanted[2, 1] = value
        hint = "esconder un nan de verdad tapa un error."
        what = f"las medias, con {value} en una palabra real"
        expect_close(masked_mean(dirty, MASK.clone()), wanted, what, hint)


# --- 04b: bordes ----------------------------------------------------------------------------------


@check("ej04b_bordes", "Sin palabras: ceros, y gradientes finitos", points=0.5)
def empty_rows(masked_mean):
    mask = MASK.clone()
    mask[1] = False
    for value in (1.0, math.nan):
        states = torch.randn(4, 5, 3).masked_fill(~mask[..., None], value).requires_grad_()
        found = masked_mean(states, mask)
        expect_close(found[1], torch.zeros(3), "las medias de una fila sin palabras")
        found.sum().backward()
        expect_finite(states.grad, "el gradiente, si una fila está vacía")
        largest = states.grad[1].abs().max().item()
        expect(largest == 0, f"El gradiente de una fila vacía debería ser 0 y vale {largest:.2g}.")


@check("ej04b_bordes", "En 16 bits, aunque la suma no quepa", points=1.0)
def half_precision_does_not_overflow(masked_mean):
    states = torch.full((2, 400, 2), 500.0).half()
    mask = torch.arange(400) < torch.tensor([[400], [300]])
    found = masked_mean(states, mask)
    expect(found.dtype == torch.half, f"En 16 bits, la media sale como {found.dtype}.")
    hint = "la suma de 400 palabras pasa de 65504: súmala en un tipo más ancho."
    expect_close(found.float(), torch.full((2, 2), 500.0), "las medias en 16 bits", hint, atol=1.0)


@check("ej04b_bordes", "No cambia lo que recibe", points=0.5)
def inputs_are_untouched(masked_mean):
    states, mask = torch.randn(4, 5, 3), MASK.float()
    before = states.clone(), mask.clone()
    masked_mean(states, mask)
    for name, value, old in zip(("states", "mask"), (states, mask), before, strict=True):
        expect(torch.equal(value, old), f"La función cambia {name}.", "sin operaciones con _.")


@check("ej04b_bordes", "ValueError si la máscara no es [B, T]", points=0.5)
def wrong_shape(masked_mean):
    states = torch.randn(4, 5, 3)
    for shape in ([5], [1, 5], [4, 5, 1], [5, 4]):
        call = partial(masked_mean, states, torch.ones(shape, dtype=torch.bool))
        expect_error(ValueError, call, f"Con una máscara {shape}")
