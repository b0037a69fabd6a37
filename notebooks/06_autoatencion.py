# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Autoatención
#
# | | |
# |---|---|
# | **Al terminar podrás** | explicar qué pregunta hace cada palabra y quién le responde; escribir una capa de autoatención con varias cabezas y con máscaras que no fallan; demostrar con controles que la atención hace el trabajo; leer un mapa de atención |
# | **Tiempo** | 75 minutos de lección y 90 de ejercicios |
# | **Dificultad** | ●●●○○ |
# | **Antes conviene saber** | módulos, tensores y bucle de entrenamiento de PyTorch; producto escalar y softmax |
# | **Artículo** | Vaswani et al., *Attention Is All You Need* (2017), secciones 3.2 y 3.2.2 |
#
# En los cuadernos anteriores, una secuencia miraba a otra: un decodificador a la frase de origen, una
# pregunta a un documento. Aquí la secuencia se mira **a sí misma**: cada palabra elige, entre sus
# compañeras, de cuáles necesita información.

# %% [markdown]
# ## 1. Preparación
#
# Primero, lo que el cuaderno importa. Solo hace falta lo que Colab ya trae.

# %% tags=["export"]
import math
import random
import sys

import matplotlib.pyplot as plt
import torch
from apoyo import fit, pick_device, plot_losses, set_seed, show
from torch import nn
from torch.nn import functional as F

# %% [markdown]
# Y ahora la semilla y el dispositivo: si hay GPU, se usa.

# %% tags=["nbval-ignore-output"]
set_seed(6)
device = pick_device()
print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__} en {device}")

# %% [markdown]
# ## 2. Intuición: un telegrama revuelto
#
# Un telegrama se pagaba por palabras, así que nadie escribía artículos. Imagina que además llega con las
# palabras revueltas:
#
# > **rota · problema · niñas · cansadas · mano · nuevo**
#
# ¿Qué adjetivo es de qué sustantivo? El orden no ayuda, pero la **concordancia** sí: *cansadas* es femenino
# plural, y solo *niñas* lo es; *rota* es femenino singular, como *mano*. Para resolverlo, cada palabra lanza una
# pregunta a todas, ella incluida («¿quién concuerda conmigo?»), y se queda con lo que dice la que mejor responde.
#
# Una red recurrente lee en orden: la información de *rota* tendría que atravesar todas las palabras hasta llegar a
# *mano*. Una convolución usa un peso fijo para cada distancia, y aquí la pareja puede estar a cualquiera. La
# **autoatención** compara todas las palabras con todas, de dos en dos y en un solo paso.
#
# ### A mano
#
# Describe cada palabra con dos números: género (+1 masculino, −1 femenino) y número (+1 plural, −1 singular). En el
# telegrama *niña · perros · cansados* quedan así:
#
# | palabra | vector |
# |---|---|
# | niña | (−1, −1) |
# | perros | (+1, +1) |
# | cansados | (+1, +1) |
#
# El producto escalar mide la concordancia. Con la pregunta de *cansados*, y dividiendo entre $\sqrt 2$ (el porqué, en
# la sección 3):
#
# - con *niña*: $(1)(-1) + (1)(-1) = -2$, y $-2/\sqrt 2 \approx -1.41$
# - con *perros*: $+2/\sqrt 2 \approx +1.41$
# - con *cansados*, es decir, consigo misma: también $+1.41$
#
# La **softmax** convierte esas puntuaciones en pesos positivos que suman 1: como $e^{-1.41} \approx 0.24$ y
# $e^{1.41} \approx 4.11$, y los tres suman $8.47$, los pesos son $0.03$, $0.49$ y $0.49$ (redondeados). La respuesta es la media, con
# esos pesos, de lo que dice cada palabra. Si cada una dice su posición (1, 2 o 3), sale
# $0.03 \cdot 1 + 0.49 \cdot 2 + 0.49 \cdot 3 \approx 2.46$: ni *perros* ni *cansados*.
#
# El problema es que ninguna palabra se parece a *cansados* más que ella misma. Por eso cada palabra no usa un vector
# sino tres, sacados de ella con matrices que se aprenden: una **consulta** (lo que busca), una **clave** (lo que ofrece
# a quien busca) y un **valor** (lo que entrega si la eligen). Para esta pregunta basta con que los adjetivos ofrezcan la clave
# nula: *cansados* puntúa 0, como $e^0 = 1$ los pesos pasan a ser $0.05$, $0.77$ y $0.19$, y la respuesta, $2.14$, se acerca a la
# posición de *perros*. Para que también pregunten los sustantivos, las matrices tendrán que distinguir los dos casos: eso lo
# aprenderá la red.
#
# La celda repite la cuenta.

# %% tags=["skip-execution"]
words = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, 1.0]])  # niña, perros, cansados
positions = torch.tensor([1.0, 2.0, 3.0])
query = words[2]  # la consulta de «cansados»
is_noun = torch.tensor([[1.0], [1.0], [0.0]])

for name, keys in {"clave = palabra": words, "clave propia": words * is_noun}.items():
    weights = torch.softmax(keys @ query / math.sqrt(2), dim=0)
    answer = (weights @ positions).item()
    print(f"{name:16} pesos: {[round(w, 2) for w in weights.tolist()]}  respuesta: {answer:.2f}")

assert abs(weights[1].item() - 0.768) < 1e-3

# %% [markdown]
# Con la palabra como clave, *cansados* reparte su atención a medias entre *perros* y ella misma. Con una clave que
# distingue sustantivos de adjetivos, *perros* se lleva el 77 %. En la sección 7, una red aprenderá sola esas matrices.

# %% [markdown]
# ## 3. Formulación
#
# Sea $x \in \mathbb{R}^{S \times E}$ una secuencia de $S$ vectores de $E$ números. La capa de este cuaderno normaliza, atiende, y
# suma el resultado a la entrada (**conexión residual**). La normalización, $\mathrm{LN}$ (*layer normalization*, Ba et al., 2016),
# deja cada vector con media 0 y varianza 1, y luego lo reescala con parámetros. Aquí va antes de atender (*pre-LN*); el
# artículo original la pone al final (*post-LN*), como harás tú en el ejercicio 1a. Xiong et al. (2020) comparan las dos. Para cada
# **cabeza**, que es un juego de matrices $W_q$, $W_k$, $W_v$:
#
# $$z = \mathrm{LN}(x), \qquad q_i = W_q z_i + b_q, \quad k_j = W_k z_j + b_k, \quad v_j = W_v z_j + b_v$$
#
# $$s_{ij} = \frac{q_i \cdot k_j}{\sqrt{d}}, \qquad
# \alpha_{ij} = \frac{m_{ij}\, e^{s_{ij}}}{\sum_l m_{il}\, e^{s_{il}}}, \qquad
# c_i = \sum_j \alpha_{ij} v_j$$
#
# donde $d$ es el tamaño de $q_i$ y de $k_j$, y la máscara $m_{ij} \in \{0, 1\}$ dice si la posición $i$ puede mirar a la $j$. Si no
# puede mirar a ninguna, no hay nada que repartir y fijamos $\alpha_{ij} = 0$. Con $h$ cabezas se hace lo mismo $h$ veces, y sus
# resultados se ponen uno a continuación de otro, que es lo que significa $[\,;\,]$:
#
# $$\mathrm{out}_i = x_i + W_o\,[c_i^{1}; \dots; c_i^{h}] + b_o$$
#
# En el código todo lleva un eje más, el del lote, con $B$ secuencias:
#
# | en la fórmula | en el código | forma |
# |---|---|---|
# | $x$, $z$ | `x`, `z` | `[B, S, E]` |
# | $q$, $k$, $v$ | `q`, `k`, `v` | `[B, h, S, d]`, con `d = hidden_dim / h` |
# | $m$ | `allowed` | `[B, 1, 1, S]` o `[B, 1, S, S]` |
# | $s$ | `scores` | `[B, h, S, S]` (fila: consulta; columna: clave) |
# | $\alpha$ | `weights` | `[B, h, S, S]` |
# | $c$ | `context` | `[B, h, S, d]` |
# | $\mathrm{out}$ | `out` | `[B, S, E]` |
#
# ### ¿Por qué dividir entre $\sqrt d$?
#
# El producto escalar de dos vectores de $d$ números independientes, de media 0 y varianza 1, tiene varianza $d$ (desviación
# estándar $\sqrt d$). Sin dividir, al crecer $d$ la softmax se satura: pone casi todo el peso en una clave, y entonces apenas
# cambia cuando cambian las puntuaciones. La celda lo mide con 10 claves al azar: la desviación estándar de las puntuaciones, el
# peso mayor, y la derivada de ese peso respecto a su puntuación, que es $p(1-p)$.

# %% tags=["skip-execution"]
generator = torch.Generator().manual_seed(0)
print("   d   división  desv. estándar  peso mayor  derivada")
for d in (4, 64, 1024):
    q = torch.randn(2000, 1, d, generator=generator)
    k = torch.randn(2000, 10, d, generator=generator)
    for name, divisor in (("ninguna", 1.0), ("entre √d", math.sqrt(d))):
        scores = (q @ k.transpose(1, 2)).squeeze(1) / divisor  # [2000, 10]
        largest = scores.softmax(-1).max(-1).values
        slope = (largest * (1 - largest)).mean().item()
        row = f"{scores.std().item():14.1f}  {largest.mean().item():10.2f}  {slope:8.2f}"
        print(f"{d:4}   {name:8}  {row}")

assert slope > 0.15  # con d = 1024 y la división

# %% [markdown]
# Con $d = 1024$ y sin dividir, la clave ganadora se lleva de media el 96 % del peso **antes de aprender nada**, y la derivada
# casi desaparece. Con la división, nada de eso depende de $d$.

# %% [markdown]
# ## 4. Implementación de referencia
#
# ### Máscaras sin adivinanzas
#
# Una máscara puede decir qué claves existen de verdad (1) y cuáles son relleno (0), con una fila por secuencia, o qué clave
# puede mirar cada consulta, con una matriz por secuencia. Solo se admiten cinco formas, que se comparan eje por eje, y el
# primer eje es **siempre** el lote. Nunca se recurre al *broadcasting*, que estira los ejes de tamaño 1 hasta que encajan: con él,
# una máscara `[B, 1, S]` con tantas secuencias como cabezas se aplicaría por cabezas, sin un solo aviso. Y un 0 en punto
# flotante podría querer decir «prohibido» o «suma cero a la puntuación», así que solo se aceptan ceros y unos.


# %% tags=["export"]
def expand_mask(mask: torch.Tensor, batch_size: int, length: int) -> torch.Tensor:
    """Lleva una máscara de cualquiera de las formas admitidas a `[B, 1, 1, S]` o `[B, 1, S, S]`.

    Formas:
        mask: `[B, S]`, `[B, 1, S]` o `[B, 1, 1, S]` (qué claves existen), o `[B, S, S]` o
            `[B, 1, S, S]` (qué clave puede mirar cada consulta); bool, entera o de punto
            flotante, con 1 (o True) donde sí se puede mirar y 0 (o False) donde no.

    Raises:
        ValueError: si la forma es otra, o si hay valores que no son 0 ni 1. El primer eje es
            siempre el lote: para una máscara común `[S, S]` usa `mask.expand(B, S, S)`.
    """
    B, S = batch_size, length
    shapes = [(B, S), (B, 1, S), (B, 1, 1, S), (B, S, S), (B, 1, S, S)]
    if tuple(mask.shape) not in shapes:
        valid = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"Máscara de forma {list(mask.shape)}; las formas válidas son {valid}.")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            "La máscara tiene valores distintos de 0 y 1. Una máscara que se suma a las "
            "puntuaciones (0 y -inf) no vale aquí: pasa `mask == 0`."
        )
    return mask.bool().reshape(B, 1, -1, S)


# %% [markdown]
# ### La atención
#
# Esta función es la segunda línea de la fórmula. Poner $-\infty$ en las puntuaciones prohibidas antes de la softmax es lo mismo que
# multiplicar por $m_{ij} = 0$, porque $e^{-\infty} = 0$. Dos detalles evitan los errores más frecuentes:
#
# - Una consulta sin ninguna clave permitida daría $0/0$. Se le permiten todas durante la softmax y se anulan sus pesos al
#   final: ni el resultado ni el gradiente pasan por un `nan`.
# - El *dropout* se aplica a los pesos que multiplican a los valores; los que se devuelven siguen sumando 1.


# %% tags=["export"]
def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allowed: torch.Tensor | None = None,
    dropout: float = 0.0,
    need_weights: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Atención por producto escalar escalado (Vaswani et al., 2017, ecuación 1).

    Formas:
        q, k, v: `[B, h, S, d]`; allowed: bool `[B, 1, 1, S]` o `[B, 1, S, S]`.

    Args:
        dropout: probabilidad de anular cada peso que multiplica a los valores.
        need_weights: si es False se usa la versión fusionada de PyTorch, que no los guarda.

    Returns:
        `context [B, h, S, d]` y `weights [B, h, S, S]` (None si no se pidieron). Las filas de
        `weights` suman 1, o 0 si la consulta no puede mirar a ninguna clave.
    """
    empty = None
    if allowed is not None:
        empty = ~allowed.any(-1, keepdim=True)  # consultas sin ninguna clave
        allowed = allowed | empty
    if need_weights:
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # [B, h, S, S]
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        weights = scores.softmax(-1)
        if empty is not None:
            weights = weights.masked_fill(empty, 0.0)
        return F.dropout(weights, dropout) @ v, weights
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
    return context if empty is None else context.masked_fill(empty, 0.0), None


# %% [markdown]
# ### La capa
#
# Queda repartir los canales entre las cabezas, volver a juntarlos, y añadir normalización, proyección final y conexión
# residual. El reparto es la línea más delicada: `view` corta los canales de cada palabra en $h$ trozos de $d$, y `transpose`
# pone el eje de las cabezas delante, para que `q @ kᵀ` compare palabras dentro de cada una. Un `view` directo a `[B, h, S, d]`
# tendría la misma forma y mezclaría las palabras.


# %% tags=["export"]
class SelfAttention(nn.Module):
    """Autoatención con varias cabezas, normalización previa y conexión residual.

    Args:
        embedding_dim: tamaño E de los vectores de entrada y de salida.
        hidden_dim: suma de los tamaños de las cabezas; múltiplo de `num_heads`.
        num_heads: número h de cabezas.
        dropout: probabilidad de dropout, en los pesos y en la salida proyectada.

    Raises:
        ValueError: si `hidden_dim` no es múltiplo de `num_heads`.

    Referencia: Vaswani et al. (2017), sección 3.2.2.
    """

    def __init__(self, embedding_dim, hidden_dim, num_heads=1, dropout=0.1):
        super().__init__()
        if num_heads < 1 or hidden_dim % num_heads:
            raise ValueError(f"hidden_dim={hidden_dim} no es múltiplo de num_heads={num_heads}.")
        self.num_heads = num_heads
        self.query = nn.Linear(embedding_dim, hidden_dim)
        self.key = nn.Linear(embedding_dim, hidden_dim)
        self.value = nn.Linear(embedding_dim, hidden_dim)
        self.fc_out = nn.Linear(hidden_dim, embedding_dim)
        self.layer_norm = nn.LayerNorm(embedding_dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value, self.fc_out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, mask=None, need_weights=True):
        """Atiende a la propia secuencia.

        Formas:
            x: `[B, S, E]`; mask: véase `expand_mask`.

        Returns:
            `out [B, S, E]` y `weights [B, h, S, S]` (None con `need_weights=False`).

        Raises:
            ValueError: si la máscara no tiene una forma o unos valores admitidos.
        """
        B, S, _ = x.shape
        allowed = None if mask is None else expand_mask(mask, B, S)
        z = self.layer_norm(x)
        q, k, v = (
            project(z).view(B, S, self.num_heads, -1).transpose(1, 2)  # [B, h, S, d]
            for project in (self.query, self.key, self.value)
        )
        rate = self.dropout.p if self.training else 0.0
        context, weights = attend(q, k, v, allowed, rate, need_weights)
        context = context.transpose(1, 2).flatten(2)  # [B, S, hidden_dim]
        return x + self.dropout(self.fc_out(context)), weights


# %% [markdown]
# ## 5. Comprobaciones
#
# Antes de entrenar nada, veamos si la capa cumple lo que promete.
#
# **Las filas suman 1 y el relleno no influye.** Cambiamos lo que hay en las posiciones de relleno por vectores al azar: las
# salidas válidas no se mueven ni un bit. (Al azar, y no sumando una constante: la normalización borraría una
# constante y el error pasaría inadvertido.)

# %% tags=["skip-execution"]
torch.manual_seed(0)
layer = SelfAttention(embedding_dim=16, hidden_dim=32, num_heads=4).eval()
x = torch.randn(3, 7, 16)
lengths = torch.tensor([7, 4, 2])
mask = torch.arange(7) < lengths[:, None]  # [B, S]

out, weights = layer(x, mask)
disturbed = torch.where(mask[..., None], x, torch.randn_like(x) * 100)
change = (layer(disturbed, mask)[0] - out)[mask].abs().max().item()
print(f"suma de las filas: {weights.sum(-1).min().item():.6f} a {weights.sum(-1).max().item():.6f}")
print(f"cambio en las posiciones válidas: {change}")
assert change == 0.0

# %% [markdown]
# **Las cinco formas de máscara dicen lo mismo**, sean de tipo bool, entero o de punto flotante. La peligrosa es `[B, 1, S]` cuando hay
# tantas secuencias como cabezas: la celda compara lo que hace la capa (una fila por secuencia) con lo que haría el
# *broadcasting* (una fila por cabeza). Una forma que no está en la lista se rechaza.

# %% tags=["skip-execution"]
square = mask[:, None, :].expand(3, 7, 7)
for form in (mask, mask[:, None], mask[:, None, None], square, square[:, None]):
    for dtype in (torch.bool, torch.long, torch.float32):
        assert torch.equal(layer(x, form.to(dtype))[0], out)

x4 = torch.randn(4, 7, 16)  # 4 secuencias, 4 cabezas
mask4 = (torch.arange(7) < torch.tensor([7, 5, 3, 1])[:, None])[:, None]  # [4, 1, 7]
_, by_sequence = layer(x4, mask4)
by_head = torch.ones(4, 4, 7, 7).masked_fill(~mask4, 0.0)
print("claves que ve la última secuencia:", (by_sequence[3, 0, 0] > 0).sum().item())
print("claves que vería con broadcasting, en cada cabeza:", by_head[3, :, 0].sum(-1).tolist())
try:
    layer(x4, torch.ones(4, 4, 7))
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# **Una consulta sin claves recibe ceros y su gradiente es finito.** Ocurre de verdad: con relleno a la izquierda y máscara
# causal, las primeras posiciones no pueden mirar a nadie.

# %% tags=["skip-execution"]
left_padding = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])  # [1, S]
causal = torch.ones(7, 7).tril()
mask_both = left_padding[:, None, :] * causal  # [1, S, S]
x_grad = torch.randn(1, 7, 16, requires_grad=True)
out_left, weights_left = layer(x_grad, mask_both)
out_left.sum().backward()
print("suma de cada fila:", weights_left[0, 0].sum(-1).tolist())
assert out_left.isfinite().all() and x_grad.grad.isfinite().all()

# %% [markdown]
# **Coincide con PyTorch.** `nn.MultiheadAttention` es la misma cuenta sin normalización ni residuo. Con los mismos
# parámetros, los pesos y la salida son iguales salvo redondeo. También lo es la salida del camino rápido, `need_weights=False`, que
# llama a `F.scaled_dot_product_attention` y no guarda la matriz de pesos.

# %% tags=["skip-execution"]
layer = SelfAttention(16, 16, num_heads=4).eval()
oracle = nn.MultiheadAttention(16, 4, batch_first=True).eval()
names = ("query", "key", "value")
state = {f"in_proj_{kind}": torch.cat([layer.get_parameter(f"{name}.{kind}") for name in names])
         for kind in ("weight", "bias")}  # fmt: skip
state |= {f"out_proj.{kind}": layer.get_parameter(f"fc_out.{kind}") for kind in ("weight", "bias")}
oracle.load_state_dict(state)
with torch.no_grad():
    z = layer.layer_norm(x)
    expected = oracle(z, z, z, key_padding_mask=~mask, average_attn_weights=False)
    out, weights = layer(x, mask)
    fast, _ = layer(x, mask, need_weights=False)

assert torch.allclose(out, x + expected[0], atol=1e-6)
assert torch.allclose(weights, expected[1], atol=1e-6)
assert torch.allclose(out, fast, atol=1e-6)
print("igual que nn.MultiheadAttention y que el camino rápido")

# %% [markdown]
# **La autoatención no ve el orden.** Si cambias las palabras de sitio, las salidas cambian de sitio con ellas y nada más. Por
# eso, cuando el orden importa, hay que sumar a cada vector algo que diga su posición.

# %% tags=["skip-execution"]
order = torch.randperm(7)
with torch.no_grad():
    permuted, original = layer(x[:, order])[0], layer(x)[0]
change = (permuted - original[:, order]).abs().max().item()
print("orden:", order.tolist(), "diferencia tras reordenar la salida:", f"{change:.6f}")
assert change < 1e-6

# %% [markdown]
# ## 6. Datos: telegramas
#
# Hagamos la tarea del principio. Cada telegrama tiene de dos a cuatro parejas de sustantivo y adjetivo, cada una con una
# combinación distinta de género y número, y llega revuelto. Para **cada** palabra hay que señalar la posición de su pareja:
# sabemos de antemano adónde debe mirar, así que podremos corregir no solo la respuesta, sino también el mapa de atención.
#
# Algunas palabras podrían engañarte a ti por su terminación: *problema*, *mapa* y *día* son masculinos; *mano*, *foto* y *moto*,
# femeninos. A la red no: para ella cada palabra es un número y no ve las letras. Tendrá que aprender el género de *problema*
# igual que el de *carta*, por los adjetivos que la acompañan. Y tres adjetivos de cada sustantivo se reservan: esas parejas
# **nunca** aparecen en el entrenamiento.

# %% tags=["export"]
NOUNS = [  # singular, plural, género
    ("tren", "trenes", "m"), ("paquete", "paquetes", "m"), ("billete", "billetes", "m"),
    ("perro", "perros", "m"), ("puente", "puentes", "m"), ("problema", "problemas", "m"),
    ("mapa", "mapas", "m"), ("día", "días", "m"), ("carta", "cartas", "f"),
    ("maleta", "maletas", "f"), ("llave", "llaves", "f"), ("niña", "niñas", "f"),
    ("flor", "flores", "f"), ("mano", "manos", "f"), ("foto", "fotos", "f"),
    ("moto", "motos", "f"),
]  # fmt: skip
STEMS = ["perdid", "rot", "nuev", "roj", "viej", "pequeñ", "bonit", "lent", "mojad", "cansad"]
ENDINGS = {("m", 0): "o", ("f", 0): "a", ("m", 1): "os", ("f", 1): "as"}  # (género, plural)
PAD, MAX_LENGTH = 0, 8
VOCAB = ["·"] + [word for noun in NOUNS for word in noun[:2]]
VOCAB += [stem + ENDINGS[agreement] for stem in STEMS for agreement in ENDINGS]
WORD_ID = {word: i for i, word in enumerate(VOCAB)}


def random_telegram(rng: random.Random, novel: bool) -> tuple[list[str], list[int]]:
    """Un telegrama revuelto: sus palabras y, para cada una, la posición de su pareja.

    Con `novel`, todas las parejas son de las reservadas: nunca están en el entrenamiento.
    """
    tagged = []
    for gender, plural in rng.sample(list(ENDINGS), rng.choice([2, 3, 4])):
        n = rng.choice([i for i, noun in enumerate(NOUNS) if noun[2] == gender])
        reserved = {(n + shift) % len(STEMS) for shift in (0, 3, 7)}  # tres, distintos en cada n
        stem = rng.choice([i for i in range(len(STEMS)) if (i in reserved) == novel])
        agreement = (gender, plural)
        tagged += [(NOUNS[n][plural], agreement), (STEMS[stem] + ENDINGS[agreement], agreement)]
    rng.shuffle(tagged)
    seen = [agreement for _, agreement in tagged]  # la pareja de i es la otra con lo mismo
    partners = [
        next(j for j, a in enumerate(seen) if a == b and j != i) for i, b in enumerate(seen)
    ]
    return [word for word, _ in tagged], partners


# %% [markdown]
# Los telegramas se guardan en tensores de 8 posiciones: con relleno (`PAD`) al final en las palabras, y −100 donde no hay
# respuesta, que es el valor que la entropía cruzada de PyTorch ignora.


# %% tags=["export"]
def make_telegrams(count: int, seed: int, novel: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` telegramas: `ids [count, 8]` y `partners [count, 8]` (−100 en el relleno)."""
    rng = random.Random(seed)
    ids = torch.full((count, MAX_LENGTH), PAD)
    partners = torch.full((count, MAX_LENGTH), -100)
    for row in range(count):
        words, answer = random_telegram(rng, novel)
        ids[row, : len(words)] = torch.tensor([WORD_ID[word] for word in words])
        partners[row, : len(words)] = torch.tensor(answer)
    return ids, partners


def words_of(ids: torch.Tensor) -> list[str]:
    """Las palabras de un telegrama `[S]`, sin el relleno."""
    return [VOCAB[i] for i in ids.tolist() if i != PAD]


# %% [markdown]
# Tres telegramas de entrenamiento. Debajo de cada palabra, la posición de su pareja (se cuenta desde cero).

# %% tags=["skip-execution"]
for ids, partners in zip(*make_telegrams(3, seed=1)):
    words = words_of(ids)
    print("  ".join(f"{word:>9}" for word in words))
    print("  ".join(f"{j:>9}" for j in partners[: len(words)].tolist()), end="\n\n")

# %% [markdown]
# ### El modelo
#
# Lo mínimo: embedding de la palabra más embedding de la posición, **una** capa de `SelfAttention`, y dos salidas lineales.
# La primera señala la pareja. La segunda, que usaremos al comparar cabezas, dice qué palabra viene después.


# %% tags=["export"]
class TelegramReader(nn.Module):
    """Señala la pareja de cada palabra de un telegrama, y dice la palabra siguiente.

    Args:
        embed_dim: tamaño E de los embeddings.
        num_heads: cabezas de la capa de autoatención.
        dropout: probabilidad de dropout, en los embeddings y en la atención.
        use_positions: si es False, el modelo no sabe en qué posición está cada palabra.
    """

    def __init__(self, embed_dim=48, num_heads=1, dropout=0.0, use_positions=True):
        super().__init__()
        self.word = nn.Embedding(len(VOCAB), embed_dim, padding_idx=PAD)
        self.position = nn.Embedding(MAX_LENGTH, embed_dim)
        self.use_positions = use_positions
        self.dropout = nn.Dropout(dropout)
        self.attention = SelfAttention(embed_dim, embed_dim, num_heads, dropout)
        self.norm = nn.LayerNorm(embed_dim)
        self.partner = nn.Linear(embed_dim, MAX_LENGTH)
        self.next_word = nn.Linear(embed_dim, len(VOCAB))

    def forward(self, ids, mask=None):
        """Lee un lote de telegramas.

        Formas:
            ids: `[B, S]`, con `S <= 8`; mask: véase `expand_mask`; si falta, `ids != PAD`.

        Returns:
            `partner_logits [B, S, 8]`, `next_logits [B, S, V]` y `weights [B, h, S, S]`.
        """
        x = self.word(ids)
        if self.use_positions:
            x = x + self.position.weight[: ids.size(1)]
        x, weights = self.attention(self.dropout(x), ids != PAD if mask is None else mask)
        x = self.norm(x)
        return self.partner(x), self.next_word(x), weights


# %% [markdown]
# ## 7. Entrenamiento: ¿es la atención quien hace el trabajo?
#
# Un acierto del 100 % no demuestra que la atención sirva de algo: quizá el resto del modelo bastaba. Por eso entrenamos
# el mismo modelo, con los mismos pasos, en cuatro condiciones:
#
# | condición | qué se le quita |
# |---|---|
# | **atención** | nada |
# | **sin contexto** (línea base) | la máscara solo deja que cada palabra se mire a sí misma |
# | **uniforme** (control negativo) | la consulta vale cero: todas las claves pesan igual |
# | **sin posiciones** (ablación) | el embedding de posición: puede elegir a quién mirar, pero nadie sabe dónde está |
#
# Medimos el acierto en telegramas nuevos, el acierto con parejas nunca vistas, y el **acierto del mapa**: con qué
# frecuencia la clave de mayor peso es la pareja correcta. Al azar, los aciertos rondarían 1/5: los telegramas tienen seis
# palabras de media, y quedan cinco candidatas. Primero, la pérdida, los lotes y la medida.


# %% tags=["export"]
def partner_loss(model, batch):
    """Entropía cruzada al señalar la pareja; `batch` es `(ids, partners, mask)`."""
    ids, partners, mask = batch
    return F.cross_entropy(model(ids, mask)[0].flatten(0, 1), partners.flatten(), ignore_index=-100)


def random_batches(ids, partners, mask=None, size=128):
    """Lotes al azar sin fin: `(ids [size, S], partners [size, S], mask)`."""
    while True:
        rows = torch.randint(len(ids), (size,), device=ids.device)
        yield ids[rows], partners[rows], mask


@torch.no_grad()
def evaluate(model, ids, partners, mask=None):
    """Acierto de la respuesta y acierto del mapa (clave de mayor peso, media de las cabezas)."""
    if mask is not None:
        mask = mask[:1].expand(len(ids), -1, -1)
    logits, _, weights = model(ids, mask)
    real = partners >= 0
    right = (logits.argmax(-1) == partners)[real].float().mean().item()
    looked = (weights.mean(1).argmax(-1) == partners)[real].float().mean().item()
    return right, looked


def silence_queries(model):
    """Deja las consultas a cero para siempre: todas las claves pesan igual."""
    for parameter in model.attention.query.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)


# %% [markdown]
# La celda siguiente entrena las cuatro condiciones: menos de 10 segundos en total con dos núcleos. `fit`, que está en las
# ayudas del curso, es el bucle de entrenamiento habitual: AdamW, con una tasa de aprendizaje que sube y luego baja.

# %% tags=["skip-execution", "nbval-ignore-output"]
train_set, test_set, novel_set = (
    [tensor.to(device) for tensor in make_telegrams(count, seed, novel)]
    for count, seed, novel in ((6000, 1, False), (1500, 2, False), (1500, 3, True))
)
seen = set(map(tuple, train_set[0].tolist()))  # los telegramas más cortos podrían repetirse
unseen = torch.tensor([tuple(row) not in seen for row in test_set[0].tolist()], device=device)
test_set = [tensor[unseen] for tensor in test_set]

only_self = torch.eye(MAX_LENGTH, device=device).expand(128, -1, -1)  # [B, S, S]: B del lote
conditions = {"atención": None, "sin contexto": only_self, "uniforme": None, "sin posiciones": None}
curves, readers, results = {}, {}, {}
for name, mask in conditions.items():
    set_seed(6)
    readers[name] = TelegramReader(use_positions=name != "sin posiciones").to(device)
    if name == "uniforme":
        silence_queries(readers[name])
    batches = random_batches(*train_set, mask)
    curves[name] = fit(readers[name], batches, partner_loss, steps=600, lr=5e-3, label=name)
    on_test, on_novel = (evaluate(readers[name], *data, mask) for data in (test_set, novel_set))
    results[name] = (*on_test, on_novel[0])

print(f"{'':15} acierto  acierto del mapa  acierto en parejas nunca vistas")
for name, (right, looked, novel) in results.items():
    shown = "—" if name == "uniforme" else f"{looked:.3f}"  # con pesos iguales no hay mayor
    print(f"{name:15} {right:7.3f}  {shown:>16}  {novel:31.3f}")
    if name == "atención":
        assert min(right, looked) > 0.98 and novel > 0.95
    else:
        assert right < 0.35

# %% [markdown]
# Las curvas (la media de 25 pasos) cuentan lo mismo. Fíjate en la caída de «atención» hacia el paso 150: es cuando el mapa
# encuentra las parejas. La de «uniforme» se detiene justo en el azar: si sabes cuántas palabras hay y eliges cualquiera de las
# otras, la entropía cruzada media es $(4 \ln 3 + 6 \ln 5 + 8 \ln 7)/18$.

# %% tags=["skip-execution", "nbval-ignore-output"]
plot_losses(curves)
chance = (4 * math.log(3) + 6 * math.log(5) + 8 * math.log(7)) / 18
plateau = sum(curves["uniforme"][-100:]) / 100
print(f"azar entre las demás palabras: {chance:.2f}; «uniforme», al final: {plateau:.2f}")
assert abs(plateau - chance) < 0.08

# %% [markdown]
# Con atención, el modelo acierta todos los telegramas nuevos y casi todas las parejas que nunca vio juntas: no ha memorizado
# parejas, ha aprendido género y número. Y el mapa señala la pareja correcta, aunque la pérdida solo corrige la respuesta y
# nunca los pesos. Sin poder elegir, el mismo modelo se queda en el azar; y sin posiciones tampoco aprende a mirar, porque
# ninguna palabra podría decir dónde está.

# %% [markdown]
# ## 8. Visualización
#
# Arriba, cada palabra cuando pregunta; abajo, las mismas palabras cuando responden. Cuanto más gruesa y oscura es la línea, más
# peso de atención; los pesos menores de 0.03 no se dibujan.


# %% tags=["skip-execution"]
def plot_links(weights, words, ax, title=""):
    """Une cada palabra (arriba, consulta) con las que mira (abajo, clave)."""
    for i, row in enumerate(weights.tolist()):
        for j, weight in enumerate(row):
            if weight > 0.03:
                ax.plot([i, j], [1, 0], color="#0b4f8a", alpha=weight, linewidth=5 * weight)
    for i, word in enumerate(words):
        ax.text(i, 1.06, word, ha="center", va="bottom", fontsize=12)
        ax.text(i, -0.06, word, ha="center", va="top", fontsize=12)
    for height, role in ((1.0, "consulta"), (0.0, "clave")):
        ax.text(-0.75, height, role, ha="right", va="center", fontsize=10, style="italic")
    ax.set_xlim(-1.6, len(words) - 0.4)
    ax.set_ylim(-0.25, 1.25)
    ax.set_title(title, fontsize=12)
    ax.axis("off")


def strongest(weights, words):
    """A quién mira más cada palabra."""
    return ", ".join(f"{word} → {words[j]}" for word, j in zip(words, weights.argmax(-1).tolist()))


def describe_heads(content, position, words):
    """Qué se ve al dibujar las dos cabezas de la segunda pregunta."""
    right = sum(j == i + 1 for i, j in enumerate(position.argmax(-1).tolist()))
    return (
        f"Lo que más mira cada palabra. Cabeza de contenido: {strongest(content, words)}. Cabeza de "
        f"posición: en {right} de {len(words) - 1}, la siguiente."
    )


def read_telegram(model, words):
    """Los pesos de cada cabeza, `[h, S, S]`, al leer una lista de palabras."""
    ids = torch.tensor([[WORD_ID[word] for word in words]], device=device)
    with torch.no_grad():
        return model(ids)[2][0].cpu()


# %% [markdown]
# Fíjate en la simetría: cada línea tiene su gemela, porque la pareja de mi pareja soy yo. Y en *mano* y *problema*: la red ha
# aprendido su género solo con ver qué adjetivos las acompañan.

# %% tags=["skip-execution"]
telegram = ["rota", "problema", "niñas", "cansadas", "mano", "nuevo"]
weights = read_telegram(readers["atención"], telegram)[0]
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
plot_links(weights, telegram, ax, "¿A quién mira cada palabra?")
show(
    "Líneas entre cada palabra del telegrama, arriba, y las que mira, abajo. Las más gruesas: "
    f"{strongest(weights, telegram)}."
)
answers = [telegram[j] for j in weights.argmax(-1).tolist()]
print(", ".join(f"{word} → {answer}" for word, answer in zip(telegram, answers)))
assert answers == ["mano", "nuevo", "cansadas", "niñas", "rota", "problema"]

# %% [markdown]
# ### ¿Para qué varias cabezas?
#
# Una cabeza da a cada palabra **un** reparto de atención. Si una palabra tiene que hacer dos preguntas a la vez, con una sola
# cabeza las respuestas llegan mezcladas en la misma suma. Añadamos una segunda pregunta: además de quién es su pareja,
# cada palabra debe decir **qué palabra viene después**. Una pregunta se responde por contenido; la otra, por posición.
#
# Comparamos 1, 2 y 4 cabezas con el mismo número de parámetros (lo imprime la celda) y de pasos, y con dos semillas.
# Primero, la pérdida y la medida de las dos preguntas.


# %% tags=["export"]
def next_words(ids):
    """La palabra siguiente a cada una, `[B, S]`; −100 donde no hay."""
    following = F.pad(ids[:, 1:], (0, 1), value=PAD)
    return following.masked_fill(following == PAD, -100)


def both_losses(model, batch):
    """Suma de las entropías cruzadas de las dos preguntas; `batch` es `(ids, partners, mask)`."""
    ids, partners, _ = batch
    partner_logits, next_logits, _ = model(ids)
    losses = (
        F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
        for logits, target in ((partner_logits, partners), (next_logits, next_words(ids)))
    )
    return sum(losses)


def mass_on(weights, target):
    """Peso medio que cada cabeza pone en la posición `target [B, S]` (−100: no cuenta)."""
    index = target.clamp(min=0)[:, None, :, None].expand(*weights.shape[:3], 1)
    picked = weights.gather(-1, index).squeeze(-1)  # [B, h, S]
    return [head[target >= 0].mean().item() for head in picked.unbind(1)]


@torch.no_grad()
def evaluate_both(model, ids, partners):
    """Acierto en las dos preguntas y peso de cada cabeza en la pareja y en la siguiente."""
    partner_logits, next_logits, weights = model(ids)
    following = next_words(ids)
    pairs = (partner_logits.argmax(-1) == partners)[partners >= 0].float().mean().item()
    nexts = (next_logits.argmax(-1) == following)[following >= 0].float().mean().item()
    position = torch.arange(1, ids.size(1) + 1, device=ids.device).expand_as(ids)
    apart = (following >= 0) & (partners != position)  # si coinciden, no se distinguen
    masses = [mass_on(weights, target.where(apart, -100)) for target in (partners, position)]
    return pairs, nexts, *masses


# %% [markdown]
# La tabla da el acierto en las dos preguntas y el peso que cada cabeza pone en la pareja y en la palabra siguiente, contando
# solo las palabras en las que son distintas. Así, en cada cabeza, los dos pesos suman como mucho 1. Son seis entrenamientos:
# unos 20 segundos con dos núcleos.

# %% tags=["skip-execution", "nbval-ignore-output"]
heads, sizes = {}, set()
print("cabezas  semilla  pareja  siguiente  peso de cada cabeza en pareja / siguiente")
for num_heads, seed in [(1, 6), (1, 7), (2, 6), (2, 7), (4, 6), (4, 7)]:
    set_seed(seed)
    reader = TelegramReader(num_heads=num_heads).to(device)
    label = f"{num_heads} cabezas"
    fit(reader, random_batches(*train_set), both_losses, steps=1000, lr=4e-3, label=label)
    pairs, nexts, content, position = evaluate_both(reader, *test_set)
    heads[num_heads, seed] = reader, content
    sizes.add(sum(parameter.numel() for parameter in reader.parameters()))
    shares = "   ".join(f"{c:.2f} / {p:.2f}" for c, p in zip(content, position))
    print(f"{num_heads:7}  {seed:7}  {pairs:6.3f}  {nexts:9.3f}  {shares}")
    assert nexts > 0.98
    if num_heads > 1:  # una cabeza para el contenido y otra para la posición
        assert pairs > 0.98 and max(content) > 0.8 and max(position) > 0.8
print("parámetros de cada modelo:", *sizes)

# %% [markdown]
# Con dos o cuatro cabezas el trabajo se reparte solo: una se dedica a la concordancia y el resto a la posición, cada
# una con casi todo su peso en su tarea. La cabeza única no puede dedicarse del todo a ambas: con la semilla 7 parte su
# peso y acierta las dos preguntas; con la 6 se lo da casi todo a la posición, y con estos 1000 pasos acierta menos de la mitad de
# las parejas. No le es imposible; le es más difícil. Y con cuatro cabezas hay tres que hacen lo mismo: más cabezas no
# siempre son más ideas.
#
# En la figura, las dos cabezas del modelo con la semilla 6. En la de la derecha, fíjate en la escalera. La última palabra
# no tiene siguiente: su fila no entra en la pérdida, y lo que mira no significa nada.

# %% tags=["skip-execution"]
two_heads = heads[2, 6][0]
pair_head = max((0, 1), key=heads[2, 6][1].__getitem__)
weights = read_telegram(two_heads, telegram)
figure, axes = plt.subplots(1, 2, figsize=(12, 3.2), layout="constrained")
plot_links(weights[pair_head], telegram, axes[0], "Cabeza de contenido: mi pareja")
plot_links(weights[1 - pair_head], telegram, axes[1], "Cabeza de posición: la siguiente")
show(
    f"Dos dibujos con líneas. {describe_heads(weights[pair_head], weights[1 - pair_head], telegram)}"
)

# %% [markdown]
# ### Prueba tú: la temperatura
#
# Dividir las puntuaciones entre una temperatura $\tau$ antes de la softmax equivale a elevar los pesos a $1/\tau$ y volver a
# normalizar. La **entropía** mide cuánto se reparte la atención, de 0 bits (una sola palabra) a $\log_2 6 \approx 2.58$ (todas por
# igual). Mueve el control y busca dos temperaturas: una con la que la atención sea como señalar con el dedo, y otra con la
# que se parezca al control negativo de la sección 7. ¿Cuál de las dos cabezas aguanta más calor?


# %% tags=["skip-execution"]
def at_temperature(weights, temperature):
    """Los pesos que daría la misma softmax con las puntuaciones divididas entre `temperature`."""
    return (weights.clamp(min=1e-12).log() / temperature).softmax(-1)


def entropy_bits(weights):
    return -(weights * weights.clamp(min=1e-12).log2()).sum(-1).mean().item()


def draw_at(temperature, head, ax):
    tempered = at_temperature(read_telegram(two_heads, telegram)[head], temperature)
    plot_links(tempered, telegram, ax, f"τ = {temperature:g}: {entropy_bits(tempered):.2f} bits")
    return tempered


# %% [markdown]
# Primero, la cabeza de contenido a tres temperaturas fijas; debajo, el control.

# %% tags=["skip-execution"]
figure, axes = plt.subplots(1, 3, figsize=(16, 3), layout="constrained")
bits = []
for ax, temperature in zip(axes, (0.2, 3.0, 100.0)):
    bits.append(entropy_bits(draw_at(temperature, pair_head, ax)))
show(
    "Líneas entre cada palabra y las que mira, con temperaturas 0.2, 3 y 100: al subir, a cada palabra le "
    "salen más líneas y más finas. Entropía, en bits: {:.2f}, {:.2f} y {:.2f}.".format(*bits)
)
pointing = read_telegram(two_heads, telegram)[pair_head]
assert entropy_bits(at_temperature(pointing, 0.2)) < 0.3
assert entropy_bits(at_temperature(pointing, 100.0)) > 2.5

# %% [markdown]
# Si el control no aparece, ejecuta el cuaderno entero: hace falta el modelo entrenado.

# %% tags=["skip-execution", "nbval-ignore-output"]
import ipywidgets


def explore(temperature, head):
    _, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    tempered = draw_at(temperature, head, ax)
    show(
        f"Líneas entre cada palabra y las que mira, con τ = {temperature:.2g}: "
        f"{entropy_bits(tempered):.2f} bits. Las más gruesas: {strongest(tempered, telegram)}."
    )


heads_by_name = [("contenido", pair_head), ("posición", 1 - pair_head)]
control = ipywidgets.interact(
    explore,
    temperature=ipywidgets.FloatLogSlider(value=1, min=-1, max=2, description="τ"),
    head=ipywidgets.Dropdown(options=heads_by_name, value=pair_head, description="Cabeza"),
)

# %% [markdown]
# ## 9. Caza del error
#
# Muchas implementaciones tapan las claves prohibidas con $-\infty$ y siguen adelante. Es correcto… hasta que llega una
# secuencia vacía, o una con relleno a la izquierda y máscara causal. Reproduzcamos el daño: un lote de dos
# secuencias, la primera vacía, y una pérdida que **solo** usa la segunda.


# %% tags=["skip-execution"]
def naive_attend(q, k, v, allowed):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    return weights @ v


versions = {
    "ingenua": naive_attend,
    "ingenua + nan_to_num": lambda *args: naive_attend(*args).nan_to_num(0.0),
    "la nuestra": lambda *args: attend(*args)[0],
}
mask = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 0]]).bool()[:, None, None]  # [B, 1, 1, S]
print(f"{'':21} pérdida  salidas nan  gradientes nan")
for name, function in versions.items():
    torch.manual_seed(0)
    x, projection = torch.randn(2, 1, 4, 8), nn.Linear(8, 8)
    context = function(projection(x), projection(x), projection(x), mask)
    loss = context[1].pow(2).mean()  # la secuencia vacía no entra en la pérdida
    loss.backward()
    broken = projection.weight.grad.isnan().sum().item()
    print(f"{name:21} {loss.item():7.3f}  {context.isnan().sum().item():8}/64  {broken:11}/64")
    assert broken == (0 if name == "la nuestra" else 64)

# %% [markdown]
# La pérdida es la misma y nada avisa, pero **todos** los gradientes del parámetro compartido son `nan`: al retropropagar, el
# cero que llega a la secuencia vacía se multiplica por `nan`, y eso es `nan`. Un solo ejemplo vacío arruina el modelo en
# el primer paso. Limpiar la salida con `nan_to_num` la deja presentable y el gradiente igual de roto; por eso `attend`
# evita que el `nan` llegue a existir.

# %% [markdown]
# ## 10. Ejercicios
#
# Cada ejercicio tiene celdas que completas tú y celdas de pruebas. Las **pruebas visibles** te dicen si vas bien; al
# calificar se añaden otras, así que superarlas no garantiza la nota completa. La primera línea de esas celdas
# (`# ejercicio: …`, `# pruebas: …`) sirve para reconocerlas: no la borres.
#
# Al calificar se ejecutan las definiciones y los ejercicios, no los entrenamientos de la lección: tus soluciones no
# deben usar variables como `readers` o `telegram`.

# %% [markdown]
# ### Ejercicio 1a · `MultiHeadSelfAttention` (●●●○○, 50 minutos, 12 puntos)
#
# `SelfAttention` calcula consulta, clave y valor con tres proyecciones. Muchas implementaciones de Transformers usan **una
# sola**, tres veces más ancha: los mismos números con una llamada en vez de tres. Además, como en el artículo original, aquí se normaliza **después** de
# sumar el residuo (*post-LN*):
#
# $$[Q; K; V] = x\,W_{qkv}^\top + b_{qkv} \qquad
# \mathrm{head}_i = \mathrm{softmax}\!\left(\frac{Q_i K_i^\top}{\sqrt{d}} + M\right) V_i$$
#
# $$\mathrm{out} = \mathrm{LN}\big(x + \mathrm{Dropout}([\mathrm{head}_1; \dots; \mathrm{head}_h]\,W_o^\top + b_o)\big)$$
#
# donde $d = E/h$, y $M$ vale 0 donde se puede mirar y $-\infty$ donde no. Escribe tú la softmax y las máscaras: llamar a `attend`
# te ahorraría justo lo que hay que aprender.
#
# | nombre | forma | qué es |
# |---|---|---|
# | `qkv_proj` | `nn.Linear(E, 3E)` | filas en el orden consultas, claves, valores; dentro de cada bloque, las cabezas seguidas (como `in_proj_weight` de `nn.MultiheadAttention`) |
# | `out_proj` | `nn.Linear(E, E)` | proyección final |
# | `norm` | `nn.LayerNorm(E)` | normalización después del residuo |
# | `x` → `out` | `[B, S, E]` → `[B, S, E]` | |
# | `weights` | `[B, h, S, S]` | suman 1 por filas, también al entrenar |
# | `mask` | bool `[B, S]` | True donde hay palabra, False donde hay relleno |
#
# Con `causal=True` (el desafío del ejercicio), la posición $i$ solo mira a las posiciones $j \le i$. Las dos máscaras se pueden combinar. Una
# consulta sin ninguna clave permitida tiene pesos cero y gradientes finitos.


# %% nbgrader={"grade_id": "ej1a_clase", "solution": true} tags=["export"]
# ejercicio: ej1a_clase
class MultiHeadSelfAttention(nn.Module):
    """Autoatención con una sola proyección QKV, residuo y normalización posterior.

    Args:
        embed_dim: tamaño E de los vectores.
        num_heads: número h de cabezas.
        dropout: probabilidad de dropout sobre la salida proyectada (y, si quieres, también
            sobre los pesos que multiplican a V; los que devuelves no llevan dropout).

    Atributos obligatorios: `qkv_proj`, `out_proj` y `norm` (véase la tabla).

    Raises:
        ValueError: si `embed_dim` no es múltiplo de `num_heads`.
    """

    def __init__(self, embed_dim, num_heads, dropout=0.1):
        super().__init__()
        ### BEGIN SOLUTION
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim} no es múltiplo de num_heads={num_heads}.")
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(embed_dim, 3 * embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x, mask=None, causal=False):
        """Formas: x `[B, S, E]`, mask bool `[B, S]` → out `[B, S, E]`, weights `[B, h, S, S]`."""
        ### BEGIN SOLUTION
        B, S, E = x.shape
        allowed = torch.ones(B, 1, S, S, dtype=torch.bool, device=x.device)
        if mask is not None:
            allowed = allowed & mask[:, None, None, :]
        if causal:
            allowed = allowed.tril()
        qkv = self.qkv_proj(x).view(B, S, 3, self.num_heads, E // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # cada una [B, h, S, d]
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1)
        weights = weights.masked_fill(~allowed, 0.0)
        context = (weights @ v).transpose(1, 2).reshape(B, S, E)
        return self.norm(x + self.dropout(self.out_proj(context))), weights
        ### END SOLUTION


# %% [markdown]
# Mira lo que sale antes de probar nada: los pesos de una secuencia de cuatro vectores, con la última posición de
# relleno y máscara causal. Antes de ejecutarla: ¿cuántos de los dieciséis pesos deben ser cero?

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(0)
attention = MultiHeadSelfAttention(embed_dim=8, num_heads=2).eval()
example_mask = torch.tensor([[True, True, True, False]])
_, weights = attention(torch.randn(1, 4, 8), mask=example_mask, causal=True)
for row in weights[0, 0].tolist():
    print("  ".join(f"{weight:.2f}" for weight in row))

# %% [markdown]
# **Estructura**: formas, una sola proyección y un error claro si las cabezas no caben.

# %% nbgrader={"grade_id": "ej1a_estructura", "grade": true, "points": 2}
# pruebas: ej1a_estructura
import torch

attention = MultiHeadSelfAttention(embed_dim=12, num_heads=3)
out, weights = attention(torch.randn(2, 5, 12))
assert tuple(out.shape) == (2, 5, 12), f"out debería ser [2, 5, 12] y es {list(out.shape)}."
assert tuple(weights.shape) == (2, 3, 5, 5), (
    f"weights debería ser [B, h, S, S] = [2, 3, 5, 5] y es {list(weights.shape)}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_estructura", MultiHeadSelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# **Atención**: los pesos y la salida deben ser los de la fórmula.

# %% nbgrader={"grade_id": "ej1a_atencion", "grade": true, "points": 3.5}
# pruebas: ej1a_atencion
import torch

attention = MultiHeadSelfAttention(embed_dim=8, num_heads=2, dropout=0.0)
_, weights = attention(torch.randn(3, 6, 8))
sums = weights.sum(-1)
assert torch.allclose(sums, torch.ones(3, 2, 6), atol=1e-5), (
    f"Cada fila de pesos debe sumar 1; las tuyas van de {sums.min():.3f} a {sums.max():.3f}."
)
_, weights = attention(torch.ones(1, 4, 8))
assert torch.allclose(weights, torch.full((1, 2, 4, 4), 0.25), atol=1e-5), (
    "Si los cuatro vectores son iguales, cada palabra debe mirar a todas por igual (0.25)."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_atencion", MultiHeadSelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: nadie mira las posiciones que no existen.

# %% nbgrader={"grade_id": "ej1a_relleno", "grade": true, "points": 2}
# pruebas: ej1a_relleno
import torch

attention = MultiHeadSelfAttention(embed_dim=8, num_heads=2, dropout=0.0)
mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
out, weights = attention(torch.randn(2, 4, 8), mask=mask)
assert tuple(out.shape) == (2, 4, 8), f"out debería ser [2, 4, 8] y es {list(out.shape)}."
on_padding = weights[1, :, :, 2:].abs().max().item()
assert on_padding == 0, f"Hay un peso de {on_padding:.2g} sobre una posición de relleno."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_relleno", MultiHeadSelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# **Causal**: nadie mira al futuro.

# %% nbgrader={"grade_id": "ej1a_causal", "grade": true, "points": 1.5}
# pruebas: ej1a_causal
import torch

attention = MultiHeadSelfAttention(embed_dim=8, num_heads=2, dropout=0.0)
_, weights = attention(torch.randn(2, 4, 8), causal=True)
on_future = weights[:, :, 0, 1:].abs().max().item()
assert on_future == 0, f"La primera posición mira al futuro con un peso de {on_future:.2g}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_causal", MultiHeadSelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# **Dropout**: actúa al entrenar, no al evaluar, y respeta los pesos devueltos y el residuo.

# %% nbgrader={"grade_id": "ej1a_dropout", "grade": true, "points": 1.5}
# pruebas: ej1a_dropout
import torch

attention = MultiHeadSelfAttention(embed_dim=8, num_heads=2, dropout=0.5).eval()
x = torch.randn(2, 4, 8)
change = (attention(x)[0] - attention(x)[0]).abs().max().item()
assert change == 0, f"En modo evaluación, dos pasadas iguales difieren en {change:.2g}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_dropout", MultiHeadSelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: las cabezas</summary>
#
# `self.qkv_proj(x)` es `[B, S, 3E]`. Sus últimos $3E$ números están en el orden *(consulta, clave, valor)*, dentro de cada uno por
# cabezas, y dentro de cada cabeza los $d$ canales. Una sola llamada a `view` separa esos tres niveles; después hay que
# mover ejes, no volver a usar `view`.
#
# </details>
#
# <details><summary>Pista 2: las máscaras</summary>
#
# Construye una sola máscara booleana «¿puede la consulta $i$ mirar a la clave $j$?», con ejes que el *broadcasting* estire hasta
# `[B, h, S, S]`, y combina en ella relleno y causalidad con `&`. Para las filas vacías, recuerda la caza del error: el `nan`
# no debe llegar a existir.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | con una cabeza va bien y con dos no | `view(B, h, S, d)` sin `transpose`, o escalar con $\sqrt E$ en vez de $\sqrt d$ |
# | los pesos coinciden y la salida no | cómo juntas las cabezas (los ejes, antes de aplanar), el residuo o dónde normalizas |
# | `view size is not compatible…` | hay un `transpose` antes: usa `reshape`, que copia si hace falta |
# | `The size of tensor a must match…` con la máscara | le faltan ejes: `[B, S]` tiene que llegar a `[B, 1, 1, S]` |
# | cambiar el relleno cambia la salida | la máscara está en el eje de las consultas, invertida, o después de la softmax |
# | `… modified by an inplace operation` | usa `masked_fill`, sin guion bajo al final, y `x = x + …`, no `x += …` |
# | `nan` con una secuencia vacía | una fila entera con $-\infty$ |
# | los pesos suman 2 o 0 al entrenar | devuelves los pesos después del dropout |
# | la media de cada vector de salida no es 0 | normalizas antes de atender, no después de sumar |
#
# </details>

# %% [markdown]
# Falta comparar tu clase con `SelfAttention`. Si copias en `qkv_proj` las tres proyecciones de una, y en `out_proj` su
# `fc_out`, las dos deben atender exactamente igual. Escribe la función que hace esa copia. La normalización no se copia: está en
# otro sitio. Y la nueva capa no debe compartir memoria con la original: entrenar una no cambia la otra.


# %% nbgrader={"grade_id": "ej1a_copia", "solution": true} tags=["export"]
# ejercicio: ej1a_copia
def from_self_attention(reference):
    """Una `MultiHeadSelfAttention` que atiende como `reference`.

    Args:
        reference: una `SelfAttention` con `hidden_dim` igual a `embedding_dim`; sus capas son
            `query`, `key`, `value` y `fc_out`, y sus cabezas, `num_heads`.

    Returns:
        Una capa nueva, con dropout 0, cuya `qkv_proj` y cuya `out_proj` copian las de `reference`.
    """
    ### BEGIN SOLUTION
    attention = MultiHeadSelfAttention(
        reference.fc_out.out_features, reference.num_heads, dropout=0.0
    )
    projections = (reference.query, reference.key, reference.value)
    with torch.no_grad():
        attention.qkv_proj.weight.copy_(torch.cat([p.weight for p in projections]))
        attention.qkv_proj.bias.copy_(torch.cat([p.bias for p in projections]))
        attention.out_proj.load_state_dict(reference.fc_out.state_dict())
    return attention
    ### END SOLUTION


# %% [markdown]
# La comparación, en números. `SelfAttention` normaliza antes de atender, así que le damos a la tuya la entrada ya
# normalizada. Después medimos lo que ahorra proyectar una vez en lugar de tres. ¿Se nota igual con vectores de 32 números que
# de 256?

# %% tags=["skip-execution", "nbval-ignore-output"]
from statistics import median
from time import perf_counter


def milliseconds(call, repeats=60, warm_up=10):
    times = []
    for _ in range(warm_up + repeats):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times[warm_up:]) * 1000


for size, length in ((32, 8), (256, 64)):
    set_seed(0)
    separate = SelfAttention(size, size, num_heads=4, dropout=0.0).eval()
    fused = from_self_attention(separate).eval()
    x = torch.randn(16, length, size)
    with torch.no_grad():
        difference = (separate(x)[1] - fused(separate.layer_norm(x))[1]).abs().max().item()
        three = milliseconds(lambda: (separate.query(x), separate.key(x), separate.value(x)))
        one = milliseconds(lambda: fused.qkv_proj(x))
    parameters = [sum(p.numel() for p in layer.parameters()) for layer in (separate, fused)]
    print(f"E={size}: parámetros {parameters}, diferencia entre pesos {difference:.0e}")
    print(f"   tres proyecciones {three:.3f} ms, una {one:.3f} ms: {three / one:.1f} veces")

# %% [markdown]
# **Comparación**: los mismos pesos que `SelfAttention`, sin compartir memoria con ella.

# %% nbgrader={"grade_id": "ej1a_comparacion", "grade": true, "points": 1.5}
# pruebas: ej1a_comparacion
reference = SelfAttention(8, 8, num_heads=2)
attention = from_self_attention(reference)
assert attention is not None, "from_self_attention devuelve None; debe devolver la capa nueva."
shape = list(attention.qkv_proj.weight.shape)
assert shape == [24, 8], f"qkv_proj.weight debería ser [3E, E] = [24, 8] y es {shape}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1a_comparacion", from_self_attention, SelfAttention)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista: la copia</summary>
#
# `nn.Linear` guarda sus pesos como `[salida, entrada]`: las tres matrices se apilan por el primer eje, con `torch.cat`. Copiar
# dentro de un parámetro (`copy_`) exige `torch.no_grad()`; si no, PyTorch responde *a leaf Variable that requires grad is being
# used in an in-place operation*. Asignar el parámetro (`nueva.weight = vieja.weight`) no copia: lo comparte.
#
# </details>

# %% [markdown]
# ### Ejercicio 1b · Ver la atención (●●○○○, 25 minutos, 6 puntos)
#
# Un mapa de atención se malinterpreta con facilidad: basta dibujarlo traspuesto, etiquetar una palabra de cada dos, o sacarlo con el
# modelo en modo entrenamiento. Escribe tres herramientas fiables, para cualquier modelo que, como `TelegramReader`,
# devuelva los pesos `[B, h, S, S]` en último lugar.
#
# | función | entra | sale |
# |---|---|---|
# | `attention_map` | un modelo e `ids [S]` | `[h, n, n]`, con las $n$ palabras que no son relleno |
# | `plot_attention` | pesos `[n, n]` y $n$ palabras | los ejes de matplotlib con el mapa de atención |
# | `top_k_attention` | pesos `[n, n]`, $n$ palabras y $k$ | para cada palabra, las $k$ que más mira |
#
# Empieza por extraer los pesos: en modo evaluación, sin gradientes, sin el relleno, y dejando el modelo en el modo en
# que estaba.


# %% nbgrader={"grade_id": "ej1b_mapa", "solution": true} tags=["export"]
# ejercicio: ej1b_mapa
def attention_map(model, ids):
    """Los pesos de atención de un telegrama, en modo evaluación y sin gradientes.

    Formas: ids `[S]`, con relleno (`PAD`) solo al final → pesos `[h, n, n]`, con las `n` palabras
    que no son relleno. El modelo debe quedar en el modo (entrenamiento o evaluación) en que estaba.
    """
    ### BEGIN SOLUTION
    was_training = model.training
    model.eval()
    with torch.no_grad():
        weights = model(ids[None])[-1][0]
    model.train(was_training)
    n = int((ids != PAD).sum())
    return weights[:, :n, :n]
    ### END SOLUTION


# %% [markdown]
# ¿Qué forma tiene el mapa de un telegrama de seis palabras con dos posiciones de relleno?

# %% tags=["skip-execution"]
example_ids = torch.tensor([WORD_ID[word] for word in telegram] + [PAD, PAD], device=device)
print(list(attention_map(two_heads, example_ids).shape))

# %% [markdown]
# **Extraer**: la forma del mapa y, al calificar, sus valores y el modo del modelo.

# %% nbgrader={"grade_id": "ej1b_extraer", "grade": true, "points": 2}
# pruebas: ej1b_extraer
import torch

model = TelegramReader(num_heads=2)
weights = attention_map(model, torch.tensor([3, 40, 8, 60, 0, 0, 0, 0]))
assert tuple(weights.shape) == (2, 4, 4), (
    f"Con 4 palabras y 2 cabezas el mapa debería ser [2, 4, 4] y es {list(weights.shape)}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1b_extraer", attention_map, TelegramReader)
### END HIDDEN TESTS

# %% [markdown]
# Ahora dibújalos. Cada fila es una consulta (lo que pregunta) y cada columna una clave (lo que responde). Para comparar
# mapas, todos deben usar la misma escala: los colores van siempre de 0 a 1, aunque ningún peso llegue a 1. La barra de color es
# opcional.


# %% nbgrader={"grade_id": "ej1b_dibujo", "solution": true} tags=["export"]
# ejercicio: ej1b_dibujo
def plot_attention(weights, tokens, ax=None):
    """Dibuja un mapa de atención con `imshow` y devuelve sus ejes.

    Formas: weights `[n, n]` (fila: consulta; columna: clave); tokens: `n` palabras.

    Args:
        ax: ejes donde dibujar; si falta, se crea una figura.

    Returns:
        Los ejes, con la escala de color de 0 a 1 y una etiqueta por palabra en cada eje.
    """
    ### BEGIN SOLUTION
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 4.5), layout="constrained")
    image = ax.imshow(weights, vmin=0.0, vmax=1.0, cmap="cividis")
    ax.set_xticks(range(len(tokens)), tokens, rotation=45, ha="right")
    ax.set_yticks(range(len(tokens)), tokens)
    ax.set(xlabel="Clave: a quién mira", ylabel="Consulta: quién mira")
    ax.figure.colorbar(image, ax=ax, label="Peso de atención")
    return ax
    ### END SOLUTION


# %% [markdown]
# El mapa del modelo de dos cabezas, con tu función. Debería verse lo mismo que con las líneas de la sección 8.

# %% tags=["skip-execution", "portada"]
maps = attention_map(two_heads, example_ids).cpu()
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
titles = ("Cabeza de contenido: mi pareja", "Cabeza de posición: la siguiente")
for ax, head, title in zip(axes, (pair_head, 1 - pair_head), titles):
    plot_attention(maps[head], telegram, ax).set_title(title)
show(f"Dos mapas de atención. {describe_heads(maps[pair_head], maps[1 - pair_head], telegram)}")

# %% [markdown]
# **Dibujar**: una imagen y, al calificar, sus valores, sus etiquetas y su escala.

# %% nbgrader={"grade_id": "ej1b_dibujar", "grade": true, "points": 2.5}
# pruebas: ej1b_dibujar
import torch

ax = plot_attention(torch.eye(3), ["rota", "mano", "nuevo"])
assert ax is not None, "plot_attention devuelve None; debe devolver los ejes."
images = list(ax.images)
assert len(images) == 1, f"Dibuja el mapa con imshow, una vez; hay {len(images)} imágenes."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1b_dibujar", plot_attention)
### END HIDDEN TESTS

# %% [markdown]
# Por último, los números: para cada palabra, las $k$ que más mira, de mayor a menor peso. Ella misma también cuenta, y una
# palabra puede estar dos veces en el telegrama. El peso tiene que ser un `float` de Python, no un tensor.


# %% nbgrader={"grade_id": "ej1b_lista", "solution": true} tags=["export"]
# ejercicio: ej1b_lista
def top_k_attention(weights, tokens, k=3):
    """Las `k` palabras a las que más mira cada una, de mayor a menor peso.

    Formas: weights `[n, n]` (fila: consulta; columna: clave); tokens: `n` palabras.

    Returns:
        Una lista con, para cada consulta, una lista de parejas `(palabra, peso)`, con el peso
        como `float`. Si `k` es mayor que `n`, son `n` parejas.
    """
    ### BEGIN SOLUTION
    values, indices = torch.topk(weights, min(k, len(tokens)), dim=-1)
    return [
        [(tokens[j], value) for j, value in zip(row_indices, row_values)]
        for row_indices, row_values in zip(indices.tolist(), values.tolist())
    ]
    ### END SOLUTION


# %% [markdown]
# A quién mira más cada palabra, según la cabeza de contenido:

# %% tags=["skip-execution", "nbval-ignore-output"]
for word, ranking in zip(telegram, top_k_attention(maps[pair_head], telegram, k=2)):
    print(f"{word:>9} → " + ", ".join(f"{other} ({weight:.2f})" for other, weight in ranking))

# %% [markdown]
# **Listar**: una lista por palabra y, al calificar, el orden y los casos límite.

# %% nbgrader={"grade_id": "ej1b_topk", "grade": true, "points": 1.5}
# pruebas: ej1b_topk
import torch

ranking = top_k_attention(torch.tensor([[0.9, 0.1], [0.3, 0.7]]), ["mano", "rota"], k=1)
assert len(ranking) == 2, f"Debe haber una lista por palabra, 2 en total, y hay {len(ranking)}."
assert all(len(row) == 1 for row in ranking), f"Con k=1, una pareja por palabra; sale {ranking}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("06_autoatencion", "ej1b_topk", top_k_attention)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1</summary>
#
# `model.training` dice en qué modo está el modelo, y `model.train(modo)` acepta ese mismo valor. `ids[None]` añade el eje del lote.
#
# </details>
#
# <details><summary>Pista 2</summary>
#
# `ax.set_xticks(posiciones, etiquetas)` fija las dos cosas a la vez; poner solo las etiquetas deja que matplotlib elija las
# posiciones. Para el orden, mira `torch.topk` y su argumento `dim`; `.tolist()` convierte un tensor en números de Python.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | el mapa cambia cada vez que lo pides | el modelo estaba en modo entrenamiento |
# | el peso mayor tiene siempre el color del extremo | dejaste que `imshow` eligiera la escala |
# | las columnas suman 1, no las filas | dibujaste la traspuesta |
# | faltan etiquetas | matplotlib eligió las posiciones |
# | todas las palabras miran a la misma | buscaste el máximo por columnas |
#
# </details>

# %% [markdown]
# ### Ejercicio 1b, para terminar · Analiza (●●○○○, 15 minutos, 2 puntos)
#
# Esta pregunta la corrige una persona. Vale por el razonamiento y por los números que aportes, no por la longitud.
#
# **Pregunta.** Toma `two_heads`, el modelo de dos cabezas de la sección 8, y mira sus mapas en tres telegramas tuyos: uno corriente,
# otro con *problema* o *mano*, y otro en el que **dos** sustantivos tengan el mismo género y número.
#
# 1. ¿Qué hace cada cabeza y cómo lo sabes?
# 2. En el tercer telegrama la respuesta no está determinada: ¿qué hacen los pesos y qué responde el modelo?
# 3. ¿Basta un mapa de atención para afirmar que el modelo *usa* esa palabra? Propón un experimento que lo compruebe. (De este
#    debate tratan Jain y Wallace, 2019, y Wiegreffe y Pinter, 2019.)
#
# Esta celda, que no se califica, es para tus experimentos. Las palabras deben estar en `VOCAB`, y caben ocho.

# %% tags=["skip-execution"]
mine = ["carta", "llave", "rota", "trenes", "lentos"]
unknown = [word for word in mine if word not in VOCAB]
assert not unknown, f"No están en VOCAB: {', '.join(unknown)}."

figure, axes = plt.subplots(1, 2, figsize=(12, 3.2), layout="constrained")
weights = read_telegram(two_heads, mine)
for ax, head, title in zip(axes, (pair_head, 1 - pair_head), ("Contenido", "Posición")):
    plot_links(weights[head], mine, ax, title)
show(f"Dos dibujos con líneas. {describe_heads(weights[pair_head], weights[1 - pair_head], mine)}")

# %% [markdown]
# Y lo que responde el modelo: qué probabilidad da a cada palabra de ser la pareja de la de la izquierda.

# %% tags=["skip-execution", "nbval-ignore-output"]
with torch.no_grad():
    partner_logits, _, _ = two_heads(
        torch.tensor([[WORD_ID[word] for word in mine]], device=device)
    )
for word, row in zip(mine, partner_logits[0].softmax(-1).tolist()):
    print(f"{word:>9} → " + "  ".join(f"{other} {p:.2f}" for other, p in zip(mine, row)))

# %% [markdown] nbgrader={"grade_id": "ej1b_analisis", "grade": true, "solution": true, "points": 2}
# <!-- ejercicio: ej1b_analisis -->
# ### BEGIN SOLUTION
# (1) Una cabeza pone casi todo su peso en la pareja y la otra en la palabra siguiente; se ve en los mapas y se mide con el
# peso medio sobre cada posición (tabla de la sección 8). (2) Con dos candidatos posibles, la cabeza de contenido reparte su peso
# entre ambos, y la respuesta suele ser más tajante que los pesos (por ejemplo, 0.48 y 0.51 de peso y 0.72 de probabilidad),
# aunque no siempre: el peso de atención no es la confianza del modelo. (3) No basta: el peso dice cuánto se mezcla un valor,
# no si el resto del modelo lo aprovecha. Se puede intervenir: prohibir con la máscara esa palabra (o cambiarla por otra) y ver
# si cambia la respuesta, y compararlo con prohibir otra al azar.
# ### END SOLUTION

# %% [markdown]
# ## 11. Resumen
#
# - En la autoatención, cada palabra pregunta a todas (consulta), todas responden (clave), y se queda con una media de lo que
#   entregan (valor), ponderada por la softmax de los productos escalares divididos entre $\sqrt d$.
# - No ve el orden: la posición hay que dársela.
# - Una máscara bien puesta impide mirar; una fila sin claves vale cero, y el `nan` no debe llegar a existir.
# - Una cabeza es un solo reparto. Varias pueden hacer preguntas distintas, aunque nada garantiza que las hagan.
# - Que un mapa parezca razonable no demuestra nada: los controles negativos, sí.
#
# **Lo que sigue.** El cuaderno 07 construye un modelo de lenguaje, en el que la máscara causal es obligatoria. Allí cada
# posición produce tres vectores: la clave con la que la encuentran, el valor que entrega y la predicción de la palabra siguiente.
#
# ### Referencias
#
# - Vaswani, A., et al. (2017). *Attention Is All You Need*. NeurIPS.
# - Ba, J. L., Kiros, J. R. y Hinton, G. E. (2016). *Layer Normalization*. arXiv:1607.06450.
# - Xiong, R., et al. (2020). *On Layer Normalization in the Transformer Architecture*. ICML. (Normalizar antes o después.)
# - Jain, S. y Wallace, B. C. (2019). *Attention is not Explanation*. NAACL.
# - Wiegreffe, S. y Pinter, Y. (2019). *Attention is not not Explanation*. EMNLP.
