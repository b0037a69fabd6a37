"""Comprobaciones del cuaderno 06: `MultiHeadSelfAttention` (1a) y ver la atención (1b).

El oráculo es `nn.MultiheadAttention` con los mismos parámetros. Las tolerancias son de 1e-5: con
vectores de 16 números como mucho, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import contextlib
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

PROJECTIONS = ("las consultas", "las claves", "los valores")
ORDER_HINT = (
    "el orden de qkv_proj es consultas, claves, valores, y dentro de cada bloque van las cabezas."
)


# --- Oráculo del ejercicio 1a ---------------------------------------------------------------------


def parameter_shapes(embed_dim: int) -> dict[str, tuple[int, ...]]:
    """Los parámetros que el enunciado pide, y sus formas."""
    E = embed_dim
    return {
        "qkv_proj.weight": (3 * E, E),
        "qkv_proj.bias": (3 * E,),
        "out_proj.weight": (E, E),
        "out_proj.bias": (E,),
        "norm.weight": (E,),
        "norm.bias": (E,),
    }


def random_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Parámetros al azar, de esas formas; pequeños: la softmax no debe saturarse."""
    return {name: torch.randn(shape) * 0.4 for name, shape in shapes.items()}


def load_random_state(module) -> dict[str, torch.Tensor]:
    """Da parámetros al azar a un módulo de la lección y los devuelve.

    Los buffers, como una máscara causal guardada, se quedan como estaban.
    """
    state = random_state({name: value.shape for name, value in module.named_parameters()})
    module.load_state_dict(state, strict=False)
    return state


def expect_parameters(module, embed_dim: int) -> None:
    """Falla si a la capa le falta un parámetro del enunciado o tiene otra forma."""
    expect(module is not None, "No devuelve ninguna capa.")
    shapes, state = parameter_shapes(embed_dim), module.state_dict()
    missing = [name for name in shapes if name not in state]
    expect(not missing, f"Faltan parámetros: {', '.join(missing)}.", "mira la tabla del enunciado.")
    for name, shape in shapes.items():
        found = tuple(state[name].shape)
        expect(found == shape, f"{name} debería ser {list(shape)} y es {list(found)}.")


def randomize(module, embed_dim: int) -> dict[str, torch.Tensor]:
    """Da a la capa parámetros al azar y los devuelve; falla si no son los del enunciado."""
    expect_parameters(module, embed_dim)
    state = random_state(parameter_shapes(embed_dim))
    module.load_state_dict(state, strict=False)
    return state


def oracle(state, num_heads: int, x: torch.Tensor):
    """`out` y `weights` de la fórmula del enunciado, con `nn.MultiheadAttention`."""
    E = x.size(-1)
    attention = nn.MultiheadAttention(E, num_heads, batch_first=True).eval()
    attention.load_state_dict(
        {
            "in_proj_weight": state["qkv_proj.weight"],
            "in_proj_bias": state["qkv_proj.bias"],
            "out_proj.weight": state["out_proj.weight"],
            "out_proj.bias": state["out_proj.bias"],
        }
    )
    with torch.no_grad():
        attended, weights = attention(x, x, x, average_attn_weights=False)
        out = F.layer_norm(x + attended, (E,), state["norm.weight"], state["norm.bias"])
    return out, weights


def eval_layer(MultiHeadSelfAttention, embed_dim: int, num_heads: int):
    """Una capa sin dropout, en modo evaluación y con parámetros al azar, y esos parámetros."""
    attention = MultiHeadSelfAttention(embed_dim, num_heads, dropout=0.0)
    state = randomize(attention, embed_dim)
    attention.eval()
    return attention, state


def expect_attends(attention, **masks) -> None:
    """Falla si la cuarta de cinco posiciones no se entera de lo que hay en la primera.

    Una capa que no atiende a nadie cumpliría las pruebas de máscaras sin haber hecho nada.
    """
    x = torch.randn(1, 5, 8)
    changed = torch.cat([torch.randn(1, 1, 8), x[:, 1:]], dim=1)
    (before, weights), (after, _) = attention(x, **masks), attention(changed, **masks)
    total = weights[0, :, 3].sum(-1).min().item()
    expect(abs(total - 1) < 1e-5, f"Los pesos de una posición válida suman {total:.3f}, no 1.")
    expect(
        bool((after - before)[0, 3].abs().max() > 1e-5),
        "Cambiar una posición que se puede mirar no cambia la salida de las demás.",
        "¿usas los pesos para mezclar los valores?",
    )


# --- 1a: estructura -------------------------------------------------------------------------------


@check("ej1a_estructura", "Formas de la salida y de los pesos", points=0.5)
def output_shapes(MultiHeadSelfAttention):
    for B, S, E, h in [(1, 1, 4, 1), (2, 5, 12, 3), (3, 2, 8, 8)]:
        out, weights = MultiHeadSelfAttention(E, h)(torch.randn(B, S, E))
        case = f"Con B={B}, S={S}, E={E} y {h} cabezas,"
        found = tuple(out.shape)
        expect(found == (B, S, E), f"{case} out es {list(found)} y debería ser {[B, S, E]}.")
        found = tuple(weights.shape)
        expect(found == (B, h, S, S), f"{case} weights es {list(found)}, no {[B, h, S, S]}.")


@check("ej1a_estructura", "Una sola proyección QKV, sean cuantas sean las cabezas", points=1.0)
def fused_projection(MultiHeadSelfAttention):
    for num_heads in (1, 4):
        attention = MultiHeadSelfAttention(8, num_heads)
        randomize(attention, 8)
        found = sum(parameter.numel() for parameter in attention.parameters())
        wanted = sum(math.prod(shape) for shape in parameter_shapes(8).values())
        expect(
            found == wanted,
            f"Con {num_heads} cabezas y E=8 la capa tiene {found} parámetros, y bastan {wanted}.",
            "qkv_proj, out_proj y norm sirven para cualquier número de cabezas.",
        )


@check("ej1a_estructura", "ValueError si las cabezas no caben", points=0.5)
def invalid_heads(MultiHeadSelfAttention):
    for E, h in [(10, 3), (8, 3), (6, 4)]:
        expect_error(
            ValueError,
            lambda E=E, h=h: MultiHeadSelfAttention(E, h),
            f"Con embed_dim={E} y num_heads={h}",
        )


# --- 1a: atención ---------------------------------------------------------------------------------


@check("ej1a_atencion", "Los pesos son los de nn.MultiheadAttention", points=1.0)
def weights_match_torch(MultiHeadSelfAttention):
    for num_heads in (1, 2, 4):
        attention, state = eval_layer(MultiHeadSelfAttention, 16, num_heads)
        x = torch.randn(2, 5, 16)
        expected = oracle(state, num_heads, x)[1]
        expect_close(
            attention(x)[1],
            expected,
            f"los pesos con num_heads={num_heads}",
            "¿divides entre √d, con d = E / h? ¿separas las cabezas con view y luego transpose? "
            + ORDER_HINT.capitalize(),
        )


@check("ej1a_atencion", "La salida es LN(x + atención)", points=1.5)
def output_matches_torch(MultiHeadSelfAttention):
    for num_heads in (1, 2, 4):
        attention, state = eval_layer(MultiHeadSelfAttention, 16, num_heads)
        x = torch.randn(2, 5, 16)
        expected = oracle(state, num_heads, x)[0]
        expect_close(
            attention(x)[0],
            expected,
            f"los valores de out con num_heads={num_heads}",
            "si los pesos coinciden, mira cómo juntas las cabezas, el residuo y dónde normalizas.",
        )


@check("ej1a_atencion", "Normaliza después de sumar el residuo", points=0.5)
def normalizes_last(MultiHeadSelfAttention):
    attention = MultiHeadSelfAttention(16, 2, dropout=0.0)
    out, _ = attention(torch.randn(3, 6, 16) * 3 + 1)
    mean = out.mean(-1).abs().max().item()
    spread = out.std(-1, correction=0)
    expect(
        mean < 1e-3 and spread.min() > 0.98 and spread.max() < 1.02,
        "Recién creada la capa, cada vector de out debería tener media 0 y desviación estándar 1; "
        f"la media llega a {mean:.2f} y la desviación va de {spread.min():.2f} a "
        f"{spread.max():.2f}.",
        "LayerNorm es lo último que se aplica.",
    )


@check("ej1a_atencion", "El gradiente llega a consultas, claves y valores", points=0.5)
def gradient_reaches_every_projection(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    out, _ = attention(torch.randn(2, 5, 8))
    (out * torch.randn(2, 5, 8)).sum().backward()
    gradient = dict(attention.named_parameters())["qkv_proj.weight"].grad
    expect(gradient is not None, "qkv_proj no recibe ningún gradiente.", "¿sobra un detach?")
    for name, part in zip(PROJECTIONS, gradient.chunk(3), strict=True):
        expect(
            bool(part.abs().max() > 1e-7),
            f"El gradiente de la parte de qkv_proj que da {name} es cero: no podría aprender.",
            "nada entre x y out puede pasar por detach o por NumPy.",
        )


# --- 1a: relleno ----------------------------------------------------------------------------------


@check("ej1a_relleno", "Lo que hay en el relleno no influye", points=1.0)
def padding_does_not_leak(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    expect_attends(attention, mask=torch.tensor([[1, 1, 1, 1, 0]]).bool())
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    x = torch.randn(3, 5, 8)
    # Vectores nuevos al azar: sumar una constante no serviría, porque LayerNorm la borra.
    disturbed = torch.where(mask[..., None], x, torch.randn(3, 5, 8) * 3)
    before, after = attention(x, mask=mask)[0], attention(disturbed, mask=mask)[0]
    expect_close(
        after[mask],
        before[mask].detach(),
        "las salidas válidas al cambiar el relleno",
        "la máscara va en el eje de las claves y se aplica antes de la softmax.",
    )


@check("ej1a_relleno", "Una secuencia da lo mismo sola que en el lote", points=0.5)
def same_alone_as_batched(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    x = torch.randn(2, 6, 8)
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    together = attention(x, mask=mask)[0]
    alone = attention(x[1:, :4])[0]
    expect_close(
        together[1:, :4],
        alone.detach(),
        "las salidas de una secuencia de 4 palabras con 2 de relleno",
        "con máscara debería salir lo mismo que sin relleno.",
    )


@check("ej1a_relleno", "Una fila sin claves: pesos cero y gradientes finitos", points=0.5)
def empty_sequence(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    x = torch.randn(2, 4, 8, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    out, weights = attention(x, mask=mask)
    expect_finite(out, "out, con una secuencia que es toda relleno")
    largest = weights[1].abs().max().item()
    expect(
        largest == 0,
        f"En una secuencia que es toda relleno, los pesos deberían ser 0 y llegan a {largest:.2g}.",
        "anula los pesos prohibidos también después de la softmax.",
    )
    out[0].sum().backward()
    expect_finite(x.grad, "el gradiente de x, aunque la pérdida no use la secuencia vacía")
    for name, parameter in attention.named_parameters():
        if parameter.grad is not None:
            expect_finite(parameter.grad, f"el gradiente de {name}")


# --- 1a: causal -----------------------------------------------------------------------------------


@check("ej1a_causal", "Cada posición ve lo mismo que si la secuencia acabara en ella", points=1.0)
def causal_equals_truncated(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    expect_attends(attention, causal=True)
    x = torch.randn(2, 5, 8)
    out, weights = attention(x, causal=True)
    for end in (1, 2, 5):
        cut_out, cut_weights = attention(x[:, :end])
        where = f"la posición {end - 1}, comparada con la última de una secuencia de {end}"
        expect_close(
            weights[:, :, end - 1, :end],
            cut_weights[:, :, -1].detach(),
            f"los pesos de {where}",
            "cada posición se ve a sí misma y a las anteriores; la máscara va antes de la softmax.",
        )
        expect_close(out[:, end - 1], cut_out[:, -1].detach(), f"las salidas de {where}")


@check("ej1a_causal", "Relleno a la izquierda y causal a la vez", points=0.5)
def left_padding_and_causal(MultiHeadSelfAttention):
    attention, _ = eval_layer(MultiHeadSelfAttention, 8, 2)
    x = torch.randn(1, 5, 8, requires_grad=True)
    mask = torch.tensor([[False, False, True, True, True]])
    out, weights = attention(x, mask=mask, causal=True)
    expect_finite(out, "out, con relleno a la izquierda y máscara causal")
    largest = weights[0, :, :2].abs().max().item()
    expect(
        largest == 0,
        f"Las dos primeras posiciones no pueden mirar a nadie y tienen pesos de {largest:.2g}.",
    )
    alone = attention(x[:, 2:], causal=True)[0]
    expect_close(out[:, 2:], alone.detach(), "las salidas válidas con relleno a la izquierda")
    out[:, 2:].sum().backward()
    expect_finite(x.grad, "el gradiente de x, con relleno a la izquierda y máscara causal")


# --- 1a: dropout ----------------------------------------------------------------------------------


@check("ej1a_dropout", "Los pesos devueltos suman 1 también al entrenar", points=0.5)
def weights_are_returned_before_dropout(MultiHeadSelfAttention):
    attention = MultiHeadSelfAttention(8, 2, dropout=0.5)
    attention.train()
    sums = attention(torch.randn(4, 6, 8))[1].sum(-1)
    expect(
        bool((sums - 1).abs().max() < 1e-5),
        f"En modo entrenamiento las filas suman entre {sums.min():.2f} y {sums.max():.2f}.",
        "devuelve los pesos de antes del dropout.",
    )


@check("ej1a_dropout", "El dropout actúa al entrenar y solo entonces", points=0.5)
def dropout_only_while_training(MultiHeadSelfAttention):
    attention = MultiHeadSelfAttention(8, 2, dropout=0.5)
    # Con out_proj.weight a cero solo queda su sesgo: varía si el dropout va después de proyectar.
    for changes in ({}, {"out_proj.weight": torch.zeros(8, 8), "out_proj.bias": torch.ones(8)}):
        attention.load_state_dict(changes, strict=False)
        x = torch.randn(4, 6, 8)
        attention.train()
        first, second = attention(x)[0].detach(), attention(x)[0].detach()
        expect(
            not torch.equal(first, second),
            "En modo entrenamiento y con dropout=0.5, dos pasadas dan lo mismo"
            + (" si out_proj solo tiene sesgo." if changes else "."),
            "el dropout se aplica a lo que sale de out_proj.",
        )
    attention.eval()
    first, second = attention(x)[0].detach(), attention(x)[0].detach()
    expect_close(second, first, "las salidas de dos pasadas en modo evaluación")


@check("ej1a_dropout", "El residuo no pasa por el dropout", points=0.5)
def residual_survives_dropout(MultiHeadSelfAttention):
    attention = MultiHeadSelfAttention(8, 2, dropout=0.5)
    state = randomize(attention, 8)
    silent = {"out_proj.weight": torch.zeros(8, 8), "out_proj.bias": torch.zeros(8)}
    attention.load_state_dict(silent, strict=False)
    attention.train()
    x = torch.randn(2, 5, 8)
    expect_close(
        attention(x)[0],
        F.layer_norm(x, (8,), state["norm.weight"], state["norm.bias"]),
        "los valores de out con out_proj a cero (que debería ser LN(x), con cualquier dropout)",
        "el dropout se aplica a la atención proyectada, antes de sumarle x.",
    )


# --- 1a: comparación con SelfAttention ------------------------------------------------------------


def random_reference(SelfAttention, embed_dim: int, num_heads: int):
    """Una `SelfAttention` con parámetros al azar, y esos parámetros."""
    reference = SelfAttention(embed_dim, embed_dim, num_heads=num_heads)
    return reference, load_random_state(reference)


@check("ej1a_comparacion", "Copia los parámetros y las cabezas, con dropout 0", points=1.0)
def copies_the_reference(from_self_attention, SelfAttention):
    for num_heads in (1, 4):
        reference, state = random_reference(SelfAttention, 8, num_heads)
        attention = from_self_attention(reference)
        expect_parameters(attention, 8)
        fused = {
            f"qkv_proj.{kind}": torch.cat([state[f"{p}.{kind}"] for p in ("query", "key", "value")])
            for kind in ("weight", "bias")
        }
        copied = attention.state_dict()
        for name, expected in fused.items():
            expect_close(copied[name], expected, f"los valores de {name}", ORDER_HINT)
        for kind in ("weight", "bias"):
            name = f"out_proj.{kind}"
            expect_close(copied[name], state[f"fc_out.{kind}"], f"los valores de {name}")
        x = torch.randn(2, 5, 8)
        heads = attention(x)[1].size(1)
        expect(
            heads == num_heads,
            f"La original tiene num_heads={num_heads} y la nueva atiende con {heads}.",
        )
        attention.train()
        expect(
            torch.equal(attention(x)[0].detach(), attention(x)[0].detach()),
            "Al entrenar, dos pasadas de la capa nueva no dan lo mismo: su dropout debe ser 0.",
        )


@check("ej1a_comparacion", "No comparte memoria con la original", points=0.5)
def does_not_share_memory(from_self_attention, SelfAttention):
    reference, state = random_reference(SelfAttention, 8, 2)
    randomize(from_self_attention(reference), 8)
    for name, value in reference.state_dict().items():
        expect_close(value, state[name], f"los valores de {name} tras cambiar la capa nueva")


# --- 1b: extraer los pesos ------------------------------------------------------------------------


def random_reader(TelegramReader, dropout: float = 0.0):
    """El modelo de la lección con parámetros al azar, en modo evaluación, y esos parámetros."""
    model = TelegramReader(embed_dim=16, num_heads=2, dropout=dropout)
    model.eval()
    return model, load_random_state(model)


def telegram_ids(length: int) -> torch.Tensor:
    """Un telegrama de `length` palabras al azar, con relleno (0) hasta 8; la última, repetida."""
    ids = torch.zeros(8, dtype=torch.long)
    ids[:length] = torch.randperm(60)[:length] + 1
    ids[length - 1] = ids[0]
    return ids


def expected_map(state, ids: torch.Tensor) -> torch.Tensor:
    """El mapa del modelo, `[h, n, n]`, con `nn.MultiheadAttention` y sus parámetros."""
    n = int((ids != 0).sum())
    x = state["word.weight"][ids[:n]] + state["position.weight"][:n]
    norm = [state[f"attention.layer_norm.{kind}"] for kind in ("weight", "bias")]
    z = F.layer_norm(x, (16,), *norm)[None]
    projections = {
        f"qkv_proj.{kind}": torch.cat(
            [state[f"attention.{p}.{kind}"] for p in ("query", "key", "value")]
        )
        for kind in ("weight", "bias")
    }
    rest = {
        "out_proj.weight": torch.zeros(16, 16),
        "out_proj.bias": torch.zeros(16),
        "norm.weight": torch.ones(16),
        "norm.bias": torch.zeros(16),
    }
    return oracle({**projections, **rest}, 2, z)[1][0]


@check("ej1b_extraer", "Son los pesos del modelo", points=1.0)
def map_matches_model(attention_map, TelegramReader):
    model, state = random_reader(TelegramReader)
    ids = telegram_ids(8)
    expect_close(attention_map(model, ids), expected_map(state, ids), "los pesos")


@check("ej1b_extraer", "En modo evaluación, y dejando el modelo como estaba", points=0.5)
def map_in_eval_mode(attention_map, TelegramReader):
    model, state = random_reader(TelegramReader, dropout=0.5)
    ids = telegram_ids(8)
    for training in (True, False):
        model.train(training)
        weights = attention_map(model, ids)
        mode = "entrenamiento" if training else "evaluación"
        expect_close(
            weights,
            expected_map(state, ids),
            f"los pesos, con el modelo en modo {mode}",
            "el dropout altera el mapa: pasa a modo evaluación antes de leerlo.",
        )
        modes = [bool(part.training) for part in (model, model.dropout, model.attention)]
        expect(
            modes == [training] * 3,
            f"El modelo estaba en modo {mode} y lo has dejado, entero o en parte, en el otro.",
            "guarda model.training antes de cambiarlo, y vuelve con model.train(…).",
        )
        expect(not weights.requires_grad, "El mapa arrastra gradientes.", "usa torch.no_grad().")


@check("ej1b_extraer", "Sin las posiciones de relleno", points=0.5)
def map_without_padding(attention_map, TelegramReader):
    model, state = random_reader(TelegramReader)
    for length in (2, 5):
        ids = telegram_ids(length)
        expect_close(
            attention_map(model, ids),
            expected_map(state, ids),
            f"los pesos de un telegrama de {length} palabras",
        )


# --- 1b: dibujar ----------------------------------------------------------------------------------

TOKENS = ["rota", "mano", "perros", "nuevo", "rota"]


@contextlib.contextmanager
def closing_figures():
    """Cierra las figuras al salir, también si falla: en un cuaderno se verían bajo la celda."""
    try:
        yield
    finally:
        plt.close("all")


def random_map(n: int) -> torch.Tensor:
    return torch.randn(n, n).softmax(-1)


def image_of(ax) -> torch.Tensor:
    """Los valores de la última imagen dibujada en los ejes."""
    expect(ax is not None, "La función no devuelve los ejes.")
    images = list(ax.images)
    expect(len(images) > 0, "En los ejes no hay ninguna imagen.", "dibuja el mapa con imshow.")
    return torch.as_tensor(images[-1].get_array()).float()


@check("ej1b_dibujar", "La imagen son los pesos, sin trasponer ni reescalar", points=1.0)
@closing_figures()
def image_is_the_weights(plot_attention):
    weights = random_map(5)
    expect_close(
        image_of(plot_attention(weights, TOKENS)),
        weights,
        "los valores de la imagen",
        "filas: consultas; columnas: claves; los pesos se dibujan tal cual.",
    )


def cell_centres(image, n: int) -> tuple[list[float], list[float]]:
    """Las coordenadas de los centros de las columnas y de las filas de una imagen `[n, n]`."""
    left, right, bottom, top = image.get_extent()
    first, last = (top, bottom) if image.origin == "upper" else (bottom, top)
    fractions = [(i + 0.5) / n for i in range(n)]
    columns = [left + f * (right - left) for f in fractions]
    return columns, [first + f * (last - first) for f in fractions]


@check("ej1b_dibujar", "Una etiqueta por palabra, en su sitio, en los dos ejes", points=1.0)
@closing_figures()
def every_token_is_labelled(plot_attention):
    ax = plot_attention(random_map(5), TOKENS)
    image_of(ax)
    centres = cell_centres(ax.images[-1], 5)
    axes = {"horizontal": ax.xaxis, "vertical": ax.yaxis}
    for (name, axis), wanted in zip(axes.items(), centres, strict=True):
        places = [float(place) for place in axis.get_ticklocs()]
        texts = [label.get_text() for label in axis.get_ticklabels()]
        # Con etiquetas a los dos lados hay más textos que sitios; las vacías no se ven.
        shown = [(place, text) for place, text in zip(places, texts, strict=False) if text]
        labels = [text for _, text in shown]
        expect(
            sorted(labels) == sorted(TOKENS),
            f"En el eje {name} las etiquetas son {labels}, no {TOKENS}.",
        )
        for place, token in zip(wanted, TOKENS, strict=True):
            near = [text for spot, text in shown if abs(spot - place) < 1e-3]
            expect(
                near == [token],
                f"En el eje {name}, la celda de «{token}» está en {place:g} y ahí pone {near}.",
                "fija posiciones y etiquetas a la vez.",
            )


@check("ej1b_dibujar", "Escala de color de 0 a 1, en los ejes que se le dan", points=0.5)
@closing_figures()
def fixed_scale_and_given_axes(plot_attention):
    ax = plot_attention(random_map(5) * 0.5, TOKENS)
    before = image_of(ax)
    limits = tuple(float(limit) for limit in ax.images[-1].get_clim())
    expect(
        limits == (0.0, 1.0),
        f"La escala de color va de {limits[0]:.2f} a {limits[1]:.2f}.",
        "con una escala distinta en cada mapa, los colores no se pueden comparar.",
    )
    plot_attention(random_map(5), TOKENS)
    expect(
        torch.equal(image_of(ax), before),
        "Sin ejes dados, el segundo mapa se dibuja encima del primero.",
        "si ax es None, crea una figura.",
    )
    returned = plot_attention(random_map(5), TOKENS, ax)
    expect(
        not torch.equal(image_of(ax), before),
        "Tras pasarle unos ejes, en ellos no hay ningún mapa nuevo.",
        "crea una figura solo si ax es None, y dibuja con los métodos de ax.",
    )
    expect(
        torch.equal(image_of(returned), image_of(ax)),
        "Los ejes devueltos no tienen el mapa que has dibujado en los ejes dados.",
        "devuelve los ejes en los que dibujas.",
    )


# --- 1b: las k más miradas ------------------------------------------------------------------------


def expect_ranking(actual, expected: list[list[tuple[str, float]]], hint: str) -> None:
    names = [[name for name, _ in row] for row in actual]
    wanted = [[name for name, _ in row] for row in expected]
    expect(names == wanted, f"Las palabras más miradas son {names} y deberían ser {wanted}.", hint)
    for row, wanted_row in zip(actual, expected, strict=True):
        for (name, weight), (_, wanted_weight) in zip(row, wanted_row, strict=True):
            expect(
                isinstance(weight, float) and abs(weight - wanted_weight) < 1e-5,
                f"El peso de «{name}» es {weight!r} y debería ser {wanted_weight:.4g} (float).",
            )


@check("ej1b_topk", "Las k mayores de cada fila, de mayor a menor", points=1.0)
def ranks_each_row(top_k_attention):
    rows = [[0.1013, 0.6132, 0.2855], [0.5214, 0.1932, 0.2854], [0.0521, 0.2512, 0.6967]]
    weights = torch.tensor(rows)
    expected = [
        [("b", 0.6132), ("c", 0.2855)],
        [("a", 0.5214), ("c", 0.2854)],
        [("c", 0.6967), ("b", 0.2512)],
    ]
    expect_ranking(
        top_k_attention(weights, ["a", "b", "c"], k=2),
        expected,
        "el máximo se busca en cada fila (la consulta), sobre las claves.",
    )
    expect_close(
        weights, torch.tensor(rows), "los pesos que recibió la función", "trabaja con una copia."
    )


@check("ej1b_topk", "Palabras repetidas, empates, y k mayor que n", points=0.5)
def limit_cases(top_k_attention):
    weights = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.1, 0.6], [0.5, 0.3, 0.2]])
    expected = [
        [("flor", 0.7), ("rota", 0.2), ("rota", 0.1)],
        [("rota", 0.6), ("rota", 0.3), ("flor", 0.1)],
        [("rota", 0.5), ("flor", 0.3), ("rota", 0.2)],
    ]
    expect_ranking(
        top_k_attention(weights, ["rota", "flor", "rota"], k=9),
        expected,
        "si k es mayor que el número de palabras, devuelve todas; puede haber palabras repetidas.",
    )
    tied = top_k_attention(torch.full((4, 4), 0.25), ["a", "b", "c", "d"], k=4)
    for row in tied:
        names = sorted(name for name, _ in row)
        expect(
            names == ["a", "b", "c", "d"],
            f"Con cuatro pesos iguales y k=4, las palabras son {names}; deberían estar las cuatro.",
            "dos claves pueden tener el mismo peso: ordena posiciones, no busques por valor.",
        )
