"""Comprobaciones del cuaderno 07: máscaras dinámicas (2a) y cabeza de salida (2b).

El oráculo de 2a es la fórmula del enunciado en doble precisión; las tolerancias son de 1e-5: con
vectores de 8 números, el redondeo en precisión simple queda por debajo de 2e-6.
"""

import math

import torch
from torch.nn import functional as F

from autograder.checks import check, expect, expect_close, expect_error, expect_finite

E, H = 8, 6
SHAPES = {
    "key_proj.weight": (H, E),
    "key_proj.bias": (H,),
    "query_proj.weight": (H, H),
    "value_proj.weight": (H, E),
    "value_proj.bias": (H,),
    "predict_proj.weight": (H, E),
    "predict_proj.bias": (H,),
    "fc_out.weight": (E, 2 * H),
    "fc_out.bias": (E,),
}


# --- Oráculo del ejercicio 2a ---------------------------------------------------------------------


def allowed_pairs(mask, B: int, T: int, window: int | None = None) -> torch.Tensor:
    """La m del enunciado, `[B, T, T]`, con bucles; `mask` es None, `[B, T]` o `[B, T, T]`."""
    allowed = torch.zeros(B, T, T, dtype=torch.bool)
    for b in range(B):
        for t in range(T):
            for j in range(t):
                near = window is None or t - j <= window
                exists = mask is None or bool(mask[b, j] if mask.ndim == 2 else mask[b, t, j])
                allowed[b, t, j] = near and exists
    return allowed


def oracle(state, x, allowed):
    """`out` y `weights` de la fórmula, en doble precisión."""
    s = {name: value.double() for name, value in state.items()}
    x = x.double()
    k = x @ s["key_proj.weight"].T + s["key_proj.bias"]
    v = x @ s["value_proj.weight"].T + s["value_proj.bias"]
    p = x @ s["predict_proj.weight"].T + s["predict_proj.bias"]
    scores = (k @ s["query_proj.weight"].T) @ k.mT / math.sqrt(H)
    exps = (scores - scores.amax(-1, keepdim=True)).exp() * allowed
    weights = exps / exps.sum(-1, keepdim=True).clamp(min=1e-300)
    joined = torch.cat([weights @ v, p], dim=-1)
    return x + joined @ s["fc_out.weight"].T + s["fc_out.bias"], weights


def random_layer(MaskedKeyValuePredict):
    """Una capa con parámetros al azar, y esos parámetros."""
    layer = MaskedKeyValuePredict(E, H)
    state = {name: torch.randn(shape) * 0.5 for name, shape in SHAPES.items()}
    layer.load_state_dict(state)
    return layer, state


def lengths_to_mask(lengths: list[int], T: int) -> torch.Tensor:
    return torch.arange(T) < torch.tensor(lengths)[:, None]


def expect_formula(layer, state, x, what, hint="", *, mask=None, pairs=None, window=None) -> None:
    """Falla si los pesos o la salida no son los de la fórmula; `pairs`, la m esperada."""
    B, T, _ = x.shape
    pairs = allowed_pairs(None, B, T, window) if pairs is None else pairs
    expected, expected_weights = oracle(state, x, pairs)
    out, weights = layer(x, mask=mask, window=window)
    expect_close(weights, expected_weights, f"los pesos {what}", hint)
    expect_close(out, expected, f"los valores de out {what}", hint)


# --- 2a: longitudes -------------------------------------------------------------------------------


@check("ej2a_longitud", "Verdadero en las primeras posiciones de cada secuencia", points=0.5)
def lengths_become_a_mask(length_mask):
    for lengths in ([3, 1, 4], [2, 0], [1]):
        expected = lengths_to_mask(lengths, max(lengths))
        actual = length_mask(torch.tensor(lengths))
        expect_close(
            actual,
            expected,
            f"los valores de la máscara de {lengths}",
            "True donde hay dato; una secuencia de longitud n tiene n.",
        )


@check("ej2a_longitud", "Respeta max_length", points=0.5)
def mask_has_the_given_length(length_mask):
    actual = length_mask(torch.tensor([2, 1, 3]), max_length=5)
    expect_close(
        actual, lengths_to_mask([2, 1, 3], 5), "los valores de la máscara con max_length=5"
    )


# --- 2a: formas -----------------------------------------------------------------------------------


@check("ej2a_formas", "El pasado y la ventana, sin máscara", points=0.5)
def window_is_strictly_past(dynamic_mask):
    for window in (None, 1, 3):
        expect_close(
            dynamic_mask(None, 2, 6, window=window),
            allowed_pairs(None, 2, 6, window),
            f"los valores con window={window}",
            "de t − L a t − 1: la posición t no se ve a sí misma.",
        )


@check("ej2a_formas", "[B, T] y [B, 1, T] dicen qué posiciones existen", points=0.75)
def key_masks(dynamic_mask):
    mask = lengths_to_mask([5, 3, 1], 5)
    mask[0, 1] = False
    expected = allowed_pairs(mask, 3, 5)
    for name, form in (("[B, T]", mask), ("[B, 1, T]", mask[:, None])):
        expect_close(
            dynamic_mask(form.clone(), 3, 5),
            expected,
            f"los valores con una máscara {name}",
            "las columnas son a quién se mira.",
        )


@check("ej2a_formas", "Con B = T, [B, T] sigue siendo una fila por secuencia", points=0.75)
def square_batches(dynamic_mask):
    mask = lengths_to_mask([4, 2, 1, 3], 4)
    expect_close(
        dynamic_mask(mask.clone(), 4, 4),
        allowed_pairs(mask, 4, 4),
        "los valores con B = T = 4",
        "¿qué hace el broadcasting con [4, 4] y [4, 4, 4]?",
    )


@check("ej2a_formas", "[B, T, T], junto con el pasado y la ventana", points=0.5)
def pair_masks(dynamic_mask):
    mask = torch.rand(3, 5, 5) < 0.6
    mask[:, 0, 4], mask[:, 4, 0], mask[:, 4, 3] = True, True, True  # el futuro y lo lejano
    mask[:, 2, 1], mask[:, 1, 2] = False, True  # y nunca es simétrica
    for window in (None, 2):
        expect_close(
            dynamic_mask(mask.clone(), 3, 5, window=window),
            allowed_pairs(mask, 3, 5, window),
            f"los valores con una máscara [B, T, T] y window={window}",
            "la fila es quién mira; el futuro sigue prohibido.",
        )


@check("ej2a_formas", "Bool, entera o de punto flotante; otras formas, ValueError", points=0.5)
def mask_types(dynamic_mask):
    mask = lengths_to_mask([5, 2], 5)
    expected = allowed_pairs(mask, 2, 5)
    for dtype in (torch.int64, torch.uint8, torch.float32):
        actual = dynamic_mask(mask.to(dtype), 2, 5)
        expect(
            isinstance(actual, torch.Tensor) and actual.dtype == torch.bool,
            f"Con una máscara {dtype} debería salir un tensor bool.",
        )
        expect_close(actual, expected, f"los valores con una máscara {dtype}")
    for shape in ((5,), (2, 4), (3, 5), (2, 2, 5)):
        expect_error(
            ValueError,
            lambda shape=shape: dynamic_mask(torch.ones(shape), 2, 5),
            f"Con una máscara de forma {list(shape)}, B=2 y T=5",
        )


# --- 2a: atención ---------------------------------------------------------------------------------


@check("ej2a_atencion", "Los pesos y la salida son los de la fórmula", points=1.5)
def formula_without_mask(MaskedKeyValuePredict):
    layer, state = random_layer(MaskedKeyValuePredict)
    hint = "¿divides entre √H? La pregunta sale de la clave, y p no se mezcla con los pesos."
    expect_formula(layer, state, torch.randn(2, 6, E), "sin máscara", hint)


@check("ej2a_atencion", "Mira solo a la ventana", points=0.5)
def formula_with_window(MaskedKeyValuePredict):
    layer, state = random_layer(MaskedKeyValuePredict)
    for window in (1, 3):
        what = f"con window={window}"
        expect_formula(layer, state, torch.randn(2, 6, E), what, window=window)


@check("ej2a_atencion", "El gradiente llega a las cinco proyecciones", points=0.5)
def gradient_reaches_everything(MaskedKeyValuePredict):
    layer, _ = random_layer(MaskedKeyValuePredict)
    out, _ = layer(torch.randn(2, 5, E), mask=lengths_to_mask([5, 3], 5))
    (out * torch.randn(2, 5, E)).sum().backward()
    for name, parameter in layer.named_parameters():
        if not name.endswith("weight"):
            continue
        expect(
            parameter.grad is not None and bool(parameter.grad.abs().max() > 1e-7),
            f"{name} no recibe gradiente: no podría aprender.",
            "nada entre x y out puede pasar por detach o por NumPy.",
        )


# --- 2a: relleno ----------------------------------------------------------------------------------


def left_padded(x, lengths: list[int]):
    """Una máscara con el relleno al principio: con él al final, el pasado ya lo tapa."""
    T = x.size(1)
    return torch.arange(T) >= T - torch.tensor(lengths)[:, None]


@check("ej2a_relleno", "Lo que hay en el relleno no influye", points=1.0)
def padding_does_not_leak(MaskedKeyValuePredict):
    layer, _ = random_layer(MaskedKeyValuePredict)
    x = torch.randn(3, 6, E)
    mask = left_padded(x, [6, 4, 2])
    mask[0, 2] = False
    # Vectores nuevos al azar, y no una constante: una normalización la borraría.
    disturbed = torch.where(mask[..., None], x, torch.randn(3, 6, E) * 3)
    before = layer(x, mask=mask)[0].detach()
    after, weights = layer(disturbed, mask=mask)
    expect_close(
        after[mask],
        before[mask],
        "las salidas válidas al cambiar el relleno",
        "la máscara va en las columnas y antes de la softmax.",
    )
    total = weights[1, -1].sum().item()
    expect(abs(total - 1) < 1e-5, f"Los pesos de una posición válida suman {total:.3f}, no 1.")


@check("ej2a_relleno", "Una secuencia da lo mismo sola que en el lote", points=0.75)
def same_alone_as_batched(MaskedKeyValuePredict):
    layer, state = random_layer(MaskedKeyValuePredict)
    x = torch.randn(2, 6, E)
    mask = left_padded(x, [6, 4])
    alone, alone_weights = oracle(state, x[1:, 2:], allowed_pairs(None, 1, 4))
    out, weights = layer(x, mask=mask)
    expect_close(out[1:, 2:], alone, "las salidas de 4 posiciones tras 2 de relleno")
    expect_close(weights[1:, 2:, 2:], alone_weights, "los pesos de 4 posiciones tras 2 de relleno")


@check("ej2a_relleno", "El gradiente en el relleno es exactamente cero", points=0.75)
def no_gradient_on_padding(MaskedKeyValuePredict):
    layer, _ = random_layer(MaskedKeyValuePredict)
    x = torch.randn(2, 6, E, requires_grad=True)
    mask = left_padded(x, [5, 3])
    out, _ = layer(x, mask=mask)
    (out * torch.randn(2, 6, E))[mask].sum().backward()
    largest = x.grad[~mask].abs().max().item()
    expect(
        largest == 0,
        f"En el relleno hay un gradiente de {largest:.2g}; debería ser 0.",
        "los pesos del relleno deben ser cero, no solo pequeños.",
    )
    expect(bool(x.grad[mask].abs().min() > 0), "Alguna posición válida no recibe gradiente.")


# --- 2a: límites ----------------------------------------------------------------------------------


@check("ej2a_limites", "Filas vacías: pesos cero y gradientes finitos", points=0.75)
def empty_rows(MaskedKeyValuePredict):
    layer, _ = random_layer(MaskedKeyValuePredict)
    x = torch.randn(2, 4, E, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    out, weights = layer(x, mask=mask)
    expect_finite(out, "out, con una secuencia que es toda relleno")
    largest = max(weights[1].abs().max().item(), weights[0, 0].abs().max().item())
    expect(
        largest == 0,
        f"Una fila que no puede mirar a nadie tiene pesos de hasta {largest:.2g}, no 0.",
        "anula los pesos prohibidos también después de la softmax.",
    )
    out[0].sum().backward()
    expect_finite(x.grad, "el gradiente de x, aunque la pérdida no use la secuencia vacía")
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None:
            expect_finite(parameter.grad, f"el gradiente de {name}")


@check("ej2a_limites", "Funciona en float16 y en bfloat16", points=0.75)
def half_precision(MaskedKeyValuePredict):
    layer, state = random_layer(MaskedKeyValuePredict)
    x = torch.randn(2, 5, E)
    mask = left_padded(x, [5, 2])
    exact, _ = oracle(state, x, allowed_pairs(mask, 2, 5))
    for cast, dtype, atol in (("half", torch.float16, 0.03), ("bfloat16", torch.bfloat16, 0.3)):
        getattr(layer, cast)()
        out, weights = layer(x.to(dtype), mask=mask)
        expect(out.dtype == dtype, f"Con x en {dtype}, out sale en {out.dtype}.")
        expect_finite(out.float(), f"out, en {dtype}")
        expect(
            bool((weights[1, :, :3] == 0).all()),
            f"En {dtype} hay pesos sobre el relleno.",
            "−1e10 no cabe en float16: usa el menor número del tipo.",
        )
        expect_close(out.double(), exact, f"los valores de out en {dtype}", atol=atol)


# --- 2b: la forma ---------------------------------------------------------------------------------


def predictor_of(SequencePredictor, output_dim=3, **options):
    """Un modelo en modo evaluación."""
    predictor = SequencePredictor(E, 16, output_dim, **options)
    predictor.eval()
    return predictor


@check("ej2b_forma", "La salida es head(media de lo que existe)", points=1.0)
def output_is_head_of_masked_mean(SequencePredictor):
    predictor = predictor_of(SequencePredictor)
    x = torch.randn(3, 5, E)
    gaps = lengths_to_mask([5, 3, 1], 5)
    gaps[:, 0], gaps[0, 2], gaps[2, 4] = False, False, True  # con relleno también al principio
    for mask in (None, gaps):
        with torch.no_grad():
            out = predictor.attention(x, mask)[0]
            real = torch.ones(3, 5) if mask is None else mask.float()
            mean = (out * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
            expected = predictor.head(mean)
            actual = predictor(x, mask)
        what = "sin máscara" if mask is None else "con máscara"
        expect_close(
            actual,
            expected,
            f"los valores de la salida {what}",
            "la media de attention(x, mask) sobre lo que existe, y luego head; sin softmax.",
        )


@check("ej2b_forma", "Ocho posiciones de relleno más no cambian nada", points=1.0)
def more_padding_changes_nothing(SequencePredictor):
    predictor = predictor_of(SequencePredictor)
    x = torch.randn(2, 5, E)
    mask = lengths_to_mask([5, 3], 5)
    longer = torch.cat([x, torch.randn(2, 8, E) * 3], dim=1)
    before = predictor(x, mask).detach()
    after = predictor(longer, lengths_to_mask([5, 3], 13))
    expect_close(
        after,
        before,
        "los valores de la salida al añadir relleno",
        "divide entre cuántas posiciones existen, no entre T.",
    )


@check("ej2b_forma", "La cabeza no es lineal", points=1.0)
def head_is_not_affine(SequencePredictor):
    predictor = predictor_of(SequencePredictor)
    a, b = torch.randn(2, 64, E) * 3
    with torch.no_grad():
        values = predictor.head(torch.cat([a, b, a + b, torch.zeros_like(a)]))
    fa, fb, fab, f0 = values.chunk(4)
    gap = (fa + fb - fab - f0).abs().max().item()
    expect(
        gap > 1e-3,
        f"La cabeza cumple f(a) + f(b) = f(a + b) + f(0) (diferencia, {gap:.1g}): es lineal.",
        "entre dos capas lineales hace falta una función que no lo sea.",
    )


@check("ej2b_forma", "Una secuencia vacía da una salida finita", points=0.5)
def empty_sequence(SequencePredictor):
    predictor = predictor_of(SequencePredictor)
    x = torch.randn(2, 4, E, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    output = predictor(x, mask)
    expect_finite(output, "la salida, con una secuencia que es toda relleno")
    output[0].sum().backward()
    expect_finite(x.grad, "el gradiente de x")


# --- 2b: normalización por lotes ------------------------------------------------------------------


@check("ej2b_lotes", "batch_norm decide si hay normalización por lotes", points=1.0)
def batch_norm_is_optional(SequencePredictor):
    for wanted in (True, False):
        predictor = SequencePredictor(E, 16, 3, batch_norm=wanted)
        found = any(name.endswith("running_mean") for name in predictor.state_dict())
        expect(
            found == wanted,
            f"Con batch_norm={wanted}, la capa {'no ' * (not found)}tiene nn.BatchNorm1d.",
        )
        x = torch.randn(6, 4, E)
        predictor.train()
        together = predictor(x)[:3].detach()
        apart = predictor(x[:3])
        same = bool((together - apart).abs().max() < 1e-5)
        expect(
            same != wanted,
            f"En modo entrenamiento y con batch_norm={wanted}, la respuesta "
            f"{'no ' * same}depende de las demás secuencias del lote.",
            "la normalización tiene que estar en el camino, y solo si se pide.",
        )


@check("ej2b_lotes", "Al evaluar, no depende de las compañeras de lote", points=1.0)
def eval_is_independent_of_batch(SequencePredictor):
    predictor = SequencePredictor(E, 16, 3, batch_norm=True)
    predictor.train()
    for _ in range(3):  # para que las medias acumuladas no sean las de partida
        predictor(torch.randn(8, 4, E) * 2 + 1)
    predictor.eval()
    x = torch.randn(4, 5, E)
    mask = lengths_to_mask([5, 4, 2, 3], 5)
    together = predictor(x, mask).detach()
    alone = predictor(x[:1], mask[:1])
    expect_close(
        alone,
        together[:1],
        "los valores de una secuencia sola, en modo evaluación",
        "usa nn.BatchNorm1d con sus valores por defecto y no fuerces su modo.",
    )


# --- 2b: la pérdida -------------------------------------------------------------------------------


@check("ej2b_perdida", "Clasificación: entropía cruzada de los logits", points=0.75)
def classification_loss(task_loss):
    outputs, targets = torch.randn(6, 4) * 3, torch.tensor([0, 1, 2, 3, 1, 0])
    expect_close(
        task_loss("clasificación", outputs, targets),
        F.cross_entropy(outputs, targets),
        "los valores de la pérdida",
        "F.cross_entropy espera logits, sin softmax.",
    )


@check("ej2b_perdida", "Regresión: error cuadrático medio, sin broadcasting", points=0.75)
def regression_loss(task_loss):
    outputs, targets = torch.randn(5, 1), torch.randn(5) * 2
    expect_close(
        task_loss("regresión", outputs, targets),
        ((outputs[:, 0] - targets) ** 2).mean(),
        "los valores de la pérdida",
        "[B, 1] menos [B] es [B, B].",
    )


@check("ej2b_perdida", "Otra tarea, ValueError", points=0.5)
def unknown_task(task_loss):
    expect_error(
        ValueError,
        lambda: task_loss("traducción", torch.zeros(2, 2), torch.tensor([0, 1])),
        "Con la tarea «traducción»",
    )


# --- 2b: entrenar ---------------------------------------------------------------------------------


def points(count: int, task: str):
    """Los datos del enunciado, con otros números: XOR de los signos del centro."""
    signs = torch.randint(0, 2, (count, 2)) * 2.0 - 1
    centre = torch.randn(count, 1, E)
    centre[:, 0, :2] = signs * (1 + torch.rand(count, 2))
    x = centre + 0.2 * torch.randn(count, 5, E)
    mask = torch.arange(5) < torch.randint(2, 6, (count, 1))
    product = signs.prod(-1)
    return x, mask, (product > 0).long() if task == "clasificación" else product


@check("ej2b_entrenamiento", "La pérdida baja de 0.1 en las dos tareas", points=1.5)
def training_works(train_predictor, SequencePredictor):
    for task, size in (("clasificación", 2), ("regresión", 1)):
        data = points(128, task)
        predictor = SequencePredictor(E, 16, size)
        losses = train_predictor(predictor, *data, task, steps=150, lr=1e-2)
        last = float(losses[-1])
        expect(
            last < 0.1,
            f"En la tarea de {task}, tras 150 pasos la pérdida es {last:.3f}; empezó en "
            f"{float(losses[0]):.3f} y debería bajar de 0.1.",
            "¿logits en la entropía cruzada?, ¿zero_grad y step en cada paso?",
        )
        with torch.no_grad():
            outputs = predictor(data[0], data[1])
        if task == "clasificación":
            real = float(F.cross_entropy(outputs, data[2]))
        else:
            real = float(F.mse_loss(outputs[:, 0], data[2]))
        expect(
            real < 0.15,
            f"Las pérdidas devueltas acaban en {last:.3f}, pero la del modelo es {real:.3f}.",
            "la lista debe tener la pérdida de cada paso, del modelo que se entrena.",
        )


@check("ej2b_entrenamiento", "Entrena en modo entrenamiento y acaba en evaluación", points=1.0)
def training_modes(train_predictor, SequencePredictor):
    data = points(64, "clasificación")
    predictor = SequencePredictor(E, 16, 2, batch_norm=True)
    predictor.eval()
    losses = list(train_predictor(predictor, *data, "clasificación", steps=5, lr=1e-2))
    kinds = {type(loss).__name__ for loss in losses}
    expect(
        len(losses) == 5 and kinds == {"float"},
        f"Con steps=5 esperaba 5 pérdidas de tipo float; hay {len(losses)}, de tipo "
        f"{', '.join(sorted(kinds))}.",
    )
    means = [v for name, v in predictor.state_dict().items() if name.endswith("running_mean")]
    moved = bool(means) and bool(means[0].abs().max() > 1e-3)
    expect(
        moved,
        "Tras entrenar, la media acumulada de la normalización por lotes sigue en cero.",
        "el modelo llega en cualquier modo: llama a train() antes del bucle.",
    )
    expect(not bool(predictor.training), "El modelo acaba en modo entrenamiento.", "eval().")
