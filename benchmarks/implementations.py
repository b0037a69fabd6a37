"""Las implementaciones de los cuadernos, frente a otra más directa y a la de PyTorch, si la hay.

    python benchmarks/implementations.py

Las dos tienen los mismos pesos y, antes de medir, se comprueba que dan lo mismo. Un hilo, lotes de
32 y tamaños como los de los artículos. La alternativa es la que se escribe leyendo la fórmula: un
paso, una palabra o un ejemplo cada vez, o un vector para cada pareja de palabras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from measuring import digits, median_seconds, ratio, table
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.notebooks import load

B, S, T, H = 32, 40, 20, 128  # ejemplos, palabras de cada secuencia y tamaño de los vectores


class Case(NamedTuple):
    """Lo que se compara: las dos funciones no reciben nada y dan lo mismo."""

    name: str
    alternative: str
    ours: Callable[[], Tensor]
    other: Callable[[], Tensor]


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


def lengths_mask(size: int) -> Tensor:
    return torch.arange(size) < torch.randint(1, size + 1, (B, 1))


def additive() -> Iterator[Case]:
    """01: una frase entera, con las claves calculadas una vez o en cada paso."""
    nb = load("01_atencion_global")
    ours, naive = nb.Attention(H, dropout=0.0), nb.BahdanauAttention(H)
    with torch.no_grad():
        naive.attn.weight.copy_(torch.cat([ours.query.weight, ours.key.weight], dim=1))
        naive.attn.bias.copy_(ours.query.bias)
        naive.v.weight.copy_(ours.v.weight)
    states, queries = leaf(S, B, H), leaf(T, B, H)

    def once() -> Tensor:
        keys = ours.project_keys(states)
        return torch.stack([ours(query, states, keys=keys) for query in queries])

    yield Case(
        "01 `Attention`, 20 pasos",
        "repite y proyecta cada paso",
        once,
        lambda: torch.stack([naive(query, states) for query in queries]),
    )


def memories() -> Iterator[Case]:
    """02: los vectores de las frases, contando palabras o sumando sus vectores uno a uno."""
    nb = load("02_redes_de_memoria")
    N, L, V, d, tables = 50, 8, 30, 64, 4
    network = nb.MemoryNetwork(V, d, hops=tables - 1, temporal=False)
    sentences = torch.randint(1, V, (B, N, L))
    place = torch.arange(1, L + 1) / L
    channel = torch.arange(1, d + 1) / d
    weights = (1 - place[:, None]) - channel * (1 - 2 * place[:, None])  # [L, d]
    yield Case(
        "02 `memories`, 4 tablas",
        "un vector por palabra",
        lambda: torch.stack(network.memories(sentences, (sentences != 0).any(-1))),
        lambda: torch.stack([(words(sentences) * weights).sum(2) for words in network.words]),
    )


def pointer() -> Iterator[Case]:
    """03: sumar los pesos de cada palabra, en su casilla o con un vector por posición."""
    nb = load("03_sum_reader")
    V, length = 2000, 400
    document, weights = torch.randint(1, V, (B, length)), leaf(B, length)
    yield Case(
        "03 `sum_attention`",
        "`one_hot` y producto",
        lambda: nb.sum_attention(weights, document, V),
        lambda: (weights[:, None] @ F.one_hot(document, V).to(weights.dtype)).squeeze(1),
    )


def word_by_word() -> Iterator[Case]:
    """04: las proyecciones, una vez o en cada paso."""
    layer = load("04_atencion_two_way").WordByWordAttention(H)
    premise, hypothesis = leaf(B, S, H), leaf(B, T, H)

    def every_step() -> Tensor:
        memory, maps = premise.new_zeros(B, H), []
        for h in hypothesis.unbind(1):
            keys = layer.W_y(premise) + (layer.W_h(h) + layer.W_r(memory))[:, None]
            weights = layer.w(torch.tanh(keys)).squeeze(-1).softmax(-1)
            memory = (weights[:, None] @ premise).squeeze(1) + torch.tanh(layer.W_t(memory))
            maps.append(weights)
        return torch.stack(maps, dim=1)

    yield Case(
        "04 `WordByWordAttention`",
        "proyecta en cada paso",
        lambda: layer(premise, hypothesis)[1],
        every_step,
    )


def coattention() -> Iterator[Case]:
    """05: el lote entero o un ejemplo cada vez, sin su relleno."""
    layer = load("05_coatencion_dinamica").SentinelCoattention(H)
    document, question = leaf(B, 10 * S, H), leaf(B, T, H)
    masks = lengths_mask(10 * S), lengths_mask(T)
    yield Case(
        "05 `SentinelCoattention`",
        "un ejemplo cada vez",
        lambda: layer(document, question, *masks)[0].masked_fill(~masks[0][..., None], 0.0),
        lambda: one_by_one(lambda d, q, *rest: layer(d, q, *rest)[0], document, question, *masks),
    )


def one_by_one(layer: Callable, document: Tensor, question: Tensor, *masks: Tensor) -> Tensor:
    """Lo que da una capa a cada ejemplo por separado, otra vez con relleno."""
    found = []
    for d, q, d_mask, q_mask in zip(document, question, *masks, strict=True):
        d, q = d[d_mask][None], q[q_mask][None]
        out = layer(d, q, *(torch.ones(x.shape[:2], dtype=torch.bool) for x in (d, q)))
        found.append(F.pad(out[0], (0, 0, 0, len(d_mask) - out.size(1))))
    return torch.stack(found)


def self_attention() -> Iterator[Case]:
    """06: todas las cabezas a la vez, o una a una; y la capa de PyTorch."""
    layer = load("06_autoatencion").SelfAttention(H, H, num_heads=8, dropout=0.0)
    x = leaf(B, 4 * S, H)
    d = H // 8

    def head_by_head() -> Tensor:
        z, heads = layer.layer_norm(x), []
        for first in range(0, H, d):
            q, k, v = (
                F.linear(z, p.weight[first : first + d], p.bias[first : first + d])
                for p in (layer.query, layer.key, layer.value)
            )
            heads.append((q @ k.transpose(1, 2) / d**0.5).softmax(-1) @ v)
        return x + layer.fc_out(torch.cat(heads, dim=-1))

    theirs = nn.MultiheadAttention(H, 8, batch_first=True)
    parts = [layer.query, layer.key, layer.value]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(layer.fc_out.state_dict())

    def of_torch(need_weights: bool) -> Tensor:
        z = layer.layer_norm(x)
        options = {"need_weights": need_weights, "average_attn_weights": False}
        return x + theirs(z, z, z, **options)[0]

    yield Case("06 `SelfAttention`", "cabeza a cabeza", lambda: layer(x)[0], head_by_head)
    yield Case(
        "06 `SelfAttention`",
        "PyTorch, `nn.MultiheadAttention`",
        lambda: layer(x)[0],
        lambda: of_torch(True),
    )
    yield Case(
        "06 la misma, sin pedir los pesos",
        "PyTorch, `nn.MultiheadAttention`",
        lambda: layer(x, need_weights=False)[0],
        lambda: of_torch(False),
    )


def key_value_predict() -> Iterator[Case]:
    """07: todas las posiciones a la vez, o una a una con su ventana; y la función de PyTorch."""
    window = 15
    nb = load("07_clave_valor_prediccion")
    layer = nb.KeyValuePredictAttention(H, H, dropout=0.0, window=window)
    x = leaf(B, 4 * S, H)

    def projected() -> tuple[Tensor, ...]:
        z = layer.layer_norm(x)
        key = layer.key_proj(z)
        return layer.query_proj(key), key, layer.value_proj(z), layer.predict_proj(z)

    def finish(context: Tensor, predict: Tensor) -> Tensor:
        return x + layer.fc_out(torch.cat([context, predict], dim=-1))

    def step_by_step() -> Tensor:
        q, k, v, predict = projected()
        context = [torch.zeros_like(q[:, 0])]
        for t in range(1, q.size(1)):
            seen = slice(max(0, t - window), t)
            scores = k[:, seen] @ q[:, t, :, None] / H**0.5
            context.append((scores.softmax(1) * v[:, seen]).sum(1))
        return finish(torch.stack(context, dim=1), predict)

    def of_torch() -> Tensor:
        q, k, v, predict = projected()
        allowed = nb.past_window(x.size(1), window)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return finish(F.pad(context[:, 1:], (0, 0, 1, 0)), predict)  # la primera no mira a nadie

    name = "07 `KeyValuePredictAttention`"
    yield Case(name, "un paso cada vez", lambda: layer(x)[0], step_by_step)
    yield Case(name, "PyTorch, `scaled_dot_product_attention`", lambda: layer(x)[0], of_torch)


def over_attention() -> Iterator[Case]:
    """08: el lote entero o un ejemplo cada vez, sin las recurrentes."""
    layer = load("08_atencion_sobre_atencion").AttentionOverAttention(H, H, dropout=0.0)
    layer.read_document = layer.read_question = lambda x, mask: x * mask[..., None]
    document, question = leaf(B, 10 * S, H), leaf(B, T, H)
    masks = lengths_mask(10 * S), lengths_mask(T)

    def ours(d: Tensor, q: Tensor, d_mask: Tensor, q_mask: Tensor) -> Tensor:
        return layer(d, q, d_mask.sum(1), q_mask.sum(1))[1][..., None]

    yield Case(
        "08 `AttentionOverAttention`",
        "un ejemplo cada vez",
        lambda: ours(document, question, *masks),
        lambda: one_by_one(ours, document, question, *masks),
    )


GROUPS = (
    additive,
    memories,
    pointer,
    word_by_word,
    coattention,
    self_attention,
    key_value_predict,
    over_attention,
)


def check(case: Case) -> None:
    """Que las dos den lo mismo.

    Raises:
        AssertionError: si no.
    """
    torch.testing.assert_close(case.ours(), case.other(), rtol=1e-3, atol=1e-4)


def row(case: Case) -> list[str]:
    """Lo que tarda cada una, en ms, y su razón, hacia delante y con el gradiente."""
    check(case)
    cells = [case.name, case.alternative]
    for backwards in (False, True):
        with torch.set_grad_enabled(backwards):
            times = [median_seconds(partial(run, f, backwards)) for f in (case.ours, case.other)]
        cells += [*(digits(1000 * t) for t in times), ratio(times[1], times[0])]
    return cells


def run(function: Callable[[], Tensor], backwards: bool) -> None:
    found = function()
    if backwards:
        found.sum().backward()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    header = ["cuaderno", "alternativa", "ms", "la otra", "razón", "ms, con gradiente"]
    rows = [row(case) for group in GROUPS for case in group()]
    print(table([*header, "la otra", "razón"], rows, texts=2))


if __name__ == "__main__":
    main()
