"""Cómo crecen el tiempo y la memoria de cada mecanismo cuando la longitud se dobla.

    python benchmarks/growth.py

Las dos secuencias tienen la misma longitud n, de 128 a 2048; un ejemplo, un hilo, sin gradiente. La
memoria es lo más que ocupan a la vez los tensores que se crean. El
exponente es la pendiente de la recta de mínimos cuadrados entre los logaritmos: 1 si al doblar la
longitud se dobla el coste, 2 si se multiplica por cuatro.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from measuring import digits, median_seconds, peak_megabytes, table
from torch import nn
from torch.nn import functional as F

from autograder.notebooks import load

LENGTHS = (128, 256, 512, 1024, 2048)
H = 64

Run = Callable[[int], object]


def additive() -> Run:
    layer = load("01_atencion_global").Attention(H, dropout=0.0)

    def run(n: int) -> list:
        states, queries = torch.randn(n, 1, H), torch.randn(n, 1, H)
        keys = layer.project_keys(states)
        return [layer(query, states, keys=keys) for query in queries]

    return run


def word_by_word() -> Run:
    layer = load("04_atencion_two_way").WordByWordAttention(H)
    return lambda n: layer(torch.randn(1, n, H), torch.randn(1, n, H))


def coattention() -> Run:
    layer = load("05_coatencion_dinamica").SentinelCoattention(H)
    return lambda n: layer(*two_sequences(n))


def two_sequences(n: int) -> list[torch.Tensor]:
    masks = [torch.ones(1, n, dtype=torch.bool)] * 2
    return [torch.randn(1, n, H), torch.randn(1, n, H), *masks]


def self_attention(need_weights: bool) -> Run:
    layer = load("06_autoatencion").SelfAttention(H, H, num_heads=4, dropout=0.0)
    return lambda n: layer(torch.randn(1, n, H), need_weights=need_weights)


def key_value_predict() -> Run:
    nb = load("07_clave_valor_prediccion")
    layer = nb.KeyValuePredictAttention(H, H, num_heads=4, dropout=0.0)
    return lambda n: layer(torch.randn(1, n, H))


def over_attention() -> Run:
    layer = load("08_atencion_sobre_atencion").AttentionOverAttention(H, H, dropout=0.0)
    layer.read_document = layer.read_question = lambda x, mask: x  # sin las recurrentes
    return lambda n: layer(torch.randn(1, n, H), torch.randn(1, n, H))


def attention_flow() -> Run:
    layer = load("09_bidaf").AttentionFlow(H // 2)
    return lambda n: layer(*two_sequences(n))


def of_torch() -> Run:
    def run(n: int) -> torch.Tensor:
        q, k, v = torch.randn(3, 1, 4, n, H // 4)
        return F.scaled_dot_product_attention(q, k, v)

    return run


def recurrent() -> Run:
    lstm = nn.LSTM(H, H, batch_first=True)
    return lambda n: lstm(torch.randn(1, n, H))


CASES = {
    "01 `Attention`, n pasos": additive,
    "04 `WordByWordAttention`": word_by_word,
    "05 `SentinelCoattention`": coattention,
    "06 `SelfAttention`": lambda: self_attention(True),
    "06 la misma, sin pedir los pesos": lambda: self_attention(False),
    "07 `KeyValuePredictAttention`": key_value_predict,
    "08 `AttentionOverAttention`": over_attention,
    "09 `AttentionFlow`": attention_flow,
    "PyTorch, `scaled_dot_product_attention`": of_torch,
    "PyTorch, `nn.LSTM`": recurrent,
}


def exponent(values: list[float]) -> str:
    """La pendiente entre los logaritmos de las longitudes y de lo medido."""
    return f"**{np.polyfit(np.log(LENGTHS), np.log(values), 1)[0]:.2f}**"


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    times, memory = [], []
    for name, build in CASES.items():
        run = build()
        run(LENGTHS[-1])  # lo que se prepara una vez
        spent = [median_seconds(lambda n=n, f=run: f(n), repeats=5) for n in LENGTHS]
        used = [peak_megabytes(lambda n=n, f=run: f(n)) for n in LENGTHS]
        times.append([name, *(digits(1000 * t) for t in spent), exponent(spent)])
        memory.append([name, *map(digits, used), exponent(used)])
    lengths = [f"n = {n}" for n in LENGTHS]
    print(table(["milisegundos", *lengths, "exponente"], times))
    print()
    print(table(["megabytes", *lengths, "exponente"], memory))


if __name__ == "__main__":
    main()
