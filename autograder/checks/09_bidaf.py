"""Comprobaciones del cuaderno 09: letras (4a), residuos (4b) y preguntas y respuestas (4c).

Los oráculos son las fórmulas del enunciado, escritas con bucles o con las piezas de la lección que
las respuestas no pueden cambiar. Las tolerancias son de 1e-5, holgadas para el redondeo en
precisión simple de vectores de menos de 30 números.
"""

import math
import re
import string
import unicodedata

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

WORDS, LETTERS = 12, 9  # tamaños de los vocabularios
SIZES = (6, 4, 3, WORDS, LETTERS)  # word_dim, char_dim, d y vocabularios


def randomised(model, scale=0.7):
    """El modelo, en modo evaluación y con todos sus parámetros al azar."""
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    values = {name: torch.randn(shape) * scale for name, shape in shapes.items()}
    for name in values:
        if "embedding" in name:
            values[name][0] = 0.0  # la fila del relleno
    model.load_state_dict(values)
    model.eval()
    return model


def in_group(value, what, wanted):
    """Comprueba la forma de un tensor."""
    shape = list(value.shape)
    expect(shape == wanted, f"La forma de {what} es {shape} y debería ser {wanted}.")


# --- 4a: palabras ---------------------------------------------------------------------------------


def encoder_of(CharacterEncoder, size=6):
    encoder = CharacterEncoder(LETTERS, 5, size)
    encoder.eval()
    return encoder


@check("ej4a_palabras", "Un vector por palabra", points=0.5)
def vector_per_word(CharacterEncoder):
    for B, S, L, size in [(1, 1, 1, 2), (2, 3, 7, 6), (3, 2, 4, 8)]:
        out = CharacterEncoder(LETTERS, 5, size)(torch.randint(1, LETTERS, (B, S, L)))
        in_group(out, f"la salida con B={B}, S={S}, L={L}", [B, S, size])


@check("ej4a_palabras", "El relleno tras las letras no cuenta", points=1.0)
def letters_padding(CharacterEncoder):
    encoder = encoder_of(CharacterEncoder)
    chars = torch.randint(1, LETTERS, (2, 4, 6))
    lengths = torch.tensor([[6, 3, 1, 2], [5, 4, 6, 1]])
    chars = chars * (torch.arange(6) < lengths[..., None])
    expected = encoder(chars).detach()
    for extra in (1, 3, 8):
        expect_close(
            encoder(F.pad(chars, (0, extra))),
            expected,
            f"los vectores con {extra} letras de relleno más",
            "¿lees la última letra de verdad, o la última posición? ¿compite el relleno?",
        )
    single = torch.randint(1, LETTERS, (1, 40, 1))
    expect_close(
        encoder(F.pad(single, (0, 2))),
        encoder(single).detach(),
        "los vectores de palabras de una letra, con dos de relleno y sin él",
        "¿compite el relleno en el máximo?",
    )


@check(
    "ej4a_palabras", "Una palabra sin letras son ceros, y sus gradientes son finitos", points=0.5
)
def wordless(CharacterEncoder):
    encoder = encoder_of(CharacterEncoder)
    chars = torch.tensor([[[3, 2, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]])
    out = encoder(chars)
    expect_finite(out, "los vectores, con palabras sin letras")
    largest = out[chars.sum(2) == 0].abs().max().item()
    expect(largest == 0, f"Una palabra sin letras debería ser todo ceros y llega a {largest:.2g}.")
    out.sum().backward()
    for name, parameter in encoder.named_parameters():
        if parameter.grad is not None:
            expect_finite(parameter.grad, f"el gradiente de {name}")
    expect(
        bool((encoder(torch.zeros(1, 2, 3, dtype=torch.long)) == 0).all()),
        "Un lote en el que ninguna palabra tiene letras debería dar ceros.",
    )


@check("ej4a_palabras", "Cada palabra va por su cuenta", points=1.0)
def words_are_independent(CharacterEncoder):
    encoder = encoder_of(CharacterEncoder)
    encoder.train()  # sin dropout: da lo mismo que en evaluación
    chars = torch.randint(1, LETTERS, (2, 3, 4))
    chars[0, 1, 2:] = 0
    together = encoder(chars).detach()
    for b in range(2):
        for s in range(3):
            expect_close(
                encoder(chars[b : b + 1, s : s + 1])[0, 0],
                together[b, s],
                "los números de una palabra sola, comparada con ella misma en un lote",
                "el lote son las palabras: ¿se mezclan los ejes, o hay dropout?",
            )


# --- 4a: letras -----------------------------------------------------------------------------------


def random_words(count, length):
    """Palabras `[1, count, length]` sin letras repetidas a los lados del cambio."""
    return torch.randint(1, LETTERS, (1, count, length))


@check("ej4a_letras", "Todas las letras llegan a todo el vector", points=1.0)
def every_letter_everywhere(CharacterEncoder):
    encoder = encoder_of(CharacterEncoder)
    words = random_words(150, 4)
    base = encoder(words).detach()
    for place, name in ((0, "primera"), (1, "segunda"), (3, "última")):
        changed = words.clone()
        changed[..., place] = changed[..., place] % (LETTERS - 1) + 1
        moved = (encoder(changed) - base).abs().detach()[0] > 1e-5
        reached = int(moved.any(0).sum())
        expect(
            reached == 6,
            f"Cambiar la {name} letra no mueve nunca {6 - reached} de los 6 números.",
            "lo último que lee cada sentido está en un extremo distinto de la palabra.",
        )


@check("ej4a_letras", "Cuenta el orden", points=1.0)
def order_of_letters(CharacterEncoder):
    encoder = encoder_of(CharacterEncoder)
    words = torch.stack([torch.randperm(LETTERS - 1)[:5] + 1 for _ in range(40)])[None]
    difference = (encoder(words) - encoder(words.flip(2))).abs().amax(2)[0]
    same = int((difference < 1e-5).sum())
    expect(
        same == 0,
        f"{same} de 40 palabras dan lo mismo que sus inversas.",
        "sumar o promediar las letras pierde el orden.",
    )


def far_letters_difference(encoder) -> float:
    """Lo que cambian 60 palabras al intercambiar dos letras separadas por cinco."""
    pairs = [torch.randperm(LETTERS - 2)[:2] + 2 for _ in range(60)]
    words, swapped = torch.ones(60, 16, dtype=torch.long), torch.ones(60, 16, dtype=torch.long)
    for row, (a, b) in enumerate(pairs):  # …a····b… y …b····a…: a cinco letras, entre unos iguales
        words[row, 5], words[row, 10] = a, b
        swapped[row, 5], swapped[row, 10] = b, a
    return (encoder(words[None]) - encoder(swapped[None])).abs().max().item()


@check("ej4a_letras", "Ve más allá de una ventana de cinco letras", points=1.0)
def beyond_a_window(CharacterEncoder):
    expect(
        far_letters_difference(encoder_of(CharacterEncoder)) > 1e-5,
        "Intercambiar dos letras separadas por cinco no cambia nada en 60 palabras.",
        "una convolución de ancho 5 y un máximo solo ven ventanas sueltas.",
    )


# --- 4a: integrar ---------------------------------------------------------------------------------


def words_and_letters(B=2, S=5, L=4):
    words, chars = torch.randint(2, WORDS, (B, S)), torch.randint(1, LETTERS, (B, S, L))
    chars[:, 1, 2:] = 0
    return words, chars


def sinusoids(length, d):
    """La codificación posicional `[length, d]`, número a número."""
    return torch.tensor(
        [
            [(math.cos if k % 2 else math.sin)(t / 10000 ** ((k - k % 2) / d)) for k in range(d)]
            for t in range(length)
        ]
    )


@check("ej4a_union", "Concatena la palabra y sus letras", points=1.0)
def joins_words_and_letters(CharacterBiDAF):
    model = CharacterBiDAF(*SIZES)
    model.eval()
    words, chars = words_and_letters()
    with torch.no_grad():
        expected = torch.cat([model.word_embedding(words), model.char_encoder(chars)], dim=-1)
    expect_close(
        model.embed(words, chars),
        expected,
        "los números de embed",
        "palabra y letras, en ese orden.",
    )
    expect(
        far_letters_difference(model.char_encoder) > 1e-5,
        "char_encoder no distingue dos letras lejanas cambiadas de sitio: ¿es tu CharacterEncoder?",
        "BiDAF ya trae una CharacterCNN: hay que cambiarla por la tuya.",
    )


@check("ej4a_union", "Con positions=True, suma la posición; sin él, no", points=1.0)
def adds_positions(CharacterBiDAF):
    words, chars = words_and_letters()
    for positions in (False, True):
        model = CharacterBiDAF(*SIZES, positions=positions)
        model.train()  # la codificación no lleva dropout
        with torch.no_grad():
            joined = torch.cat([model.word_embedding(words), model.char_encoder(chars)], dim=-1)
        expected = joined + sinusoids(5, 10) * positions
        expect_close(
            model.embed(words, chars),
            expected,
            f"los números de embed con positions={positions}",
            "la codificación se suma a la concatenación entera, una vez, y sin dropout.",
            atol=1e-4,
        )
    long = torch.randint(1, WORDS, (1, 1000))
    in_group(model.embed(long), "embed con 1000 palabras", [1, 1000, 10])


@check("ej4a_union", "Las letras pueden faltar, y el relleno no mueve nada", points=0.5)
def optional_letters(CharacterBiDAF):
    model = CharacterBiDAF(*SIZES)
    model.eval()
    words, chars = words_and_letters()
    with torch.no_grad():
        expected = torch.cat([model.word_embedding(words), torch.zeros(2, 5, 4)], dim=-1)
    expect_close(model.embed(words), expected, "los números de embed sin letras")
    start = model(words, words[:, :3], chars, chars[:, :3])[0].detach()
    padded = [F.pad(x, (0, 3)) for x in (words, words[:, :3])]
    letters = [F.pad(x, (0, 2, 0, 3)) for x in (chars, chars[:, :3])]
    found = model(*padded, *letters)[0]
    expect_close(found[:, :5], start, "las puntuaciones con más relleno")


# --- 4a: medir ------------------------------------------------------------------------------------


def labelled(model, count=160):
    """Datos con aciertos repartidos, y las cuatro cifras que deben salir."""
    data = {
        "context": torch.randint(2, WORDS, (count, 6)),
        "query": torch.randint(2, WORDS, (count, 3)),
        "context_char": torch.randint(1, LETTERS, (count, 6, 3)),
        "query_char": torch.randint(1, LETTERS, (count, 3, 3)),
    }
    rare = torch.rand(count) < 0.4
    data["query"][rare, torch.randint(3, (int(rare.sum()),))] = 1
    names = ("context", "query", "context_char", "query_char")
    with torch.no_grad():
        answers = [
            torch.stack([scores.argmax(1) for scores in model(*(data[name] for name in given))], 1)
            for given in (names, names[:2])
        ]
    kind = torch.rand(count)[:, None] + 0.3 * rare[:, None]
    gold = torch.where(kind < 0.3, answers[0], torch.where(kind < 0.7, answers[1], 0))
    gold[::5, 1] = (gold[::5, 1] + 1) % 6  # aciertan el principio y fallan el fin
    data |= {"start": gold[:, 0].clone(), "end": gold[:, 1].clone()}
    figures = {}
    for suffix, found in zip(("", "_without_chars"), answers, strict=True):
        right = (found == gold).all(1)
        figures["known" + suffix] = right[~rare].float().mean().item()
        figures["unknown" + suffix] = right[rare].float().mean().item()
    return data, figures


@check("ej4a_medida", "Las cuatro cifras son las de la tabla", points=1.0)
def effect_figures(character_effect, BiDAF):
    model = randomised(BiDAF(*SIZES), 1.5)
    data, expected = labelled(model)
    found = character_effect(model, data)
    for name, wanted in expected.items():
        value = found[name]
        expect(isinstance(value, float), f"{name} es un {type(value).__name__}, no un float.")
        expect(
            abs(value - wanted) < 1e-5,
            f"{name} vale {value:.4f} y debería valer {wanted:.4f}.",
            "los dos extremos a la vez, y cada grupo entre los suyos.",
        )
    known = (data["query"] != 1).all(1)
    found = character_effect(model, {name: tensor[known] for name, tensor in data.items()})
    expect(
        found["unknown"] is None and found["unknown_without_chars"] is None,
        f"Sin preguntas con palabras desconocidas, sus cifras son None; sale {found['unknown']}.",
    )


@check("ej4a_medida", "En modo evaluación, y dejando el modelo como estaba", points=0.5)
def effect_mode(character_effect, BiDAF):
    model = randomised(BiDAF(*SIZES, dropout=0.9), 1.5)
    data, expected = labelled(model)
    for training in (True, False):
        model.train(training)
        found = character_effect(model, data)["known"]
        expect(
            abs(found - expected["known"]) < 1e-5,
            f"known vale {found:.3f} y en modo evaluación es {expected['known']:.3f}.",
        )
        expect(
            model.training == training and model.dropout.training == training,
            f"El modelo estaba con training={training} y has dejado otra cosa.",
        )


# --- 4b: la conexión ------------------------------------------------------------------------------


@check("ej4b_suma", "Con la rama a cero, el salto y nada más", points=1.0)
def zero_branch(ResidualConnection):
    for input_dim, output_dim in ((5, 5), (3, 8), (8, 2)):
        layer = ResidualConnection(input_dim, output_dim)
        layer.eval()
        state = layer.state_dict()
        x = torch.randn(2, 4, input_dim)
        if input_dim == output_dim:
            expect(
                "project.weight" not in state, "Con tamaños iguales, project no lleva parámetros."
            )
            expected = x.clone()
        else:
            expect("project.weight" in state, "Falta el parámetro project.weight.")
            expect("project.bias" not in state, "La proyección del salto no lleva sesgo.")
            expected = F.linear(x, state["project.weight"])
        expect_close(
            layer(x, torch.zeros(2, 4, output_dim)),
            expected,
            f"los números de res(x, 0), de {input_dim} a {output_dim}",
            "el salto no se normaliza, no pasa por el dropout y se suma una vez.",
        )


@check("ej4b_suma", "La rama: LayerNorm de cada vector", points=1.0)
def normalised_branch(ResidualConnection):
    for input_dim, output_dim in ((5, 5), (3, 8)):
        layer = randomised(ResidualConnection(input_dim, output_dim, dropout=0.5), 1.0)
        state = layer.state_dict()
        for name in ("norm.weight", "norm.bias"):
            expect(name in state, f"Falta el parámetro {name}.", "mira la tabla del enunciado.")
        x, y = torch.randn(2, 4, input_dim), torch.randn(2, 4, output_dim) * 3 + 1
        skip = F.linear(x, state["project.weight"]) if input_dim != output_dim else x
        norm = F.layer_norm(y, (output_dim,), state["norm.weight"], state["norm.bias"])
        expect_close(
            layer(x, y),
            skip + norm,
            f"los números de res(x, y), de {input_dim} a {output_dim}",
            "se normaliza y, no la suma, y en modo evaluación no hay dropout.",
        )


@check("ej4b_suma", "El gradiente pasa por el salto", points=0.5)
def gradient_through_the_skip(ResidualConnection):
    for input_dim, output_dim in ((4, 4), (3, 6)):
        layer = ResidualConnection(input_dim, output_dim)
        layer.eval()
        state = layer.state_dict()
        weight = torch.eye(4) if input_dim == output_dim else state["project.weight"]
        x, y = (
            torch.randn(2, input_dim).requires_grad_(),
            torch.randn(2, output_dim).requires_grad_(),
        )
        coefficients = torch.randn(2, output_dim)
        out = layer(x, y)
        expect(out.requires_grad, "La salida no depende de x ni de y: ¿hay un detach?")
        (out * coefficients).sum().backward()
        expect(x.grad is not None, "A x no le llega ningún gradiente.", "¿hay un detach?")
        expect_close(x.grad, coefficients @ weight, "los números del gradiente de x")
        expect(y.grad is not None, "A y no le llega ningún gradiente.", "¿hay un detach?")


@check("ej4b_suma", "El dropout, solo en la rama y solo al entrenar", points=0.5)
def dropout_on_the_branch(ResidualConnection):
    layer = ResidualConnection(40, 40, dropout=0.5)
    layer.train()
    x = torch.full((4, 10, 40), 100.0)
    branch = (layer(x, torch.randn(4, 10, 40)) - x).detach()
    lowest = branch.min().item()
    expect(
        lowest > -20,
        f"Al entrenar, algún valor del salto se pierde (la salida baja {-lowest:.0f}).",
        "el dropout va sobre la rama, antes de sumar.",
    )
    dropped = (branch.abs() < 1e-4).float().mean().item()
    expect(
        0.3 < dropped < 0.7,
        f"Con dropout=0.5, al entrenar se anula el {dropped:.0%} de la rama.",
    )


# --- 4b: las capas --------------------------------------------------------------------------------


def flow(state, C, Q, context_mask, question_mask):
    """G `[B, T, 8d]`, ejemplo a ejemplo y sin relleno, con los pesos de `attention_flow`."""
    w_c, w_q, w_cq = (state[f"attention_flow.W_{name}.weight"][0] for name in ("c", "q", "cq"))
    G = torch.zeros(*C.shape[:2], 4 * C.size(2))
    for b in range(len(C)):
        c, q = C[b, context_mask[b]], Q[b, question_mask[b]]
        S = (c @ w_c)[:, None] + (q @ w_q)[None] + (c * w_cq) @ q.T
        u, h = S.softmax(1) @ q, S.amax(1).softmax(0) @ c
        G[b, context_mask[b]] = torch.cat([c, u, c * u, c * h], dim=1)
    return G


def residual(state, name, x, y):
    """`W x + LayerNorm(y)` con los pesos de una conexión."""
    for parameter in ("project.weight", "norm.weight", "norm.bias"):
        expect(f"{name}.{parameter}" in state, f"Falta el parámetro {name}.{parameter}.")
    weight, bias = state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]
    skip = F.linear(x, state[f"{name}.project.weight"])
    return skip + F.layer_norm(y, y.shape[-1:], weight, bias)


def read_examples(B=3, T=5, J=4, d=3):
    """Vectores ya leídos, con ceros en el relleno, y sus máscaras."""
    masks = [
        torch.arange(size) < torch.tensor(lengths)[:, None]
        for size, lengths in ((T, [5, 2, 4]), (J, [3, 4, 1]))
    ]
    vectors = [torch.randn(B, m.size(1), 2 * d) * m[..., None] for m in masks]
    return *vectors, *masks


@check("ej4b_capas", "Después de AttentionFlow: C proyectado, más la atención", points=1.5)
def residual_after_flow(ResidualBiDAF):
    model = randomised(ResidualBiDAF(*SIZES))
    state = model.state_dict()
    C, Q, *masks = read_examples()
    expected = residual(state, "flow_residual", C, flow(state, C, Q, *masks))
    found = model.attend(C, Q, *masks)
    in_group(found, "attend", list(expected.shape))
    expect_close(
        found[masks[0]],
        expected[masks[0]],
        "los números de G'",
        "G' = res(C, G), y las máscaras llegan a la atención.",
        atol=1e-4,
    )


@check("ej4b_capas", "Después de ModelingLayer: G' proyectado, más lo modelado", points=1.5)
def residual_after_modeling(ResidualBiDAF):
    model = randomised(ResidualBiDAF(*SIZES))
    state = model.state_dict()
    mask = read_examples()[2]
    G = torch.randn(3, 5, 24)
    with torch.no_grad():
        M = model.modeling_layer(G, mask)
    expected = residual(state, "modeling_residual", G, M)
    found = model.model(G, mask)
    in_group(found, "model", list(expected.shape))
    expect_close(
        found[mask],
        expected[mask],
        "los números de M'",
        "M' = res(G', M), y la máscara llega a la capa.",
        atol=1e-4,
    )


@check("ej4b_capas", "Las puntuaciones usan los dos, y el relleno no las mueve", points=1.0)
def residual_forward(ResidualBiDAF):
    model = randomised(ResidualBiDAF(*SIZES, dropout=0.3))
    words, chars = words_and_letters()
    asked, asked_chars = words.flip(1)[:, :3], chars.flip(1)[:, :3]
    with torch.no_grad():
        (C, mask), (Q, asked_mask) = model.read(words, chars), model.read(asked, asked_chars)
        G = model.attend(C, Q, mask, asked_mask)
        expected = model.output_layer(G, model.model(G, mask), mask)
    found = model(words, asked, chars, asked_chars)
    for name, value, wanted in zip(("start", "end"), found, expected, strict=True):
        expect_close(value, wanted, f"las puntuaciones de {name}", atol=1e-4)
    wider = [F.pad(words, (0, 4)), F.pad(asked, (0, 2))]
    wider += [F.pad(chars, (0, 0, 0, 4)), F.pad(asked_chars, (0, 0, 0, 2))]
    padded = model(*wider)
    for name, value, wanted in zip(("start", "end"), padded, expected, strict=True):
        expect_close(value[:, :5], wanted, f"las puntuaciones de {name}, con relleno", atol=1e-4)
    model.train()
    first, second = model(words, asked, chars, asked_chars)[0], model(words, asked)[0]
    expect(bool(first.isfinite().all()), "En modo entrenamiento hay puntuaciones no finitas.")
    expect(bool((first - second).abs().max() > 1e-6), "Las puntuaciones no dependen de las letras.")


# --- 4b: los gradientes ---------------------------------------------------------------------------


def small_batch(B=4, T=6, J=3):
    start = torch.randint(T, (B,))
    return {
        "context": torch.randint(2, WORDS, (B, T)),
        "query": torch.randint(2, WORDS, (B, J)),
        "context_char": torch.randint(1, LETTERS, (B, T, 3)),
        "query_char": torch.randint(1, LETTERS, (B, J, 3)),
        "start": start,
        "end": start,
    }


def gradients(model):
    """El gradiente de cada parámetro que lo tiene."""
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@check("ej4b_normas", "La norma de todo el gradiente de cada capa", points=1.5)
def norms_of_the_gradient(gradient_norms, BiDAF, span_loss):
    model, batch = BiDAF(*SIZES, dropout=0.0), small_batch()
    span_loss(model, batch).backward()
    expected = {}
    for name, gradient in gradients(model).items():
        layer = name.split(".")[0]
        expected[layer] = expected.get(layer, 0.0) + gradient.double().pow(2).sum().item()
    found = gradient_norms(model, batch)  # los gradientes de antes siguen ahí: no deben sumarse
    for name, value in found.items():
        wanted = math.sqrt(expected[name])
        expect(isinstance(value, float), f"{name} es un {type(value).__name__}, no un float.")
        expect(
            abs(value - wanted) < 1e-4 * max(1.0, wanted),
            f"La norma de {name} sale {value:.5f} y es {wanted:.5f}.",
            "la raíz de la suma de los cuadrados de todos los números, solo de esta pérdida.",
        )


@check("ej4b_normas", "El modelo queda igual y sin gradientes", points=0.5)
def no_side_effects(gradient_norms, BiDAF, span_loss):
    model, batch = BiDAF(*SIZES, dropout=0.0), small_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = gradient_norms(model, batch)
    left = max((g.abs().max().item() for g in gradients(model).values()), default=0.0)
    expect(left == 0, f"Después de medir queda un gradiente de {left:.2g}.")
    for name, value in model.state_dict().items():
        expect_close(value, before[name], f"los valores de {name}, que no debe cambiar", atol=0.0)
    expect(first == gradient_norms(model, batch), "Medir dos veces lo mismo da normas distintas.")


# --- 4c: simular ----------------------------------------------------------------------------------

PEOPLE = {"Ana", "Luis", "Marta", "Pedro", "Lucía", "Diego", "Elena", "Hugo", "Rosa", "Iván"}


def named(words):
    """Las personas que nombran unas palabras, en orden y sin repetir."""
    return list(dict.fromkeys(word for word in words if word in PEOPLE))


@check("ej4c_simular", "Tramos válidos, de varias longitudes y en varios sitios", points=1.0)
def valid_spans(simulate_qa):
    stories = simulate_qa(300, 7)
    expect(len(stories) == 300, f"Pedí 300 historias y hay {len(stories)}.")
    spans, lengths = [], []
    for context, question, start, end in stories:
        inside = 0 <= start <= end < len(context)
        expect(inside, f"El tramo {start}–{end} no cabe en {len(context)} palabras.")
        answer = context[start : end + 1]
        expect(len(answer) <= 4, f"La respuesta {answer} tiene más de 4 palabras.")
        expect(
            not set(answer) <= set(question) and not set(answer) & PEOPLE,
            f"La respuesta {answer} no debe estar en la pregunta ni nombrar a nadie de PEOPLE.",
        )
        signs = [word for word in (answer[0], answer[-1]) if not any(map(str.isalnum, word))]
        expect(not signs, f"La respuesta {answer} empieza o acaba en un signo.")
        spans.append((start, end))
        lengths.append(len(answer))
    expect(len(set(lengths)) > 1, f"Todas las respuestas tienen {lengths[0]} palabras.")
    share = max(spans.count(span) for span in set(spans)) / 300
    expect(share < 0.5, f"El mismo tramo es la respuesta del {share:.0%} de las historias.")


@check("ej4c_simular", "La pregunta decide entre varias personas", points=1.0)
def question_decides(simulate_qa):
    first = 0
    for context, question, start, _ in simulate_qa(300, 8):
        people, asked = named(context), named(question)
        expect(
            len(people) >= 2, f"El contexto {' '.join(context)} nombra a {len(people)} personas."
        )
        expect(len(asked) == 1, f"La pregunta {' '.join(question)} nombra a {len(asked)} personas.")
        expect(asked[0] in people, f"La pregunta es por {asked[0]}, que no está en el contexto.")
        nearest = min(
            people, key=lambda who: min(abs(i - start) for i, w in enumerate(context) if w == who)
        )
        expect(
            nearest == asked[0],
            f"Se pregunta por {asked[0]} y la respuesta está junto a {nearest}: {context}.",
            "¿el tramo es de la persona por la que se pregunta?",
        )
        first += people[0] == asked[0]
    expect(
        30 < first < 250,
        f"Se pregunta por la primera persona del contexto {first} de 300 veces.",
        "la pregunta debe decidir, no el sitio.",
    )


def as_lists(stories):
    """Las historias, con listas donde pueda haber tuplas."""
    return [[list(p) if isinstance(p, list | tuple) else p for p in story] for story in stories]


@check("ej4c_simular", "La semilla manda", points=0.5)
def seeded(simulate_qa):
    first, again, other = (as_lists(simulate_qa(30, seed)) for seed in (5, 5, 6))
    expect(first == again, "Dos llamadas con la misma semilla dan historias distintas.")
    expect(first != other, "Dos semillas distintas dan las mismas historias.")


# --- 4c: el tramo ---------------------------------------------------------------------------------


def best_span(start, end, allowed, max_length):
    """La mejor suma de un ejemplo, probando todos los tramos."""
    return max(
        start[s] + end[e]
        for s in range(len(start))
        for e in range(s, min(s + max_length, len(start)))
        if allowed[s] and allowed[e]
    )


@check("ej4c_tramo", "El mejor de todos los tramos, en 200 casos", points=1.5)
def decode_by_brute_force(decode_span):
    for T, max_length in ((1, 15), (7, 15), (9, 3), (12, 1)):
        start, end = torch.randn(50, T) - 4, torch.randn(50, T) - 4
        first, last = decode_span(start, end, max_length=max_length)
        in_group(first, "los principios", [50])
        for b, (s, e) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            case = f"Con T={T} y max_length={max_length}, sale el tramo {s}–{e}"
            expect(0 <= s <= e < T, f"{case}, que no es válido.")
            expect(e - s < max_length, f"{case}, que tiene {e - s + 1} palabras.")
            best = best_span(start[b].tolist(), end[b].tolist(), [True] * T, max_length)
            found = (start[b, s] + end[b, e]).item()
            expect(
                abs(found - best) < 1e-5,
                f"{case}, que suma {found:.3f}; hay uno que suma {best:.3f}.",
                "los dos extremos se eligen juntos.",
            )


@check("ej4c_tramo", "El relleno no se señala nunca", points=1.0)
def decode_with_mask(decode_span):
    start, end = torch.randn(40, 8) * 3, torch.randn(40, 8) * 3
    lengths = torch.arange(40) % 8 + 1
    mask = torch.arange(8) < lengths[:, None]
    start[~mask] = end[~mask] = 50.0
    for kind in (mask, mask.float(), mask.long()):
        first, last = decode_span(start, end, kind, 4)
        for b, (s, e) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            case = f"Con {lengths[b]} palabras y una máscara {kind.dtype}, sale el tramo {s}–{e}"
            expect(s <= e < lengths[b], f"{case}.", "la máscara vale para los dos extremos.")
            best = best_span(start[b].tolist(), end[b].tolist(), mask[b].tolist(), 4)
            found = (start[b, s] + end[b, e]).item()
            expect(abs(found - best) < 1e-5, f"{case}; hay otro mejor.")


@check("ej4c_tramo", "Menos infinito y puntuaciones muy grandes", points=0.5)
def decode_extremes(decode_span):
    low = float("-inf")
    start = torch.tensor([[low, 2.0, low, 1.0], [-500.0, -400.0, low, low]])
    end = torch.tensor([[3.0, low, 1.0, 0.0], [-300.0, -450.0, low, low]])
    kept = start.clone(), end.clone()
    first, last = decode_span(start, end)
    found = [*zip(first.tolist(), last.tolist(), strict=True)]
    expect(found == [(1, 2), (0, 0)], f"Los tramos son (1, 2) y (0, 0), y salen {found}.")
    for name, value, wanted in zip(("start", "end"), (start, end), kept, strict=True):
        expect(bool((value == wanted).all()), f"Has cambiado los valores de {name}.")


# --- 4c: EM y F1 ----------------------------------------------------------------------------------


def official(text):
    """La normalización del programa oficial de SQuAD, en inglés."""
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def spanish(text):
    """La del enunciado, en español."""
    text = unicodedata.normalize("NFC", text).lower()
    kept = "".join(
        char
        for char in text
        if char not in string.punctuation and not unicodedata.category(char).startswith("P")
    )
    return " ".join(re.sub(r"\b(el|la|los|las|un|una|unos|unas)\b", " ", kept).split())


TEXTS = [
    "The  Cat, an apple; a (small) dog!",
    "theatre banana Athens",
    "U.S. $1,000 — a-b",
    "the",
    "",
    "¿El río Ebro?",
    "«Las lanas» de los alanos…",
    "la-la, un/una unos. UNAS",
    "E\u0301l can\u0301a\u0301",
    "Él y la canción: ¡LOS ÁNGELES!",
    "un\u00a0libro  del\tmar\n",
    "10 % de 3,5 €",
]


@check("ej4c_reglas", "Las reglas del inglés son las oficiales", points=0.5)
def english_rules(normalize_answer):
    for text in TEXTS:
        found, wanted = normalize_answer(text, "en"), official(text)
        expect(found == wanted, f"En inglés, {text!r} queda {found!r} y debería quedar {wanted!r}.")


@check("ej4c_reglas", "Las reglas del español", points=1.0)
def spanish_rules(normalize_answer):
    for text in TEXTS:
        found, wanted = normalize_answer(text), spanish(text)
        expect(
            found == wanted, f"En español, {text!r} queda {found!r} y debería quedar {wanted!r}."
        )
    expect_error(ValueError, lambda: normalize_answer("hola", "fr"), "Con language='fr'")


@check("ej4c_medidas", "EM: alguna de las buenas, normalizadas", points=1.0)
def exact_matches(exact_match, f1_score):
    cases = [
        ("El río", ["la casa", "río."], 1.0),
        ("río", ["río grande"], 0.0),
        ("rio", ["río"], 0.0),
        ("", [""], 1.0),
        ("el", ["un"], 1.0),
        ("", ["mar"], 0.0),
        ("mar", [""], 0.0),
        ("UNA tarta", ["¡tarta!"], 1.0),
    ]
    for prediction, golds, wanted in cases:
        found = exact_match(prediction, golds)
        expect(
            found == wanted and isinstance(found, float | int),
            f"El EM de {prediction!r} con {golds} sale {found} y es {wanted}.",
        )
    found = exact_match("el mar", ["mar"], "en"), exact_match("the sea", ["sea"], language="en")
    expect(found == (0.0, 1.0), f"En inglés, los EM de «el mar» y «the sea» salen {found}.")


@check("ej4c_medidas", "F1: precisión y cobertura, con repeticiones", points=1.0)
def f1_values(exact_match, f1_score):
    cases = [
        ("tarta de miel", ["tarta"], 0.5),
        ("tarta", ["tarta de miel"], 0.5),
        ("a a b", ["a a c"], 2 / 3),
        ("pan", ["pan pan pan"], 0.5),
        ("dos libros viejos", ["dos libros"], 0.8),
        ("dos libros", ["dos libros"], 1.0),
        ("El mar", ["¿mar?"], 1.0),
    ]
    for prediction, golds, wanted in cases:
        found = f1_score(prediction, golds)
        expect(
            abs(found - wanted) < 1e-6,
            f"El F1 de {prediction!r} con {golds} sale {found:.4f} y es {wanted:.4f}.",
            "las repeticiones cuentan, y la precisión y la cobertura también.",
        )


@check("ej4c_medidas", "F1: la mejor de las buenas, y las vacías", points=0.5)
def f1_edges(exact_match, f1_score):
    cases = [
        ("casa roja", ["mar", "casa", "casa roja grande"], 0.8),
        ("casa", ["mar"], 0.0),
        ("", [""], 1.0),
        ("la", ["un", "mar"], 1.0),
        ("", ["mar"], 0.0),
        ("mar", ["la"], 0.0),
    ]
    for prediction, golds, wanted in cases:
        found = f1_score(prediction, golds)
        expect(
            abs(found - wanted) < 1e-6,
            f"El F1 de {prediction!r} con {golds} sale {found:.4f} y es {wanted:.4f}.",
        )
    found = f1_score("el mar", ["mar"], "en")
    expect(abs(found - 2 / 3) < 1e-6, f"En inglés, el F1 de «el mar» con «mar» sale {found:.4f}.")


# --- 4c: aprender, medir y elegir -----------------------------------------------------------------


def number_stories(count, generator):
    """Tres parejas clave–valor por texto (claves 2–9, valores 10–17).

    La pregunta nombra las tres claves: tras el 18, la que vale; tras el 19, las otras.
    """
    keys = torch.rand(count, 8, generator=generator).argsort(1)[:, :3] + 2
    values = torch.rand(count, 8, generator=generator).argsort(1)[:, :3] + 10
    asked = torch.randint(3, (count,), generator=generator)
    rows = torch.arange(count)
    key, *others = (keys[rows, (asked + i) % 3] for i in range(3))
    yes, no = torch.full((count,), 18), torch.full((count,), 19)
    before = torch.stack([yes, key, no, *others], dim=1)
    after = torch.stack([no, *others, yes, key], dim=1)
    flip = torch.rand(count, 1, generator=generator) < 0.5
    return {
        "context": torch.stack([keys, values], dim=2).flatten(1),
        "query": torch.where(flip, before, after),
        "start": 2 * asked + 1,
        "end": 2 * asked + 1,
    }


def right_spans(model, data):
    """Fracción de tramos acertados, en el modo en que esté el modelo."""
    with torch.no_grad():
        start, end = model(data["context"], data["query"])
    return (
        ((start.argmax(1) == data["start"]) & (end.argmax(1) == data["end"])).float().mean().item()
    )


@check("ej4c_aprende", "La pregunta decide: más de 0.8 con tres claves", points=2.0)
def learns(build_reader, train_reader):
    generator = torch.Generator().manual_seed(0)
    train, test = number_stories(600, generator), number_stories(300, generator)
    model = build_reader(20)
    train_reader(model, train, 2, 1e-2)
    found = right_spans(model, test)
    expect(
        found > 0.8,
        f"Tras dos vueltas a 600 ejemplos acierta {found:.2f}; el azar entre los tres da 0.33.",
        "¿llega la pregunta, palabra a palabra? ¿se dan los pasos? ¿se barajan los datos?",
    )


@check("ej4c_aprende", "Pérdidas, modos y lotes", points=1.0)
def training_loop(build_reader, train_reader):
    data = number_stories(70, torch.Generator().manual_seed(0))
    model = build_reader(20)
    model.eval()
    with torch.no_grad():
        start, end = model(data["context"], data["query"])
        initial = F.cross_entropy(start, data["start"]) + F.cross_entropy(end, data["end"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = train_reader(model, data, 1, 0.0)
    expect(
        len(losses) == 1 and isinstance(losses[0], float),
        f"Con epochs=1 debería devolver una lista con un float, y devuelve {losses}.",
    )
    expect(
        abs(losses[0] - initial.item()) < 0.3,
        f"Con lr=0, la pérdida media debería rondar {initial:.2f} y sale {losses[0]:.2f}.",
        "span_loss, de media entre los lotes de una vuelta.",
    )
    for name, value in model.state_dict().items():
        expect_close(value, before[name], f"los valores de {name}, con lr=0", atol=1e-7)
    expect(not model.training, "Al terminar, el modelo debería quedar en modo evaluación.")
    expect(train_reader(model, data, 0, 1e-2) == [], "Con epochs=0 no hay ninguna pérdida.")
    dropping = build_reader(20, 0.6)
    dropping.train()
    first, second = (dropping(data["context"], data["query"])[0] for _ in range(2))
    expect(
        bool((first - second).abs().max() > 1e-6),
        "Con dropout=0.6, dos pasadas de entrenamiento dan lo mismo: ¿llega al modelo?",
    )


@check("ej4c_mide", "EM y F1 con el mejor tramo", points=1.0)
def evaluates(
    evaluate_reader,
    decode_span,
    exact_match,
    f1_score,
    BiDAF,
    make_stories,
    to_tensors,
    QAExample,
):
    examples = list(make_stories(24, 11))
    words = {w.lower() for e in examples for w in [*e.context_tokens, *e.question_tokens]}
    vocabulary = {word: i for i, word in enumerate(sorted(words), start=2)}
    model = randomised(BiDAF(6, 4, 3, len(words) + 2, 200, dropout=0.5), 1.2)
    data = to_tensors(examples, vocabulary)
    with torch.no_grad():
        scores = model(*(data[n] for n in ("context", "query", "context_char", "query_char")))
        spans = decode_span(*(s.detach() for s in scores), data["context"] != 0)
    relabelled, em, f1 = [], 0.0, 0.0
    for i, (e, s, f) in enumerate(zip(examples, *(x.tolist() for x in spans), strict=True)):
        text = e.text(s, f)
        golds = [["nada"], ["nada", f"la {text.upper()}!"], [f"nada {text}"]][i % 3]
        written = e.context, e.context_tokens, e.offsets, e.question_tokens
        relabelled.append(QAExample(*written, golds, s, f))
        em += exact_match(text, golds) / 24
        f1 += f1_score(text, golds) / 24
    model.train()
    found = evaluate_reader(model, relabelled, vocabulary)
    for name, wanted in (("em", em), ("f1", f1)):
        expect(
            abs(found[name] - wanted) < 1e-5,
            f"{name} sale {found[name]:.4f} y es {wanted:.4f}, con tus métricas y tu decode_span.",
            "en modo evaluación, el texto del mejor tramo, y la media de cada métrica.",
        )


@check("ej4c_elige", "Cada combinación, desde la misma semilla y con validación", points=1.5)
def tunes(tune):
    generator = torch.Generator().manual_seed(0)
    train, validation = number_stories(96, generator), number_stories(200, generator)
    still, moving = ({"lr": lr, "epochs": 1, "dropout": 0.0} for lr in (0.0, 3e-3))
    grid = [moving, still, {"lr": 3e-3, "epochs": 2, "dropout": 0.0}, dict(moving), dict(still)]
    kept = [dict(row) for row in grid]
    best, results = tune(train, validation, 20, grid)
    expect(
        [{k: row[k] for k in kept[0]} for row in results] == kept,
        "results debería tener cada combinación, en el orden de grid, con sus tres valores.",
    )
    scores = [float(row["score"]) for row in results]
    for a, b in ((0, 3), (1, 4)):
        expect(
            scores[a] == scores[b],
            f"Las combinaciones {a} y {b} son iguales y sacan {scores[a]:.3f} y {scores[b]:.3f}.",
            "un modelo nuevo cada vez, creado después de fijar la semilla.",
        )
    expect(len(set(scores)) > 1, f"Todas las combinaciones sacan lo mismo, {scores[0]:.3f}.")
    expect(
        {k: best[k] for k in kept[0]} in [kept[i] for i in range(5) if scores[i] == max(scores)],
        f"La mejor debería ser la de {max(scores):.3f} y es {best}.",
    )
    impossible = dict(validation, end=torch.zeros_like(validation["end"]))
    impossible["start"] = torch.full_like(validation["start"], 6)
    _, results = tune(train, impossible, 20, [moving])
    expect(
        float(results[0]["score"]) == 0.0,
        f"Con una validación imposible de acertar, score es {results[0]['score']:.3f} y no 0.",
        "¿mides con los datos de entrenamiento?",
    )
