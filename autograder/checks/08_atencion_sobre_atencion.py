"""Comprobaciones del cuaderno 08: `BidirectionalAoA` (3a) y `PositionalEncoding` (3b).

Los oráculos son las fórmulas del enunciado, ejemplo a ejemplo y sin relleno: cada documento y cada
pregunta, recortados a sus palabras. Las tolerancias son de 1e-5: con vectores de 8 números, el
redondeo en precisión simple queda por debajo de 2e-6.
"""

import math

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

D = 6
AXES_HINT = "alpha suma 1 sobre el documento, y beta, sobre la pregunta."


# --- Oráculo del ejercicio 3a ---------------------------------------------------------------------


def oracle(h, q, weight, bias):
    """`context [D]`, `aoa [T]` y `G [T, 4D]` de un ejemplo sin relleno: h `[T, D]`, q `[Q, D]`."""
    scores = h @ q.T
    alpha, beta = scores.softmax(0), scores.softmax(1)
    query_weights = beta.mean(0)
    aoa = alpha @ query_weights
    attended = beta @ q
    summary = query_weights @ (alpha.T @ h)
    G = torch.cat([h, attended, h * attended, h * summary], dim=1)
    return aoa @ F.relu(F.linear(G, weight, bias)), aoa, G


def layer_with_weights(BidirectionalAoA):
    """Una capa con los parámetros de `fuse` al azar, y esos parámetros."""
    layer = BidirectionalAoA(D)
    state = layer.state_dict()
    for name, shape in (("fuse.weight", (D, 4 * D)), ("fuse.bias", (D,))):
        expect(name in state, f"Falta el parámetro {name}.", "mira la tabla del enunciado.")
        found = tuple(state[name].shape)
        expect(found == shape, f"{name} debería ser {list(shape)} y es {list(found)}.")
    weight, bias = torch.randn(D, 4 * D) * 0.3, torch.randn(D) * 0.3
    layer.load_state_dict({"fuse.weight": weight, "fuse.bias": bias}, strict=False)
    layer.eval()
    return layer, weight, bias


def examples(doc_lengths, ques_lengths, T=5, Q=4):
    """Un lote al azar, con relleno también al azar: vectores y máscaras."""
    B = len(doc_lengths)
    masks = [
        torch.arange(size) < torch.tensor(lengths)[:, None]
        for size, lengths in ((T, doc_lengths), (Q, ques_lengths))
    ]
    return torch.randn(B, T, D), torch.randn(B, Q, D), *masks


def expected_of(h, q, masks, weight, bias):
    """El oráculo de cada ejemplo, y cada `aoa` completada con ceros."""
    doc_mask, ques_mask = masks
    contexts, weights, interactions = [], [], []
    for b in range(len(h)):
        context, aoa, G = oracle(h[b, doc_mask[b]], q[b, ques_mask[b]], weight, bias)
        contexts.append(context)
        weights.append(F.pad(aoa, (0, h.size(1) - len(aoa))))
        interactions.append(G)
    return torch.stack(contexts), torch.stack(weights), interactions


# --- 3a: estructura -------------------------------------------------------------------------------


@check("ej3a_estructura", "Formas de context, aoa y G", points=0.5)
def output_shapes(BidirectionalAoA):
    for B, T, Q, size in [(1, 1, 1, 4), (3, 5, 2, 6), (2, 2, 7, 8)]:
        context, aoa, G = BidirectionalAoA(size)(torch.randn(B, T, size), torch.randn(B, Q, size))
        case = f"Con B={B}, T={T}, Q={Q} y D={size},"
        for name, value, wanted in (
            ("context", context, [B, size]),
            ("aoa", aoa, [B, T]),
            ("G", G, [B, T, 4 * size]),
        ):
            found = list(value.shape)
            expect(found == wanted, f"{case} {name} es {found} y debería ser {wanted}.")


@check("ej3a_estructura", "fuse es lo único que se aprende", points=0.5)
def only_fuse(BidirectionalAoA):
    layer, weight, bias = layer_with_weights(BidirectionalAoA)
    found = sum(parameter.numel() for parameter in layer.parameters())
    wanted = weight.numel() + bias.numel()
    expect(
        found == wanted,
        f"Con D={D} la capa tiene {found} parámetros y bastan {wanted}.",
        "la capa recibe las palabras ya leídas: no lleva GRU, y las puntuaciones son h · q.",
    )


# --- 3a: reparto ----------------------------------------------------------------------------------


@check("ej3a_reparto", "Sin relleno, aoa es la del artículo", points=1.0)
def aoa_is_the_formula(BidirectionalAoA):
    layer, weight, bias = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 5], [4, 4])
    expected = expected_of(h, q, masks, weight, bias)[1]
    expect_close(
        layer(h, q)[1],
        expected,
        "los pesos de aoa sin relleno",
        AXES_HINT + " Se promedia beta sobre el documento y luego se mezcla con alpha.",
    )


@check("ej3a_reparto", "Con relleno, aoa es la de cada ejemplo recortado", points=1.5)
def aoa_with_padding(BidirectionalAoA):
    layer, weight, bias = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 3, 1], [2, 4, 1])
    expected = expected_of(h, q, masks, weight, bias)[1]
    expect_close(
        layer(h, q, *masks)[1],
        expected,
        "los pesos de aoa con relleno",
        "¿tapa cada softmax lo que no existe? ¿divides la media de beta entre las palabras reales?",
    )


@check("ej3a_reparto", "aoa suma 1", points=0.5)
def aoa_sums_to_one(BidirectionalAoA):
    layer, *_ = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 3, 1], [2, 4, 1])
    for case, given in (("sin relleno", ()), ("con relleno", masks)):
        sums = layer(h, q, *given)[1].sum(1)
        expect(
            bool((sums - 1).abs().max() < 1e-5),
            f"aoa suma entre {sums.min():.3f} y {sums.max():.3f}, {case}, y debería sumar 1.",
            "es una media de columnas que suman 1, con pesos que suman 1.",
        )


# --- 3a: interacciones ----------------------------------------------------------------------------


def expect_blocks(BidirectionalAoA, first: int, names: list[str], hint: str) -> None:
    """Falla si algún bloque de G, desde el número `first`, no es el del enunciado."""
    layer, weight, bias = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 3, 2], [2, 4, 1])
    expected = expected_of(h, q, masks, weight, bias)[2]
    G = layer(h, q, *masks)[2]
    for b, wanted in enumerate(expected):
        for block, name in enumerate(names, start=first):
            channels = slice(block * D, (block + 1) * D)
            found = G[b, : len(wanted), channels]
            expect_close(found, wanted[:, channels], f"los valores de {name}", hint)


@check("ej3a_interacciones", "C2Q: h, u y su producto", points=1.0)
def context_to_query(BidirectionalAoA):
    hint = "u_t mezcla la pregunta con la fila t de beta; los productos son elemento a elemento."
    expect_blocks(BidirectionalAoA, 0, ["h", "u", "h ∘ u"], hint)


@check("ej3a_interacciones", "Q2C: h por el resumen c", points=1.0)
def query_to_context(BidirectionalAoA):
    hint = (
        "cada g_j mezcla el documento con la columna j de alpha; c las junta con los pesos medios."
    )
    expect_blocks(BidirectionalAoA, 3, ["h ∘ c"], hint)


@check("ej3a_interacciones", "El contexto es la mezcla con s de ReLU(fuse(G))", points=1.0)
def context_is_the_mixture(BidirectionalAoA):
    layer, weight, bias = layer_with_weights(BidirectionalAoA)
    h, q, *_ = examples([5, 5, 5], [4, 4, 4])
    context, aoa, G = layer(h, q)
    aoa, G = aoa.detach(), G.detach()
    shapes = list(aoa.shape), list(G.shape)
    expect(shapes == ([3, 5], [3, 5, 4 * D]), f"aoa y G tienen formas {shapes[0]} y {shapes[1]}.")
    expected = (aoa[:, None] @ F.relu(F.linear(G, weight, bias))).squeeze(1)
    expect_close(
        context,
        expected,
        "los valores de context, comparados con tus propias aoa y G",
        "primero fuse y ReLU en cada posición, y después la suma con los pesos s.",
    )


@check("ej3a_interacciones", "El gradiente llega al documento, a la pregunta y a fuse", points=0.5)
def gradients_reach_everything(BidirectionalAoA):
    layer, *_ = layer_with_weights(BidirectionalAoA)
    h, q, *_ = examples([5, 5], [4, 4])
    h.requires_grad_(), q.requires_grad_()
    layer(h, q)[1].pow(2).sum().backward()  # solo aoa
    for name, value in (("el documento", h), ("la pregunta", q)):
        expect(
            value.grad is not None and bool(value.grad.abs().max() > 1e-7),
            f"El gradiente de aoa no llega a {name}.",
            "¿sobra un detach, o pasa algo por NumPy?",
        )
    (layer(h, q)[0] * torch.randn(2, D)).sum().backward()
    gradient = dict(layer.named_parameters())["fuse.weight"].grad
    expect(
        gradient is not None and bool(gradient.abs().max() > 1e-7),
        "El gradiente de context no llega a fuse.",
    )


# --- 3a: relleno ----------------------------------------------------------------------------------


@check("ej3a_relleno", "Lo que hay en el relleno no influye", points=1.0)
def padding_does_not_leak(BidirectionalAoA):
    layer, *_ = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 3, 1], [2, 4, 1])
    noisy = [
        torch.where(mask[..., None], x, torch.randn_like(x) * 3)
        for x, mask in zip((h, q), masks, strict=True)
    ]
    before, after = layer(h, q, *masks), layer(*noisy, *masks)
    expect(
        bool((before[0][0] - before[0][1]).abs().max() > 1e-5),
        "Dos documentos y dos preguntas distintos dan el mismo context.",
    )
    for name, old, new in zip(("context", "aoa"), before, after, strict=False):
        expect_close(
            new,
            old.detach(),
            f"los valores de {name} al cambiar el relleno",
            "las dos máscaras hacen falta en las dos softmax.",
        )
    on_padding = before[1][~masks[0]].abs().max().item()
    expect(on_padding == 0, f"aoa pone {on_padding:.2g} en una posición de relleno.")


@check("ej3a_relleno", "Sin máscaras es lo mismo que con todo real", points=0.5)
def none_means_no_padding(BidirectionalAoA):
    layer, *_ = layer_with_weights(BidirectionalAoA)
    h, q, doc_mask, ques_mask = examples([5, 5], [4, 4])
    expected = [value.detach() for value in layer(h, q, doc_mask, ques_mask)[:2]]
    for case, given in (
        ("sin máscaras", {}),
        ("solo con doc_mask", {"doc_mask": doc_mask}),
        ("solo con ques_mask", {"ques_mask": ques_mask}),
    ):
        found = layer(h, q, **given)
        for name, value, wanted in zip(("context", "aoa"), found, expected, strict=False):
            expect_close(value, wanted, f"los valores de {name} {case}")


@check("ej3a_relleno", "Documento o pregunta vacíos: ceros y gradientes finitos", points=1.0)
def empty_sequences(BidirectionalAoA):
    layer, *_ = layer_with_weights(BidirectionalAoA)
    h, q, *masks = examples([5, 0, 3], [4, 4, 0])
    h.requires_grad_(), q.requires_grad_()
    context, aoa, _ = layer(h, q, *masks)
    for row, what in ((1, "un documento vacío"), (2, "una pregunta vacía")):
        for name, value in (("context", context), ("aoa", aoa)):
            expect_finite(value, f"{name}, con {what}")
            largest = value[row].abs().max().item()
            expect(largest == 0, f"Con {what}, {name} debería ser 0 y llega a {largest:.2g}.")
    (context[0].sum() + aoa[0].pow(2).sum()).backward()
    for name, value in (("el documento", h), ("la pregunta", q)):
        if value.grad is not None:
            expect_finite(
                value.grad,
                f"el gradiente de {name}, aunque la pérdida no use los ejemplos vacíos",
                "el nan no debe llegar a existir: limpiarlo al final no limpia el gradiente.",
            )


# --- 3a: medir, y preguntas y respuestas ----------------------------------------------------------


@check("ej3a_medida", "Las tres cifras son las de la tabla", points=1.0)
def qa_figures(evaluate_qa, ClozeReader, AttentionOverAttention):
    reader = ClozeReader(AttentionOverAttention(6, 4, dropout=0.0), 6, 12)
    shapes = {name: value.shape for name, value in reader.state_dict().items()}
    # Parámetros grandes: la respuesta debe cambiar con la pregunta.
    reader.load_state_dict({name: torch.randn(shape) * 2 for name, shape in shapes.items()})
    reader.eval()
    documents, questions = torch.randint(1, 6, (120, 5)), torch.randint(6, 12, (120, 3))
    with torch.no_grad():
        predicted = reader(documents, questions).argmax(1)
        other = reader(documents, questions[[-1, *range(119)]]).argmax(1)
    # La respuesta más frecuente, 11, no está en ningún documento: el lector nunca la da.
    kind = torch.rand(120)
    answers = torch.where(kind < 0.2, predicted, torch.where(kind < 0.5, other, 11))
    expected = {
        "accuracy": (predicted == answers).float().mean().item(),
        "majority": max(answers.tolist().count(a) for a in range(12)) / 120,
        "swapped": (other == answers).float().mean().item(),
    }
    found = evaluate_qa(reader, documents, questions, answers)
    for name, wanted in expected.items():
        value = found[name]
        expect(isinstance(value, float), f"{name} es un {type(value).__name__}, no un float.")
        expect(
            abs(value - wanted) < 1e-5,
            f"{name} vale {value:.4f} y debería valer {wanted:.4f}.",
            "¿qué se compara con answers, y entre cuántos ejemplos se divide?",
        )


@check("ej3a_medida", "En modo evaluación, y dejando el lector como estaba", points=0.5)
def qa_mode(evaluate_qa, ClozeReader, AttentionOverAttention):
    reader = ClozeReader(AttentionOverAttention(6, 4, dropout=0.9), 6, 12)
    documents, questions = torch.randint(1, 12, (60, 6)), torch.randint(1, 12, (60, 3))
    reader.eval()
    with torch.no_grad():
        answers = reader(documents, questions).argmax(1)
    for training in (True, False):
        reader.train(training)
        accuracy = evaluate_qa(reader, documents, questions, answers)["accuracy"]
        expect(
            abs(accuracy - 1) < 1e-6,
            f"Un lector que acierta todo saca {accuracy:.2f}: ¿mides con el dropout puesto?",
        )
        expect(
            reader.training == training and reader.attention.dropout.training == training,
            f"El lector estaba con training={training} y has dejado otra cosa.",
        )


def number_lists(count: int, generator: torch.Generator):
    """Parejas clave–valor (claves 1–8, valores 9–16), con 2 o 3 por documento, y la pedida."""
    keys = torch.rand(count, 8, generator=generator).argsort(1)[:, :3] + 1
    values = torch.rand(count, 8, generator=generator).argsort(1)[:, :3] + 9
    documents = torch.stack([keys, values], dim=2).flatten(1)
    pairs = torch.randint(2, 4, (count,), generator=generator)
    documents[pairs == 2, 4:] = 0
    asked = (torch.rand(count, generator=generator) * pairs).long()
    rows = torch.arange(count)
    questions = torch.stack([keys[rows, asked], torch.full((count,), 17)], dim=1)
    return documents, questions, values[rows, asked]


@check("ej3a_qa", "Supera a la mayoría y a quien no lee la pregunta", points=1.5)
def answers_questions(BidirectionalAoA, QAReader, train_reader):
    generator = torch.Generator().manual_seed(0)
    train, test = number_lists(1500, generator), number_lists(300, generator)
    reader = train_reader(QAReader(BidirectionalAoA(32), 18, 32), *train, 120)
    documents, questions, answers = test
    with torch.no_grad():
        right = (reader(documents, questions).argmax(1) == answers).float().mean().item()
        swapped = reader(documents, questions.roll(1, 0)).argmax(1)
    blind = (swapped == answers).float().mean().item()
    expect(
        right > 0.8,
        f"Tras 120 pasos acierta {right:.2f}; la mayoría, {answers.bincount().max() / 300:.2f}; "
        "adivinar entre los candidatos, 0.42.",
        "¿llega al contexto lo que señala aoa? ¿está en el grafo todo lo que debe aprender?",
    )
    expect(
        blind < 0.6,
        f"Con la pregunta de otro ejemplo sigue acertando {blind:.2f}: no depende de la pregunta.",
    )


# --- 3b: fórmula ----------------------------------------------------------------------------------


def sinusoids(length: int, d: int) -> torch.Tensor:
    """La tabla `[length, d]`, número a número."""
    return torch.tensor(
        [
            [(math.cos if k % 2 else math.sin)(t / 10000 ** (2 * (k // 2) / d)) for k in range(d)]
            for t in range(length)
        ]
    )


def encoding(PositionalEncoding, *args, **kwargs):
    """La capa, en modo evaluación."""
    layer = PositionalEncoding(*args, **kwargs)
    layer.eval()
    return layer


@check("ej3b_formula", "Los valores con tamaño par", points=1.0)
def even_sizes(PositionalEncoding):
    for d in (2, 8, 32):
        expect_close(
            encoding(PositionalEncoding, d)(torch.zeros(1, 40, d)),
            sinusoids(40, d)[None],
            f"los valores de la codificación con d_model={d}",
            "canales pares, seno; impares, coseno; el exponente es 2i/d; se empieza en t = 0.",
            atol=1e-4,
        )


@check("ej3b_formula", "Los valores con tamaño impar", points=0.5)
def odd_sizes(PositionalEncoding):
    for d in (1, 5, 9):
        expect_close(
            encoding(PositionalEncoding, d)(torch.zeros(1, 40, d)),
            sinusoids(40, d)[None],
            f"los valores de la codificación con d_model={d}",
            "con tamaño impar hay un coseno menos que senos.",
            atol=1e-4,
        )


@check("ej3b_formula", "Se suma a x, y es la misma en todo el lote", points=1.0)
def added_to_every_row(PositionalEncoding):
    layer = encoding(PositionalEncoding, 8)
    zeros, x = torch.zeros(3, 6, 8), torch.randn(3, 6, 8)
    table = layer(zeros).detach()
    for row in (1, 2):
        expect_close(table[row], table[0], f"los valores del ejemplo {row} y los del 0, con x = 0")
    expect(
        bool((table[0, 1:] - table[0, :1]).abs().amax(1).min() > 1e-3),
        "Dos posiciones distintas reciben la misma codificación.",
        "la posición es el segundo eje de x.",
    )
    expected, kept = x + table, x.clone()
    expect_close(layer(x), expected, "los valores de la salida, comparados con x + PE")
    expect_close(x, kept, "los valores de x, que no deben cambiar")


@check("ej3b_formula", "ValueError si la secuencia no cabe", points=0.5)
def too_long(PositionalEncoding):
    layer = encoding(PositionalEncoding, 4, max_len=7)
    found = list(layer(torch.zeros(2, 7, 4)).shape)
    expect(found == [2, 7, 4], f"Con max_len=7, 7 posiciones caben y la salida es {found}.")
    expect_error(ValueError, lambda: layer(torch.zeros(2, 8, 4)), "Con 8 posiciones y max_len=7")


# --- 3b: módulo -----------------------------------------------------------------------------------


@check("ej3b_modulo", "No tiene parámetros", points=0.5)
def no_parameters(PositionalEncoding):
    names = [name for name, _ in PositionalEncoding(8).named_parameters()]
    expect(not names, f"Tiene parámetros: {', '.join(names)}.", "la tabla no se aprende.")


@check("ej3b_modulo", "La tabla viaja con el módulo", points=0.5)
def moves_with_the_module(PositionalEncoding):
    layer = encoding(PositionalEncoding, 8)
    expected = layer(torch.zeros(1, 5, 8)).detach()
    layer.half()
    out = layer(torch.zeros(1, 5, 8, dtype=torch.half))
    expect(
        out.dtype == torch.half,
        f"Tras `.half()`, una entrada de 16 bits sale como {out.dtype}: la tabla no se movió.",
        "register_buffer.",
    )
    expect_close(out.float(), expected, "los valores de la tabla en 16 bits", atol=5e-3)


@check("ej3b_modulo", "El dropout actúa sobre la suma, al entrenar y solo entonces", points=0.5)
def dropout_on_the_sum(PositionalEncoding):
    layer = PositionalEncoding(16, dropout=0.5)
    layer.train()
    x = torch.ones(4, 20, 16) * 5  # x + PE está entre 4 y 6: nunca es cero
    out = layer(x)
    dropped = (out == 0).float().mean().item()
    expect(
        0.3 < dropped < 0.7,
        f"Con dropout=0.5, al entrenar se anula el {dropped:.0%} de los valores.",
        "el dropout va sobre x + PE.",
    )
    kept = out[out != 0]
    expect(
        bool((kept > 7.9).all()),
        "Los valores que sobreviven al dropout deberían multiplicarse por 2.",
    )
    layer.eval()
    zeros = int((layer(x) == 0).sum())
    expect(zeros == 0, f"En modo evaluación se anulan {zeros} valores.")


# --- 3b: integrar ---------------------------------------------------------------------------------


@check("ej3b_integrar", "Las dos entradas llevan su posición, una sola vez", points=1.0)
def both_inputs(WithPositions, AttentionOverAttention):
    inner = AttentionOverAttention(6, 4, dropout=0.0)
    layer = WithPositions(inner, 6)
    layer.eval()
    document, question = torch.randn(2, 5, 6), torch.randn(2, 3, 6)
    with torch.no_grad():
        expected = inner(document + sinusoids(5, 6), question + sinusoids(3, 6))
    found = layer(document, question)
    for name, value, wanted in zip(("context", "aoa"), found, expected, strict=True):
        expect_close(
            value,
            wanted,
            f"los valores de {name}",
            "cada entrada pasa por la codificación antes de llegar a la capa, y nada más.",
        )


@check("ej3b_integrar", "Las longitudes llegan a la capa", points=0.5)
def lengths_are_passed(WithPositions, AttentionOverAttention):
    inner = AttentionOverAttention(6, 4, dropout=0.0)
    layer = WithPositions(inner, 6)
    layer.eval()
    document, question = torch.randn(2, 5, 6), torch.randn(2, 3, 6)
    doc_lengths, ques_lengths = torch.tensor([5, 2]), torch.tensor([1, 3])
    changed = question.clone()
    changed[0, 1:] = torch.randn(2, 6)
    same_document = document.clone()
    aoa = layer(document, question, doc_lengths, ques_lengths)[1]
    outside = aoa[1, 2:].abs().max().item()
    expect(outside == 0, f"aoa pone {outside:.2g} fuera de un documento de 2 palabras.")
    again = layer(same_document, changed, doc_lengths=doc_lengths, ques_lengths=ques_lengths)[1]
    expect_close(again, aoa.detach(), "los pesos al cambiar el relleno de la pregunta")


@check("ej3b_integrar", "Usa la capa que se le da, y su dropout", points=0.5)
def wraps_the_given_layer(WithPositions, AttentionOverAttention):
    inner = AttentionOverAttention(6, 4, dropout=0.0)
    layer = WithPositions(inner, 6, dropout=0.5)
    found = sum(parameter.numel() for parameter in layer.parameters())
    wanted = sum(parameter.numel() for parameter in inner.parameters())
    expect(
        found == wanted,
        f"Tiene {found} parámetros y la capa que se le dio, {wanted}.",
        "guarda la capa en un atributo; la codificación no añade parámetros.",
    )
    document, question = torch.randn(2, 5, 6), torch.randn(2, 3, 6)
    layer.train()
    first, second = layer(document, question)[1], layer(document, question)[1]
    expect(
        bool((first - second).abs().max() > 1e-6),
        "Con dropout=0.5, dos pasadas de entrenamiento dan lo mismo: ¿llega a la codificación?",
    )


# --- 3b: orden ------------------------------------------------------------------------------------


def number_races(count: int, generator: torch.Generator):
    """`[relleno, a, 9, b]`: la pregunta 10 pide el primero, y la 11, el segundo (a y b, 1–8)."""
    pair = torch.rand(count, 8, generator=generator).argsort(1)[:, :2] + 1
    documents = torch.stack(
        [torch.full((count,), 12), pair[:, 0], torch.full((count,), 9), pair[:, 1]], 1
    )
    which = torch.randint(2, (count,), generator=generator)
    questions = torch.stack([10 + which, torch.full((count,), 13)], dim=1)
    return documents, questions, pair[torch.arange(count), which]


@check("ej3b_orden", "Con posiciones, un lector sin recurrencia ve el orden", points=1.5)
def positions_teach_order(WithPositions, OrderBlindAoA, ClozeReader, train_reader):
    generator = torch.Generator().manual_seed(0)
    train, test = number_races(1000, generator), number_races(300, generator)
    layer = WithPositions(OrderBlindAoA(32, 32), 32, dropout=0.0)
    reader = train_reader(ClozeReader(layer, 32, 14), *train, 120)
    documents, questions, answers = test
    with torch.no_grad():
        right = (reader(documents, questions).argmax(1) == answers).float().mean().item()
    expect(
        right > 0.9,
        f"Acierta {right:.2f}; sin ver el orden, el azar entre los dos candidatos es 0.50.",
        "las posiciones deben llegar al documento.",
    )
