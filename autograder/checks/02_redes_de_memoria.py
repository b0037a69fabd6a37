"""Comprobaciones del cuaderno 02: `SentenceEncoder` (02a) y `AdjacentMemory` (02b).

Los oráculos son las fórmulas del enunciado: en 02a, con bucles; en 02b, historia a historia y
recortada a sus frases y palabras. Las tolerancias son de 1e-5: con vectores de 6 números y tres
saltos, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

V, D, M = 9, 6, 7  # palabras, tamaño de los vectores y frases que caben


# --- Oráculo del ejercicio 02a --------------------------------------------------------------------


def sentence_weights(J: int, d: int) -> torch.Tensor:
    """Los pesos `[J, d]` de una frase de J palabras, casilla a casilla."""
    rows = [
        [(1 - j / J) - k / d * (1 - 2 * j / J) for k in range(1, d + 1)] for j in range(1, J + 1)
    ]
    return torch.tensor(rows).reshape(J, d)


def padded_weights(lengths: list[int], max_len: int, d: int) -> torch.Tensor:
    """Los de varias frases, con ceros en el relleno: `[len(lengths), max_len, d]`."""
    return torch.stack([F.pad(sentence_weights(J, d), (0, 0, 0, max_len - J)) for J in lengths])


# --- 02a: pesos -----------------------------------------------------------------------------------


@check("ej02a_pesos", "La fórmula, en frases sin relleno", points=1.0)
def weights_are_the_formula(position_weights):
    for J, d in ((4, 6), (5, 3), (1, 4)):
        expect_close(
            position_weights(torch.tensor([J, J]), J, d),
            padded_weights([J, J], J, d),
            f"los pesos de frases de {J} palabras, con d = {d}",
            "j y k empiezan en 1; los lugares son el penúltimo eje, y los canales, el último.",
        )


@check("ej02a_pesos", "Cada frase, con su longitud", points=1.0)
def each_sentence_has_its_length(position_weights):
    lengths = [6, 2, 4, 1]
    found = position_weights(torch.tensor(lengths), 6, D)
    for row, J in enumerate(lengths):
        expect_close(
            found[row, :J],
            sentence_weights(J, D),
            f"los pesos de una frase de {J} palabras en un lote de ancho 6",
            "J es la longitud de la frase, no el ancho del lote.",
        )


@check("ej02a_pesos", "Cero en el relleno y en las frases vacías", points=0.5)
def zero_on_padding(position_weights):
    lengths = torch.tensor([3, 0, 5])
    found = position_weights(lengths.clone(), 5, D)
    expect_finite(found, "los pesos, con una frase vacía", "¿divides entre J = 0?")
    padding = torch.arange(1, 6) > lengths[:, None]
    largest = found[padding].abs().max().item()
    expect(largest == 0, f"El peso del relleno debería ser 0 y llega a {largest:.2g}.")


@check("ej02a_pesos", "Longitudes con cualquier número de ejes", points=0.5)
def any_number_of_axes(position_weights):
    lengths = torch.tensor([[3, 1], [2, 4], [4, 4]])
    expected = padded_weights(lengths.flatten().tolist(), 4, 5).reshape(3, 2, 4, 5)
    hint = "los ejes de lengths se quedan delante, sean los que sean."
    found = position_weights(lengths.clone(), 4, 5)
    expect_close(found, expected, "los pesos con lengths [3, 2]", hint)
    one = position_weights(torch.tensor(3), 4, 5)
    expect_close(one, padded_weights([3], 4, 5)[0], "los pesos con una sola longitud", hint)


# --- 02a: vectores --------------------------------------------------------------------------------


def encoder_with_table(SentenceEncoder):
    """Un codificador con la tabla al azar (también la fila del relleno), y esa tabla."""
    encoder = SentenceEncoder(V, D)
    state = encoder.state_dict()
    expect("embedding.weight" in state, "Falta el parámetro embedding.weight.", "un nn.Embedding.")
    found = tuple(state["embedding.weight"].shape)
    expect(found == (V, D), f"La tabla debería ser {[V, D]} y es {list(found)}.")
    table = torch.randn(V, D)
    encoder.load_state_dict({"embedding.weight": table}, strict=False)
    encoder.eval()
    return encoder, table


def sentence_vectors(table: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """El oráculo del codificador: tokens `[B, L]` → `[B, d]`."""
    words = [row[row != 0] for row in tokens]
    return torch.stack([(table[row] * sentence_weights(len(row), D)).sum(0) for row in words])


@check("ej02a_vectores", "La suma pesada de las palabras", points=1.0)
def weighted_sum(SentenceEncoder):
    encoder, table = encoder_with_table(SentenceEncoder)
    tokens = torch.randint(1, V, (4, 5))
    expected = sentence_vectors(table, tokens)
    expect_close(
        encoder(tokens),
        expected,
        "los vectores de frases sin relleno",
        "cada palabra, por su peso, elemento a elemento; y se suman, no se promedian.",
    )


@check("ej02a_vectores", "El relleno no influye", points=1.0)
def padding_does_not_count(SentenceEncoder):
    encoder, table = encoder_with_table(SentenceEncoder)
    tokens = torch.randint(1, V, (4, 5))
    tokens[1, 2:], tokens[2, 4:] = 0, 0
    expected = sentence_vectors(table, tokens)
    for extra in (0, 3):
        expect_close(
            encoder(F.pad(tokens, (0, extra))),
            expected,
            f"los vectores, con {extra} columnas de relleno más",
            "ni la fila 0 de la tabla ni el ancho del lote deben notarse.",
        )


@check("ej02a_vectores", "Historias, preguntas y frases vacías", points=0.5)
def stories_and_empty_sentences(SentenceEncoder):
    encoder, table = encoder_with_table(SentenceEncoder)
    tokens = torch.randint(1, V, (2, 3, 4))
    tokens[0, 1, 2:], tokens[1, 2] = 0, 0
    expected = sentence_vectors(table, tokens.flatten(0, 1)).reshape(2, 3, D)
    expect_close(
        encoder(tokens),
        expected,
        "los vectores de dos historias de tres frases (la última, vacía)",
        "se suma el eje de las palabras; una frase vacía da ceros.",
    )


@check("ej02a_vectores", "Solo se aprende la tabla, y solo las palabras leídas", points=0.5)
def only_the_table_learns(SentenceEncoder):
    encoder, _ = encoder_with_table(SentenceEncoder)
    found = sum(parameter.numel() for parameter in encoder.parameters())
    expect(found == V * D, f"Tiene {found} parámetros y la tabla, {V * D}.")
    encoder(torch.tensor([[3, 5, 0, 0]])).sum().backward()
    gradient = dict(encoder.named_parameters())["embedding.weight"].grad
    expect(gradient is not None, "El gradiente no llega a la tabla.", "¿sobra un detach?")
    touched = gradient.abs().sum(1).nonzero()[:, 0].tolist()
    expect(
        touched == [3, 5],
        f"Con las palabras 3 y 5, reciben gradiente las filas {touched}.",
        "el relleno no debe entrar en la suma.",
    )


# --- 02a: orden -----------------------------------------------------------------------------------


@check("ej02a_orden", "Cambiar dos palabras de sitio cambia el vector", points=0.5)
def order_matters(SentenceEncoder, *_):
    encoder, _ = encoder_with_table(SentenceEncoder)
    sentence = torch.tensor([3, 1, 4, 2, 6])
    for a, b in ((0, 1), (1, 3), (3, 4)):
        order = torch.arange(5)
        order[a], order[b] = b, a
        straight, moved = encoder(torch.stack([sentence, sentence[order]]))
        change = (straight - moved).abs().max().item()
        expect(
            change > 1e-3,
            f"Al cambiar las palabras {a + 1} y {b + 1}, el vector se mueve {change:.2g}.",
            "el peso depende del lugar.",
        )


def pairs_in_order(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`[a, 9, b]`, con un 10 delante o no: la respuesta es a (a y b, de 1 a 5)."""
    pair = torch.rand(count, 5, generator=generator).argsort(1)[:, :2] + 1
    middle, opening, end = (torch.full((count,), word) for word in (9, 10, 0))
    plain = torch.stack([pair[:, 0], middle, pair[:, 1], end], 1)
    opened = torch.stack([opening, pair[:, 0], middle, pair[:, 1]], 1)
    which = torch.rand(count, 1, generator=generator) < 0.5
    return torch.where(which, plain, opened), pair[:, 0]


@check("ej02a_orden", "Aprende una tarea en la que solo cuenta el orden", points=1.5)
def learns_order(SentenceEncoder, WinnerReader, train_quietly):
    generator = torch.Generator().manual_seed(0)
    train, (tokens, answers) = (pairs_in_order(count, generator) for count in (1000, 300))
    reader = train_quietly(WinnerReader(SentenceEncoder(11, 16), 16, 11), train, 100)
    with torch.no_grad():
        right = (reader(tokens).argmax(1) == answers).float().mean().item()
    expect(
        right > 0.9,
        f"Acierta {right:.2f}; sin ver el orden, el azar entre los dos candidatos es 0.50.",
    )


# --- Oráculo del ejercicio 02b --------------------------------------------------------------------

NAMES = ("A", "C", "TA", "TC")


def expect_tables(state, hops: int) -> None:
    """Falla si a la red le falta alguna tabla, o no tiene su forma."""
    for name in NAMES:
        wanted = [M + 1, D] if name.startswith("T") else [V, D]
        for k in range(hops):
            key = f"{name}.{k}.weight"
            case = f"Con {hops} saltos, V={V}, d={D} y max_memories={M},"
            expect(key in state, f"{case} falta {key}.", "mira la tabla del enunciado.")
            found = list(state[key].shape)
            expect(found == wanted, f"{case} {key} debería ser {wanted} y es {found}.")


def memory_with_tables(AdjacentMemory, hops: int):
    """Una red con las tablas al azar (también las filas del relleno), y esas tablas.

    Returns:
        La red, las K + 1 tablas de palabras y las K + 1 de edades.
    """
    model = AdjacentMemory(V, D, hops, M)
    expect_tables(model.state_dict(), hops)
    words = [torch.randn(V, D) * 0.5 for _ in range(hops + 1)]
    times = [torch.randn(M + 1, D) * 0.5 for _ in range(hops + 1)]
    state = {}
    for k in range(hops):
        for name, tables, shift in (("A", words, 0), ("C", words, 1)):
            state[f"{name}.{k}.weight"] = tables[k + shift]
        for name, tables, shift in (("TA", times, 0), ("TC", times, 1)):
            state[f"{name}.{k}.weight"] = tables[k + shift]
    model.load_state_dict(state, strict=False)
    model.eval()
    return model, words, times


def oracle(words, times, story, question):
    """Log-probs `[V]` y pesos `[K, n]` de una historia: lista de n frases, sin relleno."""
    u = words[0][question].sum(0)
    ages = range(len(story), 0, -1)
    weights = []
    for k in range(len(words) - 1):
        keys, values = (
            torch.stack(
                [words[t][s].sum(0) + times[t][age] for s, age in zip(story, ages, strict=True)]
            )
            for t in (k, k + 1)
        )
        p = (keys @ u).softmax(0)
        u = u + p @ values
        weights.append(p)
    return (words[-1] @ u).log_softmax(0), torch.stack(weights)


def without_padding(sentences, question):
    """Una historia `[N, L]` y su pregunta `[Lq]`, recortadas."""
    return [row[row != 0] for row in sentences if (row != 0).any()], question[question != 0]


def expected_of(words, times, sentences, questions):
    """El oráculo de cada historia: log-probs `[B, V]` y pesos `[B, K, N]`, con ceros al final."""
    answers, weights = [], []
    for story, question in zip(sentences, questions, strict=True):
        log_probs, p = oracle(words, times, *without_padding(story, question))
        answers.append(log_probs)
        weights.append(F.pad(p, (0, sentences.size(1) - p.size(1))))
    return torch.stack(answers), torch.stack(weights)


def stories_with_padding():
    """Tres historias de 5, 3 y 1 frases, con palabras de relleno en frases y preguntas."""
    sentences, questions = torch.randint(1, V, (3, 5, 4)), torch.randint(1, V, (3, 3))
    sentences[1, 3:], sentences[2, 1:] = 0, 0
    sentences[0, 1, 2:], sentences[1, 0, 3:], questions[1, 2:] = 0, 0, 0
    return sentences, questions


# --- 02b: tablas ----------------------------------------------------------------------------------


@check("ej02b_tablas", "Los nombres y las formas de las tablas", points=0.5)
def names_and_shapes(AdjacentMemory):
    for hops in (1, 2, 4):
        expect_tables(AdjacentMemory(V, D, hops, M).state_dict(), hops)


@check("ej02b_tablas", "Compartidas de verdad: ni copias ni parámetros de más", points=1.0)
def no_copies(AdjacentMemory):
    for hops in (1, 3):
        found = sum(parameter.numel() for parameter in AdjacentMemory(V, D, hops, M).parameters())
        wanted = (hops + 1) * D * (V + M + 1)
        expect(
            found == wanted,
            f"Con {hops} saltos hay {found} parámetros y deberían ser {wanted}.",
            "K + 1 tablas de palabras y K + 1 de edades; B, W y las claves siguientes no añaden.",
        )


@check("ej02b_tablas", "El gradiente de una tabla suma todos sus papeles", points=1.0)
def gradients_add_up(AdjacentMemory):
    model, words, times = memory_with_tables(AdjacentMemory, 2)
    sentences, questions = torch.randint(1, V, (3, 4, 3)), torch.randint(1, V, (3, 2))
    tables = [table.requires_grad_() for table in words + times]
    target = torch.randn(3, V) * 0.1  # gradientes de orden 1: 1e-5 sobra para el redondeo
    (expected_of(words, times, sentences, questions)[0] * target).sum().backward()
    (model(sentences, questions)[0] * target).sum().backward()
    gradients = dict(model.named_parameters())
    roles = {
        "A.0": (0, "B y las claves del salto 1"),
        "A.1": (1, "los valores del salto 1 y las claves del 2"),
        "C.1": (2, "los valores del salto 2 y W"),
        "TA.1": (4, "las edades de los valores del salto 1 y de las claves del 2"),
    }
    for name, (place, role) in roles.items():
        alias = {"A.1": "C.0", "TA.1": "TC.0"}.get(name, name)
        parameter = gradients.get(f"{name}.weight", gradients.get(f"{alias}.weight"))
        expect(
            parameter is not None and parameter.grad is not None,
            f"El gradiente no llega a {name}.",
        )
        expect_close(
            parameter.grad,
            tables[place].grad,
            f"los gradientes de {name}, que es {role}",
            "la misma tabla debe usarse en todos esos papeles.",
        )


# --- 02b: saltos ----------------------------------------------------------------------------------


def expect_answers(AdjacentMemory, hops: int, hint: str) -> None:
    """Falla si, sin relleno, las log-probs no son las del oráculo."""
    model, words, times = memory_with_tables(AdjacentMemory, hops)
    sentences, questions = torch.randint(1, V, (3, 4, 3)), torch.randint(1, V, (3, 2))
    expected = expected_of(words, times, sentences, questions)[0]
    found = model(sentences, questions)[0]
    expect_close(found, expected, f"las log-probs con K = {hops}", hint)


@check("ej02b_saltos", "Un salto", points=1.0)
def one_hop(AdjacentMemory):
    hint = "u = suma de B; p = softmax(m · u); u + o; y W u, en logaritmos de probabilidad."
    expect_answers(AdjacentMemory, 1, hint)


@check("ej02b_saltos", "Varios saltos", points=1.0)
def several_hops(AdjacentMemory):
    hint = "en cada salto, sus claves y sus valores; y lo leído se suma al estado."
    for hops in (2, 3):
        expect_answers(AdjacentMemory, hops, hint)


@check("ej02b_saltos", "Los pesos de cada salto", points=0.5)
def weights_per_hop(AdjacentMemory):
    model, words, times = memory_with_tables(AdjacentMemory, 3)
    sentences, questions = torch.randint(1, V, (2, 4, 3)), torch.randint(1, V, (2, 2))
    expected = expected_of(words, times, sentences, questions)[1]
    found = model(sentences, questions)[1]
    expect_close(found, expected, "los pesos [B, K, N]", "el eje 1 son los saltos, en orden.")


# --- 02b: memoria ---------------------------------------------------------------------------------


@check("ej02b_memoria", "La última frase que existe tiene edad 1", points=1.0)
def ages_count_from_the_last(AdjacentMemory):
    model, words, times = memory_with_tables(AdjacentMemory, 1)
    sentences = torch.randint(1, V, (3, 5, 3))
    sentences[1, 3:], sentences[2, 1:] = 0, 0
    questions = torch.randint(1, V, (3, 2))
    expected = expected_of(words, times, sentences, questions)[1]
    found = model(sentences, questions)[1]
    expect_close(
        found,
        expected,
        "los pesos de historias de 5, 3 y 1 frases",
        "edad 1 en la última que existe, 2 en la anterior; las de relleno no cuentan.",
    )


@check("ej02b_memoria", "El relleno de la historia no influye", points=1.0)
def padding_does_not_leak(AdjacentMemory):
    model, words, times = memory_with_tables(AdjacentMemory, 2)
    sentences, questions = stories_with_padding()
    answers, weights = expected_of(words, times, sentences, questions)
    hint = "la fila 0 de las tablas puede valer cualquier cosa: no debe entrar en ninguna suma."
    for extra in (0, 2):
        wide = F.pad(sentences, (0, extra, 0, extra)), F.pad(questions, (0, extra))
        found = model(*wide)
        case = f"con {extra} de relleno más"
        expect_close(found[0], answers, f"las log-probs {case}", hint)
        expect_close(found[1], F.pad(weights, (0, extra)), f"los pesos {case}", hint)


@check("ej02b_memoria", "Sin frases, y con más de las que caben", points=0.5)
def no_sentences_and_too_many(AdjacentMemory):
    model, words, _ = memory_with_tables(AdjacentMemory, 2)
    sentences, questions = torch.randint(1, V, (2, 3, 3)), torch.randint(1, V, (2, 2))
    sentences[1] = 0
    expected = (words[-1] @ words[0][questions[1]].sum(0)).log_softmax(0)
    log_probs, weights = model(sentences, questions)
    expect_finite(log_probs, "las log-probs con una historia vacía")
    largest = weights[1].abs().max().item()
    expect(largest == 0, f"Sin frases, los pesos deberían ser 0 y llegan a {largest:.2g}.")
    expect_close(log_probs[1], expected, "las log-probs sin frases, que son las de W B q")
    log_probs[0].sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            expect_finite(parameter.grad, f"el gradiente de {name}, con una historia vacía al lado")
    shape = list(model(torch.ones(1, M, 2).long(), torch.ones(1, 2).long())[0].shape)
    expect(shape == [1, V], f"Con max_memories={M}, {M} frases caben y la salida es {shape}.")
    too_many = torch.ones(1, M + 1, 2).long(), torch.ones(1, 2).long()
    expect_error(ValueError, lambda: model(*too_many), f"Con {M + 1} frases y max_memories={M}")


# --- 02b: aprende ---------------------------------------------------------------------------------


def latest_trips(count: int, generator: torch.Generator):
    """Cuatro viajes `[persona, lugar]` (1–2 y 3–8); la respuesta es el último lugar de una."""
    people = torch.randint(1, 3, (count, 4), generator=generator)
    places = torch.rand(count, 6, generator=generator).argsort(1)[:, :4] + 3
    rows = torch.arange(count)
    asked = people[rows, torch.randint(4, (count,), generator=generator)]
    last = ((people == asked[:, None]) * torch.arange(1, 5)).argmax(1)
    return torch.stack([people, places], 2), asked[:, None], places[rows, last]


@check("ej02b_aprende", "Aprende cuál fue el último viaje", points=1.5)
def learns_the_latest(AdjacentMemory, train_quietly):
    generator = torch.Generator().manual_seed(0)
    train, test = latest_trips(2000, generator), latest_trips(400, generator)
    sentences, questions, answers = test
    model = train_quietly(AdjacentMemory(V, 24, 1, M), train, 100)
    with torch.no_grad():
        right = (model(sentences, questions)[0].argmax(1) == answers).float().mean().item()
    trips = (sentences[..., 0] == questions).sum(1)
    blind = (1 / trips).mean().item()
    expect(
        right > 0.9,
        f"Acierta {right:.2f}; sin edades, elegir entre los viajes de esa persona da {blind:.2f}.",
        "las edades se suman a las claves.",
    )
