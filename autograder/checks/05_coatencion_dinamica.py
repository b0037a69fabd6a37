"""Comprobaciones del cuaderno 05: `DeepCoattention` (05a) y el paso del decodificador (05b).

Los oráculos son las fórmulas del enunciado, ejemplo a ejemplo y sin relleno. Las tolerancias son de
1e-5: con vectores de 6 números, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import math

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_finite

H = 6
P = 3
COATTENTION_SHAPES = {
    "doc_sentinel": (H,),
    "ques_sentinel": (H,),
    "question_projection.weight": (H, H),
    "question_projection.bias": (H,),
}
SCORER_SHAPES = {
    "mix.weight": (H, 5 * H),
    "first.weight": (P * H, 3 * H),
    "first.bias": (P * H,),
    "second.weight": (P * H, H),
    "second.bias": (P * H,),
    "third.weight": (P, 2 * H),
    "third.bias": (P,),
}
CELL_SHAPES = {
    "cell.weight_ih": (4 * H, 4 * H),
    "cell.weight_hh": (4 * H, H),
    "cell.bias_ih": (4 * H,),
    "cell.bias_hh": (4 * H,),
}


def with_random_weights(layer, shapes, scale=0.5):
    """Pone en `layer`, en modo evaluación, parámetros al azar con esos nombres, y los devuelve."""
    state = layer.state_dict()
    for name, shape in shapes.items():
        expect(name in state, f"Falta el parámetro {name}.", "mira la tabla del enunciado.")
        found = tuple(state[name].shape)
        expect(found == shape, f"{name} debería ser {list(shape)} y es {list(found)}.")
    weights = {name: torch.randn(shape) * scale for name, shape in shapes.items()}
    layer.load_state_dict(weights, strict=False)
    layer.eval()
    return weights


def expect_parameters(layer, shapes) -> None:
    """Falla si la capa tiene más parámetros, o menos, que los de la tabla."""
    found = sum(parameter.numel() for parameter in layer.parameters())
    wanted = sum(math.prod(shape) for shape in shapes.values())
    expect(found == wanted, f"La capa tiene {found} parámetros y la de la tabla, {wanted}.")


def expect_gradients(layer, names, of: str) -> None:
    """Falla si a alguno de esos parámetros no le llega gradiente."""
    parameters = dict(layer.named_parameters())
    for name in names:
        gradient = parameters[name].grad
        expect(
            gradient is not None and bool(gradient.abs().max() > 1e-8),
            f"El gradiente de {of} no llega a {name}.",
            "¿sobra un detach, o ese parámetro no se usa?",
        )


# --- Ejercicio 05a --------------------------------------------------------------------------------


def coattention(d, q, weights, rounds):
    """`[D; S¹; C¹; …]` de un ejemplo sin relleno: d `[T, H]`, q `[J, H]`."""
    D = torch.cat([d, weights["doc_sentinel"][None]])
    Q = torch.cat([q, weights["ques_sentinel"][None]])
    Q = (Q @ weights["question_projection.weight"].T + weights["question_projection.bias"]).tanh()
    blocks = [D]
    for _ in range(rounds):
        scores = D @ Q.T
        A_Q, A_D = scores.softmax(0), scores.softmax(1)
        C_Q = A_Q.T @ D
        blocks += [A_D @ Q, A_D @ C_Q]
        D, Q = blocks[-2], C_Q
    return torch.cat(blocks, dim=1)[:-1]


def examples(doc_lengths, ques_lengths, T=5, J=4):
    """Un lote al azar, con relleno también al azar: estados y máscaras."""
    masks = [
        torch.arange(size) < torch.tensor(lengths)[:, None]
        for size, lengths in ((T, doc_lengths), (J, ques_lengths))
    ]
    B = len(doc_lengths)
    return torch.randn(B, T, H), torch.randn(B, J, H), *masks


def expect_coattention(layer, weights, rounds, inputs, what, hint) -> None:
    """Falla si, en las palabras de algún ejemplo, la salida no es la de la fórmula."""
    d, q, doc_mask, ques_mask = inputs
    expected = [
        coattention(d[b, doc_mask[b]], q[b, ques_mask[b]], weights, rounds) for b in range(len(d))
    ]
    found = layer(*inputs)
    for b, wanted in enumerate(expected):
        expect(
            found.dim() == 3 and found.size(1) == d.size(1),
            f"La salida es {list(found.shape)}: debería tener {d.size(1)} posiciones.",
            "el centinela del documento no sale de la capa.",
        )
        for i, name in enumerate(["D", *(f"{x}{k}" for k in range(1, rounds + 1) for x in "SC")]):
            block = slice(i * H, (i + 1) * H)
            expect_close(
                found[b, : len(wanted), block],
                wanted[:, block],
                f"los valores del bloque {name} {what}",
                hint,
            )


@check("ej05a_ronda", "Forma de la salida", points=0.5)
def coattention_shape(DeepCoattention):
    for B, T, J, size, rounds in [(1, 1, 1, 4, 1), (3, 5, 2, 6, 2), (2, 2, 7, 8, 3)]:
        found = list(
            DeepCoattention(size, rounds)(torch.randn(B, T, size), torch.randn(B, J, size)).shape
        )
        wanted = [B, T, (1 + 2 * rounds) * size]
        expect(
            found == wanted,
            f"Con B={B}, T={T}, J={J}, H={size} y {rounds} rondas, la salida es {found} y debería "
            f"ser {wanted}.",
            "el centinela del documento se quita al final.",
        )


@check("ej05a_ronda", "Los parámetros son los de la tabla", points=0.5)
def coattention_parameters(DeepCoattention):
    for rounds in (1, 3):
        layer = DeepCoattention(H, rounds)
        with_random_weights(layer, COATTENTION_SHAPES)
        expect_parameters(layer, COATTENTION_SHAPES)


@check("ej05a_ronda", "Una ronda es [D; C^D]", points=2.0)
def one_round(DeepCoattention):
    layer = DeepCoattention(H, 1)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    expect_coattention(
        layer,
        weights,
        1,
        examples([5, 5], [4, 4]),
        "sin relleno",
        "A_Q suma 1 sobre el documento y A_D, sobre la pregunta, centinelas incluidos; solo la "
        "pregunta pasa por tanh.",
    )


@check("ej05a_ronda", "El gradiente llega a los centinelas y a la capa de la pregunta", points=0.5)
def coattention_gradients(DeepCoattention):
    layer = DeepCoattention(H, 1)
    with_random_weights(layer, COATTENTION_SHAPES)
    d, q, *masks = examples([5, 3], [2, 4])
    (layer(d, q, *masks) * masks[0][..., None]).pow(2).sum().backward()
    expect_gradients(layer, COATTENTION_SHAPES, "la salida")


@check("ej05a_relleno", "Con relleno, cada ejemplo como si estuviera solo", points=1.5)
def coattention_padding(DeepCoattention):
    layer = DeepCoattention(H, 1)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    expect_coattention(
        layer,
        weights,
        1,
        examples([5, 3, 1], [2, 4, 1]),
        "con relleno",
        "las dos softmax tapan el relleno de los dos lados, y ninguna tapa el centinela.",
    )


@check("ej05a_relleno", "Lo que hay en el relleno no influye", points=1.0)
def coattention_noise(DeepCoattention):
    layer = DeepCoattention(H, 2)
    with_random_weights(layer, COATTENTION_SHAPES)
    d, q, *masks = examples([5, 3, 1], [2, 4, 1])
    noisy = [
        torch.where(mask[..., None], x, torch.randn_like(x) * 3)
        for x, mask in zip((d, q), masks, strict=True)
    ]
    before, after = layer(d, q, *masks).detach(), layer(*noisy, *masks)
    expect(tuple(before.shape[:2]) == (3, 5), f"La salida es {list(before.shape)}.")
    expect_close(
        after[masks[0]],
        before[masks[0]],
        "los valores de las palabras al cambiar el relleno",
        "¿en qué ejes está cada máscara?, ¿va antes de la softmax?",
    )


@check("ej05a_relleno", "A una pregunta vacía solo le queda el centinela", points=0.5)
def coattention_empty_question(DeepCoattention):
    layer = DeepCoattention(H, 1)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    d, q, *masks = examples([5, 0, 3], [0, 4, 0])
    d.requires_grad_(), q.requires_grad_()
    wanted = coattention(d[0].detach(), q[0, :0].detach(), weights, 1)
    out = layer(d, q, *masks)
    expect(tuple(out.shape) == (3, 5, 3 * H), f"La salida es {list(out.shape)}.")
    expect_finite(out, "la salida, con una pregunta o un documento vacíos")
    expect_close(
        out[0],
        wanted,
        "los valores con una pregunta vacía",
        "el centinela se puede atender siempre; con él, ninguna softmax se queda sin nada.",
    )
    (out * masks[0][..., None]).sum().backward()
    for name, x in (("el documento", d), ("la pregunta", q)):
        if x.grad is not None:
            expect_finite(x.grad, f"el gradiente de {name}, con secuencias vacías")


@check("ej05a_relleno", "Funciona en 16 bits", points=0.5)
def coattention_half(DeepCoattention):
    layer = DeepCoattention(H, 1)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    d, q, *masks = examples([5, 3], [2, 4])
    wanted = coattention(d[1, :3], q[1], weights, 1)
    try:
        layer.half()
        found = layer(d.half(), q.half(), *masks)
    except RuntimeError as error:
        expect(
            False, f"En 16 bits, tu código falla: {error}.", "¿qué número pones en lo prohibido?"
        )
    expect(found.dtype == torch.half, f"En 16 bits, la salida es {found.dtype}.")
    expect(tuple(found.shape) == (2, 5, 3 * H), f"La salida es {list(found.shape)}.")
    # El redondeo en 16 bits es de unas milésimas; la tolerancia, diez veces más.
    expect_close(found[1, :3].float(), wanted, "los valores en 16 bits", atol=0.05)


@check("ej05a_rondas", "La segunda ronda parte de lo que dejó la primera", points=1.5)
def two_rounds(DeepCoattention):
    layer = DeepCoattention(H, 2)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    expect_coattention(
        layer,
        weights,
        2,
        examples([5, 3], [2, 4]),
        "con dos rondas",
        "en cada ronda, D pasa a ser S y Q pasa a ser C_Q, con sus centinelas; sin otra tanh.",
    )


@check("ej05a_rondas", "Tres rondas", points=0.5)
def three_rounds(DeepCoattention):
    layer = DeepCoattention(H, 3)
    weights = with_random_weights(layer, COATTENTION_SHAPES)
    expect_coattention(
        layer,
        weights,
        3,
        examples([5, 5], [4, 4]),
        "con tres rondas",
        "¿se repite la ronda tantas veces como dice rounds?",
    )


# --- Ejercicio 05b: la red que puntúa -------------------------------------------------------------


def pieces(x, weight, bias):
    """La mayor de las P versiones, con bucles: la salida k·O + o es la versión k del número o."""
    values = F.linear(x, weight, bias)
    size = len(bias) // P
    return torch.stack(
        [
            torch.stack([values[..., k * size + o] for k in range(P)]).max(0).values
            for o in range(size)
        ],
        dim=-1,
    )


def score(U, h, u_start, u_end, w):
    """La puntuación de cada posición de un ejemplo: U `[T, 2H]` → `[T]`."""
    r = torch.tanh(w["mix.weight"] @ torch.cat([h, u_start, u_end]))
    found = []
    for u in U:
        m1 = pieces(torch.cat([u, r]), w["first.weight"], w["first.bias"])
        m2 = pieces(m1, w["second.weight"], w["second.bias"])
        found.append(pieces(torch.cat([m1, m2]), w["third.weight"], w["third.bias"])[0])
    return torch.stack(found)


@check("ej05b_maxout", "Formas y parámetros de MaxoutScorer", points=0.5)
def scorer_shapes(MaxoutScorer):
    scorer = MaxoutScorer(H, P)
    with_random_weights(scorer, SCORER_SHAPES)
    expect_parameters(scorer, SCORER_SHAPES)
    for B, T in ((1, 1), (3, 5)):
        inputs = torch.randn(B, T, 2 * H), torch.randn(B, H), *torch.randn(2, B, 2 * H)
        found = list(scorer(*inputs).shape)
        expect(found == [B, T], f"Con B={B} y T={T} sale {found} y debería salir {[B, T]}.")


@check("ej05b_maxout", "Se queda con la mayor de las p versiones", points=1.0)
def scorer_takes_the_maximum(MaxoutScorer):
    scorer = MaxoutScorer(H, P)
    with_random_weights(scorer, SCORER_SHAPES)
    # Solo cuenta el sesgo de la última capa, con tres versiones: la puntuación es la mayor.
    weights = {name: torch.zeros(shape) for name, shape in SCORER_SHAPES.items()}
    weights["third.bias"] = torch.tensor([-1.0, 4.0, 2.0])
    scorer.load_state_dict(weights, strict=False)
    U, h, ends = torch.randn(2, 5, 2 * H), torch.randn(2, H), torch.randn(2, 2, 2 * H)
    expect_close(
        scorer(U, h, *ends),
        torch.full((2, 5), 4.0),
        "las puntuaciones cuando las tres versiones valen −1, 4 y 2",
        "maxout no es la media ni la suma.",
    )


@check("ej05b_maxout", "La puntuación es la de la fórmula", points=2.0)
def scorer_formula(MaxoutScorer):
    scorer = MaxoutScorer(H, P)
    weights = with_random_weights(scorer, SCORER_SHAPES)
    U, h, ends = torch.randn(2, 5, 2 * H), torch.randn(2, H), torch.randn(2, 2, 2 * H)
    wanted = torch.stack([score(U[b], h[b], *ends[:, b], weights) for b in range(2)])
    expect_close(
        scorer(U, h, *ends),
        wanted,
        "las puntuaciones",
        "r lleva tanh; first recibe [u; r]; third recibe [m1; m2]; y el máximo es sobre las p "
        "versiones de un mismo número, no sobre los números.",
        atol=1e-4,  # sumas de 18 productos, tres capas
    )


# --- Ejercicio 05b: un paso -----------------------------------------------------------------------


def step_layer(ChainedStep):
    """Un paso con los parámetros de su celda al azar y conocidos, y grandes los demás."""
    layer = ChainedStep(H, P)
    for name in ("start_scorer", "end_scorer"):
        with_random_weights(getattr(layer, name), SCORER_SHAPES)
    return layer, with_random_weights(layer, CELL_SHAPES)


def next_state(weights, x, state):
    """La LSTM de PyTorch con esos parámetros."""
    cell = torch.nn.LSTMCell(4 * H, H)
    cell.load_state_dict({name.removeprefix("cell."): value for name, value in weights.items()})
    with torch.no_grad():
        return cell(x, state)


def step_inputs(lengths=(5, 5, 5), T=5):
    """U, máscara, estado, principio y fin, con principios y fines distintos."""
    B = len(lengths)
    U, state = torch.randn(B, T, 2 * H), (torch.randn(B, H), torch.randn(B, H))
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    start = torch.tensor([b % n for b, n in enumerate(lengths)])
    end = torch.tensor([n - 1 for n in lengths])
    return U, mask, state, start, end


def ends_of(U, start, end):
    return [torch.stack([U[b, p] for b, p in enumerate(x.tolist())]) for x in (start, end)]


@check("ej05b_paso", "El estado avanza con lo que hay en el tramo", points=1.0)
def state_moves(ChainedStep):
    layer, weights = step_layer(ChainedStep)
    U, mask, state, start, end = step_inputs()
    x = torch.cat(ends_of(U, start, end), dim=1)
    for case, given in (("con un estado anterior", state), ("en la primera iteración", None)):
        wanted = next_state(weights, x, given)
        found = layer(U, mask, given, start, end)[4]
        for name, value, right in zip(("h", "c"), found, wanted, strict=True):
            expect_close(
                value,
                right,
                f"los valores de {name} {case}",
                "la celda recibe [u_start; u_end] y el estado anterior, y devuelve los dos nuevos.",
            )


@check("ej05b_paso", "Las puntuaciones del principio", points=1.0)
def start_scores(ChainedStep):
    layer, weights = step_layer(ChainedStep)
    U, mask, state, start, end = step_inputs()
    ends = ends_of(U, start, end)
    h = next_state(weights, torch.cat(ends, dim=1), state)[0]
    wanted = layer.start_scorer(U, h, *ends).detach()
    expect_close(
        layer(U, mask, state, start, end)[0],
        wanted,
        "las puntuaciones del principio, comparadas con las de tu start_scorer",
        "se llama con el estado nuevo y con los dos extremos anteriores de cada ejemplo.",
    )


@check("ej05b_paso", "Las del fin miran el principio nuevo", points=1.5)
def end_scores(ChainedStep):
    layer, weights = step_layer(ChainedStep)
    U, mask, state, start, end = step_inputs((5,) * 8)
    ends = ends_of(U, start, end)
    h = next_state(weights, torch.cat(ends, dim=1), state)[0]
    found = layer(U, mask, state, start, end)
    chosen = found[0].detach().argmax(1)
    expect(bool((chosen != start).any()), "El principio no cambia nunca, con U al azar.")
    wanted = layer.end_scorer(U, h, *ends_of(U, chosen, end)).detach()
    expect_close(
        found[1],
        wanted,
        "las puntuaciones del fin, comparadas con las de tu end_scorer",
        "recibe U en el principio recién elegido y en el fin anterior; y tiene sus parámetros.",
    )


@check("ej05b_paso", "El relleno vale −∞ y no se elige", points=1.0)
def padding_is_never_chosen(ChainedStep):
    layer, _ = step_layer(ChainedStep)
    lengths = (5, 3, 1, 2, 2, 1)
    U, mask, state, start, end = step_inputs(lengths)
    U = torch.where(mask[..., None], U, torch.randn_like(U) * 20)
    found = layer(U, mask, state, start, end)
    for name, scores, chosen in (("principio", found[0], found[2]), ("fin", found[1], found[3])):
        real = torch.isfinite(scores)
        expect(
            bool((real == mask).all()),
            f"Las puntuaciones del {name} son finitas en {real.sum(1).tolist()} posiciones de cada "
            f"ejemplo, y las longitudes son {list(lengths)}.",
            "−∞ donde la máscara dice False.",
        )
        expect(
            bool((chosen < torch.tensor(lengths)).all()),
            f"El {name} elegido es {chosen.tolist()} y las longitudes, {list(lengths)}.",
        )


@check("ej05b_paso", "Devuelve las posiciones de mayor puntuación", points=0.5)
def returns_the_best(ChainedStep):
    layer, _ = step_layer(ChainedStep)
    U, mask, *rest = step_inputs((5,) * 8 + (4,) * 4 + (2, 1, 1, 2, 1))
    U = torch.where(mask[..., None], U, torch.randn_like(U) * 20)
    found = layer(U, mask, *rest)
    for name, scores, chosen in (("principio", found[0], found[2]), ("fin", found[1], found[3])):
        wanted = scores.argmax(1).tolist()
        expect(
            chosen.tolist() == wanted,
            f"El {name} devuelto es {chosen.tolist()} y lo mejor está en {wanted}.",
        )


@check("ej05b_paso", "El gradiente llega a los dos puntuadores y a la celda", points=0.5)
def step_gradients(ChainedStep):
    layer, _ = step_layer(ChainedStep)
    start_scores, end_scores, *_ = layer(*step_inputs())
    (start_scores.pow(2).sum() + end_scores.pow(2).sum()).backward()
    names = [f"{end}_scorer.{part}.weight" for end in ("start", "end") for part in ("mix", "first")]
    expect_gradients(layer, [*names, "cell.weight_ih", "cell.weight_hh"], "las puntuaciones")
