"""Comprobaciones del cuaderno 10: `hard_attention` (10a)."""

import torch

from autograder.checks import check, expect_close


def expected_of(scores, values, mask):
    """El oráculo, con un bucle sobre los ejemplos."""
    rows = []
    for s, v, m in zip(scores, values, mask, strict=True):
        rows.append(v[m][s[m].argmax()] if m.any() else torch.zeros(v.size(1)))
    return torch.stack(rows)


@check("ej10a_elegir", "El valor de la mayor puntuación", points=2.0)
def best_value(hard_attention):
    scores, values = torch.randn(4, 6), torch.randn(4, 6, 3)
    mask = torch.ones(4, 6, dtype=torch.bool)
    expected = expected_of(scores, values, mask)
    hint = "busca la posición de la mayor puntuación de cada fila, y toma el valor que está ahí."
    expect_close(hard_attention(scores, values, mask), expected, "los valores elegidos", hint)


@check("ej10a_relleno", "El relleno no se elige", points=2.0)
def padding_is_not_chosen(hard_attention):
    scores, values = -torch.rand(4, 6) - 1, torch.randn(4, 6, 3)
    mask = torch.arange(6) < torch.tensor([[1], [3], [5], [2]])
    scores = scores.masked_fill(~mask, 5.0)
    expected = expected_of(scores, values, mask)
    hint = "antes de buscar la mayor, haz imposible la puntuación del relleno."
    found = hard_attention(scores, values, mask)
    expect_close(found, expected, "los valores elegidos, con relleno", hint)


@check("ej10a_relleno", "Sin palabras, ceros", points=1.0)
def nothing_to_choose(hard_attention):
    found = hard_attention(torch.randn(2, 4), torch.randn(2, 4, 3), torch.zeros(2, 4).bool())
    hint = "una fila sin ninguna palabra no tiene valor que devolver: ceros."
    expect_close(found, torch.zeros(2, 3), "los valores de una fila sin palabras", hint)
