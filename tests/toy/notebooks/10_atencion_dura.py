# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Atención dura
#
# **Tiempo**: 5 minutos de lección y 10 de ejercicios.
#
# Todo el peso, para la clave que mejor encaja. Es un cuaderno de juguete: comprueba que se puede añadir un mecanismo al curso.
#
# ## 1. Preparación
#
# Lo que el cuaderno importa.

# %% tags=["export"]
import matplotlib.pyplot as plt
import torch
from apoyo import show

# %% [markdown]
# ## 2. Frente a la softmax
#
# Con puntuaciones 1, 2 y 3, la softmax reparte y la atención dura elige.

# %% tags=["skip-execution", "portada"]
scores = torch.tensor([1.0, 2.0, 3.0])
soft = scores.softmax(0)
plt.figure(figsize=(5, 2.5), layout="constrained")
plt.bar(range(3), soft, color="#0b4f8a")
plt.xlabel("Clave")
plt.ylabel("Peso")
show(f"Tres barras, una por clave, con sus pesos. La softmax da {soft[2]:.2f} a la tercera.")

# %% [markdown]
# ## 3. Ejercicios
#
# ### Ejercicio 10a · `hard_attention` (●○○○○, 10 minutos, 5 puntos)
#
# Devuelve el valor de la clave con más puntuación; si empatan varias, el de la primera.
#
# | nombre | forma |
# |---|---|
# | `scores` | `[B, S]` |
# | `values` | `[B, S, D]` |
# | `mask` | bool `[B, S]`, True donde hay palabra |
# | resultado | `[B, D]`; ceros, si no hay ninguna palabra |


# %% nbgrader={"grade_id": "ej10a_dura", "solution": true} tags=["export"]
# ejercicio: ej10a_dura
def hard_attention(scores, values, mask):
    """El valor de la mejor clave: `[B, S]`, `[B, S, D]`, bool `[B, S]` → `[B, D]`."""
    ### BEGIN SOLUTION
    best = scores.masked_fill(~mask, float("-inf")).argmax(1)
    chosen = values[torch.arange(len(values)), best]
    return chosen * mask.any(1, keepdim=True)
    ### END SOLUTION


# %% [markdown]
# Mira lo que elige antes de probar nada.

# %% tags=["skip-execution"]
print(hard_attention(torch.tensor([[1.0, 3.0]]), torch.eye(2)[None], torch.ones(1, 2).bool()))

# %% [markdown]
# **Elegir**: la de más puntuación.

# %% nbgrader={"grade_id": "ej10a_elegir", "grade": true, "points": 2}
# pruebas: ej10a_elegir
import torch

found = hard_attention(torch.tensor([[1.0, 3.0]]), torch.eye(2)[None], torch.ones(1, 2).bool())
assert found.tolist() == [[0.0, 1.0]], f"La segunda puntúa más, y sale {found.tolist()}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("10_atencion_dura", "ej10a_elegir", hard_attention)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: nunca se elige, y sin palabras no hay nada que devolver.

# %% nbgrader={"grade_id": "ej10a_relleno", "grade": true, "points": 3}
# pruebas: ej10a_relleno
import torch

mask = torch.tensor([[True, False]])
found = hard_attention(torch.tensor([[1.0, 3.0]]), torch.eye(2)[None], mask)
assert found.tolist() == [[1.0, 0.0]], f"La segunda es relleno, y sale {found.tolist()}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("10_atencion_dura", "ej10a_relleno", hard_attention)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Resumen
#
# La atención dura elige; la softmax reparte.
#
# ### Referencias
#
# - Xu, K., et al. (2015). *Show, Attend and Tell: Neural Image Caption Generation with Visual Attention*. ICML. (La atención dura.)
