# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Clave, valor y predicción
#
# | | |
# |---|---|
# | **Al terminar podrás** | explicar qué tres trabajos hace un mismo vector y medir si conviene partirlo; escribir un modelo de lenguaje con LSTM y atención sobre su propio pasado; separar con controles lo que hace la atención de lo que ya hacía la LSTM; construir máscaras que no fallan |
# | **Tiempo** | 70 minutos de lección y 125 de ejercicios |
# | **Dificultad** | ●●●○○ |
# | **Antes conviene saber** | LSTM y entropía cruzada en PyTorch; softmax y máscaras (cuaderno 06) |
# | **Artículo** | Daniluk et al., *Frustratingly Short Attention Spans in Neural Language Modeling* (2017) |
#
# Un **modelo de lenguaje** lee un texto y, tras cada palabra, da una probabilidad a cada palabra que podría venir después.
# Aquí añadimos a uno, hecho con una LSTM, la posibilidad de volver a mirar lo que ya leyó.

# %% [markdown]
# ## 1. Preparación
#
# Lo que el cuaderno importa. Solo hace falta lo que Colab ya trae.

# %% tags=["export"]
import math
import random
import sys

import matplotlib.pyplot as plt
import torch
from apoyo import LINE_COLORS, QUIJOTE, fit, pick_device, real_data, set_seed, show
from torch import nn
from torch.nn import functional as F

# %% [markdown]
# La semilla y el dispositivo: si hay GPU, se usa. Los tensores son pequeños, y repartirlos entre varios hilos de la CPU sale más caro que
# usar uno.

# %% tags=["nbval-ignore-output"]
set_seed(7)
torch.set_num_threads(1)
device = pick_device()
print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__} en {device}")

# %% [markdown]
# ## 2. Intuición: tres trabajos para un vector
#
# Completa la frase:
#
# > **la llave** de los mapas con las fotos sobre el reloj **está** …
#
# *Rota*, *nueva*, *vieja*: no sabemos cuál, pero sí que es femenino y singular, porque concuerda con *llave*. Las palabras de
# en medio (*mapas*, *fotos*, *reloj*) están más cerca del hueco y son **atractores**: tienen otro género u otro número.
#
# Una LSTM lee de izquierda a derecha y resume lo leído en un vector $h_t$. Con atención, puede además consultar los $h_j$
# anteriores. Pero entonces cada vector tiene tres trabajos:
#
# 1. **Clave**: hacerse encontrar («soy el sujeto»).
# 2. **Valor**: entregar algo a quien lo encuentra («femenino, singular»).
# 3. **Predicción**: ayudar a decir la palabra siguiente («ahora toca una preposición»).
#
# La idea de Daniluk et al. es partir $h_t$ en tres trozos, uno por trabajo. En la sección 7 veremos si hace falta.
#
# ### A mano
#
# Que cada trozo sea un solo número. Leído *está*, con clave $k_t = 0.5$, ya se sabe el número y falta el género. Hay dos candidatas
# en el pasado:
#
# | palabra | clave (¿eres el sujeto?) | valor (−1 femenino, +1 masculino) |
# |---|---|---|
# | llave | +1.5 | −1 |
# | mapas | −1.5 | +1 |
#
# La puntuación de la posición $j$ será $2 \tanh(k_j + k_t)$:
#
# - *llave*: $2 \tanh(2) \approx 1.928$, y $e^{1.928} \approx 6.88$
# - *mapas*: $2 \tanh(-1) \approx -1.523$, y $e^{-1.523} \approx 0.22$
#
# Los pesos son $6.88 / 7.10 \approx 0.97$ y $0.03$, y la respuesta, $0.97 \cdot (-1) + 0.03 \cdot (+1) \approx -0.94$: femenino.
# ¿Y si un solo número hiciera de clave y de valor? Para que la encuentren, *llave* tiene que decir $+1.5$; y eso es lo que
# entregaría, aunque quisiera decir «femenino». La celda repite las dos cuentas.

# %% tags=["skip-execution"]
keys, current = torch.tensor([1.5, -1.5]), 0.5  # llave, mapas; está
gender = torch.tensor([-1.0, 1.0])
scores = 2 * torch.tanh(keys + current)
weights = scores.softmax(-1)
for label, row in {"puntuaciones": scores, "exponenciales": scores.exp(), "pesos": weights}.items():
    print(f"{label:13} llave {row[0]:+.3f}  mapas {row[1]:+.3f}")
answers = {}
for label, values in {"valor propio": gender, "valor = clave": keys}.items():
    answers[label] = (weights @ values).item()
    print(f"{label:13} respuesta: {answers[label]:+.2f}")
assert abs(answers["valor propio"] + 0.94) < 0.005 and answers["valor = clave"] > 1

# %% [markdown]
# Con un trozo para cada trabajo, la respuesta es «femenino» (−0.94). Con uno solo sale +1.41, un masculino rotundo: encontrar y
# entregar se estorban. Partir $h_t$ reserva unos números para cada trabajo; pero un vector con muchos números también puede
# repartirlos él, si así baja la pérdida.

# %% [markdown]
# ## 3. Formulación
#
# La salida de la LSTM se parte en tres trozos iguales, y la clave de ahora se compara con las de las $L$ posiciones
# **anteriores**, que son la **ventana** (con $L = \infty$, todo el pasado):
#
# $$h_t = [k_t; v_t; p_t] \qquad s_{tj} = w^\top \tanh(W^Y k_j + W^h k_t), \quad \max(1, t - L) \le j \le t - 1$$
#
# $$\alpha_{tj} = \frac{e^{s_{tj}}}{\sum_{l=\max(1, t-L)}^{t-1} e^{s_{tl}}} \qquad r_t = \sum_{j=\max(1, t-L)}^{t-1} \alpha_{tj}\, v_j \qquad
# h^*_t = \tanh(W^r r_t + W^x p_t)$$
#
# y la palabra siguiente se predice con $\mathrm{softmax}(W^* h^*_t + b^*)$. Fíjate en tres cosas:
#
# - La posición $t$ no se mira a sí misma: lo que sabe de ahora llega por $p_t$.
# - A $p_t$ no se atiende: ninguna suma recorre los $p_j$.
# - La primera posición no tiene pasado: sus pesos son cero, y $r_1 = 0$.
#
# El modelo **clave-valor** del artículo es igual con dos trozos, y $v_t$ hace también de $p_t$. Sin partir, $h_t$ hace de los tres.
#
# | en la fórmula | en el código | forma |
# |---|---|---|
# | palabras | `ids` | `[B, T]` |
# | $h_t$ | `h` | `[B, T, H]` |
# | $k$, $v$, $p$ | `k`, `v`, `p` | `[B, T, d]`, con `d = H / 3` |
# | ventana | `allowed` | `[T, T]` o `[B, T, T]`, True donde sí se mira |
# | $s$, $\alpha$ | `scores`, `weights` | `[B, T, T]` (fila: quién mira; columna: a quién) |
# | $r$ | `context` | `[B, T, d]` |
# | predicción | `logits` | `[B, T, V]` |

# %% [markdown]
# ## 4. Implementación de referencia
#
# ### Quién puede mirar a quién
#
# Tres funciones. `past_window` dice qué posiciones están en la ventana. `expand_mask` lleva una máscara de relleno a una
# forma única: se compara eje por eje, y el primero es **siempre** el lote, de modo que `[B, T]` nunca se toma por una matriz de
# quién mira a quién, ni siquiera si $B = T$.


# %% tags=["export"]
def past_window(length, window=None, device=None):
    """Qué posiciones anteriores se pueden mirar: bool `[T, T]`, True si `t − L <= j <= t − 1`.

    Args:
        window: el tamaño L de la ventana; None, para todo el pasado.

    Raises:
        ValueError: si `window` no es al menos 1.
    """
    if window is not None and window < 1:
        raise ValueError(f"La ventana debe ser al menos 1, y es {window}.")
    allowed = torch.ones(length, length, dtype=torch.bool, device=device).tril(-1)
    return allowed if window is None else allowed.triu(-window)


def expand_mask(mask, batch_size, length):
    """Lleva una máscara a `[B, 1, T]` (qué claves existen) o `[B, T, T]` (qué clave mira cada cual).

    Formas:
        mask: `[B, T]`, `[B, 1, T]` o `[B, 1, 1, T]`; o `[B, T, T]` o `[B, 1, T, T]`. Bool, entera o
            de punto flotante, con 1 (o True) donde se puede mirar y 0 (o False) donde no.

    Raises:
        ValueError: si la forma es otra, o si hay valores que no son 0 ni 1.
    """
    B, T = batch_size, length
    shapes = [(B, T), (B, 1, T), (B, 1, 1, T), (B, T, T), (B, 1, T, T)]
    if tuple(mask.shape) not in shapes:
        valid = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"Máscara de forma {list(mask.shape)}; las formas válidas son {valid}.")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise ValueError("La máscara tiene valores distintos de 0 y 1.")
    return mask.bool().reshape(B, -1, T)


# %% [markdown]
# Y `masked_softmax` reparte los pesos: una fila en la que no se puede mirar a nadie, como la primera, recibe ceros, y el
# `nan` no llega a existir.


# %% tags=["export"]
def masked_softmax(scores, allowed):
    """Softmax del último eje sobre lo permitido; una fila sin nada permitido vale cero.

    Formas: scores y allowed (bool), iguales o que encajen por broadcasting.
    """
    empty = ~allowed.any(-1, keepdim=True)
    safe = allowed | empty  # una fila vacía daría 0/0: se permite todo y se anula después
    weights = scores.masked_fill(~safe, float("-inf")).softmax(-1)
    return weights.masked_fill(~allowed, 0.0)


# %% [markdown]
# ### La capa
#
# `KeyValuePredictAttention` lleva la idea a una capa que, como `SelfAttention`, se puede poner sobre cualquier secuencia de vectores: con
# cabezas, normalización previa y conexión residual. En vez de cortar el vector normalizado $z_t$, tres proyecciones sacan de él,
# entero, una clave, un valor y una predicción. La consulta se saca de la clave con otra matriz, y puntúa con el producto escalar.
# Esa matriz hace falta: sin ella, dos clases de palabras no podrían buscarse la una a la otra antes que a sí mismas (sección 9).


# %% tags=["export"]
class KeyValuePredictAttention(nn.Module):
    """Atención al pasado con clave, valor y predicción, varias cabezas y conexión residual.

    Cada posición mira solo a las anteriores; lo suyo llega a la salida por la predicción.

    Args:
        embedding_dim: tamaño E de los vectores de entrada y de salida.
        hidden_dim: suma de los tamaños de las cabezas; múltiplo de `num_heads`.
        num_heads: número h de cabezas.
        dropout: probabilidad de dropout, en los pesos y en la salida proyectada.
        window: cuántas posiciones anteriores se miran; None, para todas.

    Raises:
        ValueError: si `hidden_dim` no es múltiplo de `num_heads`.

    Referencia: Daniluk et al. (2017), con las cabezas de Vaswani et al. (2017).
    """

    def __init__(self, embedding_dim, hidden_dim, num_heads=1, dropout=0.1, window=None):
        super().__init__()
        if num_heads < 1 or hidden_dim % num_heads:
            raise ValueError(f"hidden_dim={hidden_dim} no es múltiplo de num_heads={num_heads}.")
        self.num_heads, self.window = num_heads, window
        self.layer_norm = nn.LayerNorm(embedding_dim)
        self.key_proj = nn.Linear(embedding_dim, hidden_dim)
        self.query_proj = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.value_proj = nn.Linear(embedding_dim, hidden_dim)
        self.predict_proj = nn.Linear(embedding_dim, hidden_dim)
        self.fc_out = nn.Linear(2 * hidden_dim, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.key_proj, self.value_proj, self.predict_proj, self.fc_out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.query_proj.weight)

    def forward(self, x, mask=None):
        """Atiende al pasado.

        Formas:
            x: `[B, T, E]`; mask: véase `expand_mask`.

        Returns:
            `out [B, T, E]` y `weights [B, h, T, T]`: sus filas suman 1, o 0 si no hay a quién mirar.

        Raises:
            ValueError: si la máscara no tiene una forma o unos valores admitidos.
        """
        B, T, _ = x.shape
        allowed = past_window(T, self.window, x.device)  # [T, T]
        if mask is not None:
            allowed = allowed & expand_mask(mask, B, T)[:, None]  # [B, 1, T, T]
        z = self.layer_norm(x)
        key, predict = self.key_proj(z), self.predict_proj(z)
        k, q, v = (
            projected.view(B, T, self.num_heads, -1).transpose(1, 2)  # [B, h, T, d]
            for projected in (key, self.query_proj(key), self.value_proj(z))
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))  # [B, h, T, T]
        weights = masked_softmax(scores, allowed)
        context = (self.dropout(weights) @ v).transpose(1, 2).flatten(2)  # [B, T, hidden_dim]
        out = self.fc_out(torch.cat([context, predict], dim=-1))
        return x + self.dropout(out), weights


# %% [markdown]
# ### El modelo de lenguaje del artículo
#
# Con `parts` se elige en cuántos trozos se parte $h_t$: 3 es clave-valor-predicción; 2, clave-valor; 1, atención con un solo
# vector; 0, la LSTM a secas. `control` estropea los pesos a propósito, para los experimentos: «uniforme» da a
# todo el pasado el mismo peso, «barajada» cambia los pesos de sitio al azar dentro de lo permitido, y «nula» los pone a cero.


# %% tags=["export"]
def shuffle_weights(weights, allowed):
    """Cambia de sitio al azar los pesos de cada fila, solo entre las posiciones permitidas."""
    allowed = allowed.expand_as(weights)
    places = (~allowed).int().argsort(dim=-1, stable=True)  # las permitidas, primero y en orden
    order = torch.rand_like(weights).masked_fill(~allowed, 2.0).argsort(-1)  # y en desorden
    return torch.zeros_like(weights).scatter(-1, places, weights.gather(-1, order))


class KeyValuePredictLM(nn.Module):
    """Modelo de lenguaje: una LSTM cuya salida, partida en trozos, atiende a su pasado.

    Args:
        vocab_size: número V de palabras; la 0 es el relleno, que solo puede ir al final.
        embedding_dim: tamaño de los embeddings.
        hidden_dim: tamaño H de la LSTM; múltiplo de `parts`.
        parts: trozos de la salida: 3, 2 o 1, o 0 para no atender.
        window: tamaño L de la ventana; None, para todo el pasado.
        control: None, "uniforme", "barajada" o "nula".

    Raises:
        ValueError: si `parts` no es 0, 1, 2 o 3, o si `hidden_dim` no es múltiplo de `parts`.

    Referencia: Daniluk et al. (2017).
    """

    def __init__(
        self, vocab_size, embedding_dim=32, hidden_dim=48, parts=3, window=None, control=None
    ):
        super().__init__()
        if parts not in (0, 1, 2, 3) or hidden_dim % max(parts, 1):
            raise ValueError(f"No se puede partir hidden_dim={hidden_dim} en {parts} trozos.")
        self.parts, self.window, self.control = parts, window, control
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True)
        size = hidden_dim // max(parts, 1)
        if parts:
            self.key = nn.Linear(size, size, bias=False)  # W^Y
            self.query = nn.Linear(size, size, bias=False)  # W^h
            self.score = nn.Linear(size, 1, bias=False)  # w
            self.read = nn.Linear(size, size, bias=False)  # W^r
            self.predict = nn.Linear(size, size, bias=False)  # W^x
            for layer in (self.key, self.query, self.score, self.read, self.predict):
                nn.init.xavier_uniform_(layer.weight)
        self.out = nn.Linear(size, vocab_size)

    def attention_weights(self, k, allowed):
        """Los pesos α `[B, T, T]`, con el control que toque."""
        nothing = k.new_zeros(k.size(0), k.size(1), k.size(1))
        if self.control == "nula":
            return nothing
        if self.control == "uniforme":
            scores = nothing
        else:
            mixed = self.key(k)[:, None] + self.query(k)[:, :, None]  # [B, T, T, d]
            scores = self.score(torch.tanh(mixed)).squeeze(-1)
        weights = masked_softmax(scores, allowed)
        return shuffle_weights(weights, allowed) if self.control == "barajada" else weights

    def forward(self, ids):
        """Predice, tras cada palabra, la siguiente.

        Formas: ids `[B, T]`.

        Returns:
            `logits [B, T, V]` y `weights [B, T, T]` (None si `parts` es 0).
        """
        h, _ = self.lstm(self.embedding(ids))
        if not self.parts:
            return self.out(h), None
        chunks = h.chunk(self.parts, dim=-1)
        k, v, p = chunks[0], chunks[min(1, self.parts - 1)], chunks[-1]
        allowed = past_window(ids.size(1), self.window, ids.device) & (ids != 0)[:, None, :]
        weights = self.attention_weights(k, allowed)
        context = weights @ v  # r
        return self.out(torch.tanh(self.read(context) + self.predict(p))), weights


# %% [markdown]
# ## 5. Comprobaciones
#
# **Nadie ve el futuro.** Cambiamos la última de diez palabras, o el último de diez vectores: ninguna salida anterior se
# mueve ni un bit.

# %% tags=["skip-execution"]
torch.manual_seed(0)
layer = KeyValuePredictAttention(16, 24, num_heads=3).eval()
x = torch.randn(2, 10, 16)
changed = torch.cat([x[:, :9], torch.randn(2, 1, 16)], dim=1)
model = KeyValuePredictLM(20, hidden_dim=24).eval()
ids = torch.randint(1, 20, (2, 10))
changed_ids = torch.cat([ids[:, :9], ids[:, 9:] % 19 + 1], dim=1)

for name, before, after in (
    ("capa", layer(x)[0], layer(changed)[0]),
    ("modelo", model(ids)[0], model(changed_ids)[0]),
):
    moved = (after - before).abs().amax((0, 2))
    print(f"{name:6} cambio antes: {moved[:9].max().item()}  en la última: {moved[9].item():.2f}")
    assert moved[:9].max() == 0 and moved[9] > 0

# %% [markdown]
# **Cada fila suma 1, salvo la primera, que no tiene pasado; y la ventana corta donde dice.** Con $L = 3$, la sexta posición
# (la de índice 5) mira a las de índice 2, 3 y 4.

# %% tags=["skip-execution"]
short = KeyValuePredictLM(20, hidden_dim=24, window=3)
_, weights = short(ids)
print("suma de cada fila:", [round(total, 3) for total in weights[0].sum(-1).tolist()])
print("la sexta mira a:", weights[0, 5].nonzero().flatten().tolist())
assert torch.allclose(weights[0].sum(-1), (torch.arange(10) > 0).float(), atol=1e-6)
assert weights[0, 5].nonzero().flatten().tolist() == [2, 3, 4]

# %% [markdown]
# **Todas las formas de máscara dicen lo mismo, también cuando $B = T$.** Con diez secuencias de diez palabras, `[10, 10]`
# podría confundirse con una matriz de quién mira a quién; aquí es siempre una fila por secuencia.

# %% tags=["skip-execution"]
x = torch.randn(10, 10, 16)
mask = torch.arange(10) >= torch.arange(10)[:, None]  # [B, T]: 0, 1, …, 9 de relleno al principio
out, weights = layer(x, mask)
square = mask[:, None, :].expand(10, 10, 10)
forms = (mask, mask[:, None], mask[:, None, None], square, square[:, None])
for form in forms:
    for dtype in (torch.bool, torch.long, torch.float32):
        assert torch.equal(layer(x, form.to(dtype))[0], out)
    print(f"{list(form.shape)!s:16} la misma salida, en bool, enteros y punto flotante")

# %% [markdown]
# **El relleno no influye ni recibe gradiente.** En esas secuencias va al principio, donde todas las posiciones válidas podrían verlo.
# Lo cambiamos por vectores al azar: con la máscara no se nota; sin ella, sí.

# %% tags=["skip-execution"]
disturbed = torch.where(mask[..., None], x, torch.randn_like(x) * 100).requires_grad_()
moved, leaked = {}, {}
for label, used in (("con máscara", mask), ("sin máscara", None)):
    disturbed.grad = None
    after = layer(disturbed, used)[0]
    after[mask].sum().backward()
    moved[label] = (after - layer(x, used)[0])[mask].abs().max().item()
    leaked[label] = disturbed.grad[~mask].abs().max().item()
    print(f"{label}: cambio en lo válido {moved[label]:.2f}, gradiente {leaked[label]:.3f}")
assert moved["con máscara"] == leaked["con máscara"] == 0
assert moved["sin máscara"] > 0.1 and leaked["sin máscara"] > 0

# %% [markdown]
# **Coincide con PyTorch.** Con las mismas claves, valores y ventana, el contexto de la capa es el de
# `F.scaled_dot_product_attention`, salvo redondeo. (La primera posición se compara aparte: no tiene a quién mirar.)

# %% tags=["skip-execution"]
with torch.no_grad():
    z = layer.layer_norm(x)
    key = layer.key_proj(z)
    split = [
        part.view(10, 10, 3, 8).transpose(1, 2)
        for part in (layer.query_proj(key), key, layer.value_proj(z))
    ]
    allowed = past_window(10)
    allowed[0] = True  # para que PyTorch no divida 0 entre 0
    context = F.scaled_dot_product_attention(*split, attn_mask=allowed)
    context[:, :, 0] = 0
    joined = torch.cat([context.transpose(1, 2).flatten(2), layer.predict_proj(z)], dim=-1)
    expected = x + layer.fc_out(joined)
    assert torch.allclose(layer(x)[0], expected, atol=1e-5)
print("igual que F.scaled_dot_product_attention")

# %% [markdown]
# ## 6. Datos: sujetos lejanos
#
# Una gramática pequeña escribe frases como la del principio: un sujeto, de uno a ocho nombres en medio, *está* o *están*, y un
# adjetivo. Los dos últimos concuerdan con el sujeto, esté donde esté. Todo lo demás se elige al azar: algún nombre de en medio
# concuerda con el sujeto por casualidad; los demás son atractores.
#
# Como la gramática es nuestra, sabemos qué probabilidad daba a cada palabra, y con ella la **perplejidad** mínima. La
# perplejidad es la exponencial de la entropía cruzada media: «entre cuántas palabras igual de probables duda el modelo, de media».
# Por debajo de la de la gramática no puede bajar nadie, salvo por azar.

# %% tags=["export"]
NOUNS = [  # singular, plural, género
    ("mapa", "mapas", "m"), ("libro", "libros", "m"), ("reloj", "relojes", "m"),
    ("billete", "billetes", "m"), ("paquete", "paquetes", "m"), ("tranvía", "tranvías", "m"),
    ("foto", "fotos", "f"), ("moto", "motos", "f"), ("llave", "llaves", "f"),
    ("flor", "flores", "f"), ("radio", "radios", "f"), ("carta", "cartas", "f"),
]  # fmt: skip
ARTICLES = {("m", 0): "el", ("f", 0): "la", ("m", 1): "los", ("f", 1): "las"}  # (género, plural)
ENDINGS = {("m", 0): "o", ("f", 0): "a", ("m", 1): "os", ("f", 1): "as"}
PREPOSITIONS = ["de", "con", "sobre", "tras"]
STEMS = ["rot", "nuev", "mojad", "viej"]
COPULAS = ["está", "están"]
PAD, MAX_BETWEEN = 0, 8
VOCAB = ["·", ".", *PREPOSITIONS, *COPULAS]
VOCAB += [ARTICLES[agreement] for agreement in ARTICLES] + [w for noun in NOUNS for w in noun[:2]]
VOCAB += [stem + ENDINGS[agreement] for stem in STEMS for agreement in ENDINGS]
WORD_ID = {word: i for i, word in enumerate(VOCAB)}


def random_sentence(rng, between):
    """Una frase con esos nombres en medio: sus palabras y la probabilidad de cada una.

    El punto inicial hace de comienzo; la gramática lo da por seguro.
    """
    words, probabilities = ["."], [1.0]
    subject = None
    for position in range(between + 1):
        noun, plural = rng.choice(NOUNS), rng.randrange(2)
        agreement = (noun[2], plural)
        subject = subject or agreement
        if position:  # entre 1 y 8 en medio: tras cada uno, otro más o el verbo
            more = 1.0 if position == 1 else (9 - position) / (10 - position)
            words.append(rng.choice(PREPOSITIONS))
            probabilities.append(more / 4)
        words += [ARTICLES[agreement], noun[plural]]
        probabilities += [1 / 4, 1 / 6]
    stop = 1 / (9 - between)
    words += [COPULAS[subject[1]], rng.choice(STEMS) + ENDINGS[subject], "."]
    return words, [*probabilities, stop, 1 / 4, 1.0]


# %% [markdown]
# Las frases se guardan con relleno al final. `make_sentences` da también cuántos nombres tiene en medio cada una y la perplejidad
# de la gramática.


# %% tags=["export"]
def make_sentences(count, seed):
    """`ids [count, T]`, nombres en medio `[count]` y perplejidad de la gramática en esas frases."""
    rng = random.Random(seed)
    ids = torch.full((count, 3 * MAX_BETWEEN + 6), PAD)
    between = torch.zeros(count, dtype=torch.long)
    surprise, total = 0.0, 0
    for row in range(count):
        n = rng.randint(1, MAX_BETWEEN)
        words, probabilities = random_sentence(rng, n)
        ids[row, : len(words)] = torch.tensor([WORD_ID[word] for word in words])
        between[row] = n
        surprise -= sum(math.log(p) for p in probabilities)
        total += len(words) - 1  # el punto inicial no se predice
    return ids, between, math.exp(surprise / total)


def words_of(ids):
    """Las palabras de una frase `[T]`, sin el relleno."""
    return [VOCAB[i] for i in ids.tolist() if i != PAD]


# %% [markdown]
# Tres frases de entrenamiento, la perplejidad mínima y lo larga que es una frase:

# %% tags=["skip-execution"]
examples, _, floor = make_sentences(8000, seed=1)
for row in examples[:3]:
    print(" ".join(words_of(row)[1:]))
print(f"perplejidad de la gramática: {floor:.2f}, con un vocabulario de {len(VOCAB)} palabras")
mean_length = (examples[:, 1:] != PAD).sum(1).float().mean().item()
print(f"palabras por frase, contando el punto final: {mean_length:.1f} de media")
assert 18 < mean_length < 19

# %% [markdown]
# ### Qué se mide
#
# La perplejidad apenas distingue a un modelo que concuerda de otro que no: de las dieciocho o diecinueve palabras que se predicen
# en una frase, la concordancia decide dos. Por eso se mide también la perplejidad solo en esas dos, y el **acierto**: con qué
# frecuencia la forma correcta recibe más probabilidad que la que solo cambia en un rasgo. Son tres aciertos, y al azar cada uno
# sería 1/2:
#
# - el **número del verbo**: *está* contra *están*;
# - el **número del adjetivo**: *rota* contra *rotas*. No tiene mérito, porque *está* ya se ha leído y lo dice;
# - el **género del adjetivo**: *rota* contra *roto*.


# %% tags=["export"]
def other_forms():
    """De cada palabra, la que solo cambia de número y la que solo cambia de género: `[V, 2]`.

    Si no existe, la propia palabra.
    """
    pairs = [(*COPULAS, 0)]  # dos formas y el rasgo que las separa: 0, número; 1, género
    for stem in STEMS:
        pairs += [(stem + ENDINGS[g, 0], stem + ENDINGS[g, 1], 0) for g in "mf"]
        pairs += [(stem + ENDINGS["m", n], stem + ENDINGS["f", n], 1) for n in (0, 1)]
    others = torch.arange(len(VOCAB))[:, None].repeat(1, 2)
    for first, second, trait in pairs:
        others[WORD_ID[first], trait] = WORD_ID[second]
        others[WORD_ID[second], trait] = WORD_ID[first]
    return others


# %% [markdown]
# Con ellas, la pérdida, las medidas y los lotes:


# %% tags=["export"]
def lm_loss(model, ids):
    """Entropía cruzada media al predecir cada palabra a partir de las anteriores."""
    logits, _ = model(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


@torch.no_grad()
def evaluate(model, ids):
    """Perplejidad, perplejidad en la concordancia, y los aciertos de cada frase `[N, 3]`.

    Los aciertos son: número del verbo, número del adjetivo y género del adjetivo.
    """
    logits, _ = model(ids[:, :-1])
    targets = ids[:, 1:]
    others = other_forms().to(ids.device)[targets]  # [N, T, 2]
    agrees = others != targets[..., None]
    wins = logits.gather(-1, targets[..., None]) > logits.gather(-1, others)
    hits = [wins[..., trait][agrees[..., trait]].view(len(ids), -1) for trait in (0, 1)]
    losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    everywhere, there = losses[targets != PAD].mean(), losses[agrees[..., 0]].mean()
    return everywhere.exp().item(), there.exp().item(), torch.cat(hits, dim=1).float().cpu()


def random_batches(ids, size=32):
    """Lotes al azar sin fin, `[size, T]`."""
    while True:
        yield ids[torch.randint(len(ids), (size,), device=ids.device)]


# %% [markdown]
# ## 7. Entrenamiento: ¿quién hace el trabajo?
#
# Cinco modelos con la misma LSTM, las mismas frases y los mismos 900 pasos (menos de un minuto en total):
#
# | condición | qué es |
# |---|---|
# | **LSTM** (línea base) | sin atención: todo tiene que caber en $h_t$ |
# | **uniforme** (control negativo) | $h_t$ en tres trozos, pero todo el pasado pesa lo mismo: mezcla sin elegir |
# | **sin partir** | atención, con $h_t$ entero como clave, valor y predicción |
# | **clave-valor** | $h_t$ en dos trozos |
# | **clave-valor-predicción** | $h_t$ en tres trozos: el modelo de este cuaderno |
#
# Primero, los dos que no eligen:

# %% tags=["skip-execution", "nbval-ignore-output"]
test_examples, between, test_floor = make_sentences(1000, seed=2)
train_ids, test_ids = examples.to(device), test_examples.to(device)
STEPS = 900
curves, models, results = {}, {}, {}


def train(name, **options):
    """Entrena un modelo y guarda su curva y sus resultados."""
    set_seed(8)
    models[name] = KeyValuePredictLM(len(VOCAB), **options).to(device)
    batches = random_batches(train_ids)
    curves[name] = fit(models[name], batches, lm_loss, steps=STEPS, lr=1e-2, label=name)
    results[name] = evaluate(models[name], test_ids)


train("LSTM", parts=0)
train("uniforme", parts=3, control="uniforme")

# %% [markdown]
# Y los tres que eligen a quién mirar, con $h_t$ en uno, dos o tres trozos:

# %% tags=["skip-execution", "nbval-ignore-output"]
for parts, name in enumerate(("sin partir", "clave-valor", "clave-valor-predicción"), start=1):
    train(name, parts=parts)

# %% [markdown]
# Los resultados en mil frases nuevas: la perplejidad total y en la concordancia, y los tres aciertos. La última fila es lo mejor que
# se puede hacer: conocer la gramática.

# %% tags=["skip-execution", "nbval-ignore-output"]
HEADER = f"{'':23}  perplejidad  concordancia  n.º verbo  n.º adj.  género"


def show_row(name, everywhere, there, hits):
    """Una fila de la tabla de resultados."""
    verb, adjective, gender = hits.mean(0).tolist()
    print(f"{name:23}{everywhere:13.2f}{there:14.2f}{verb:11.3f}{adjective:10.3f}{gender:8.3f}")


print(HEADER)
for name, result in results.items():
    show_row(name, *result)
floor_there = (0.5 * ((9.0 - between).log().mean() + math.log(4))).exp()  # verbo y adjetivo
show_row("gramática", test_floor, floor_there, torch.ones(1, 3))

lstm, uniform, whole, two, three = results.values()
for everywhere, there, hits in (whole, two, three):
    assert hits.mean(0).min() > 0.95 and everywhere < lstm[0] and there < lstm[1]
assert lstm[2].mean(0)[0] > 0.9 and lstm[2].mean(0)[2] < 0.65  # sabe el número; el género, no
assert uniform[2].mean(0)[2] > lstm[2].mean(0)[2] + 0.1
assert max(abs(whole[0] - split[0]) for split in (two, three)) < 0.1  # partir apenas la cambia

# %% [markdown]
# La LSTM sola aprende el número del verbo, por lejos que esté el sujeto, pero el género lo adivina: en torno a 0.5, como una
# moneda. Los tres modelos que eligen a quién mirar aciertan las dos cosas siempre o casi siempre. En la perplejidad total la diferencia
# es de unas décimas: casi todo lo que hay que predecir en estas frases es azar.
#
# Hay dos resultados incómodos. **Partir no mejora nada**: con uno, dos o tres trozos se acierta lo mismo, y la perplejidad es casi la
# misma. Y **el control también aprende**: sin elegir a quién mirar, acierta el género mucho más que la LSTM.
#
# A la izquierda, las curvas (la media de 50 pasos), con el eje ampliado: todas aprenden enseguida el esqueleto de la frase, y la LSTM se
# queda atrás en lo que falta. A la derecha, los dos aciertos que obligan a volver al sujeto, según cuántos nombres haya en medio: las
# líneas de arriba se tapan unas a otras.

# %% tags=["skip-execution", "nbval-ignore-output"]
styles = ("o-", "x-.", "v-", "s--", "^:")
_, (left, *right) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for ax in (left, *right):
    ax.set_prop_cycle(color=LINE_COLORS)
for (name, losses), style in zip(curves.items(), styles):
    smooth = torch.tensor(losses).unfold(0, 50, 10).mean(-1)
    left.plot(range(50, len(losses) + 1, 10), smooth, style, label=name, markevery=12)
left.set(xlabel="Paso de entrenamiento", ylabel="Pérdida (entropía cruzada)", ylim=(1.45, 1.65))
for ax, trait, title in zip(right, (0, 2), ("número del verbo", "género del adjetivo")):
    for (_, _, hits), style in zip(results.values(), styles):
        by_count = [hits[between == n, trait].mean().item() for n in range(1, MAX_BETWEEN + 1)]
        ax.plot(range(1, MAX_BETWEEN + 1), by_count, style)
    ax.axhline(0.5, color="black", linewidth=1, linestyle=":")
    ax.text(8, 0.44, "azar", ha="right", va="top")
    ax.set(xlabel="Nombres en medio", ylim=(0, 1.05), title=f"Acierto: {title}")
left.legend(frameon=False)
for ax in (left, *right):
    ax.grid(alpha=0.3)
genders = ", ".join(f"{name} {hits.mean(0)[2]:.2f}" for name, (*_, hits) in results.items())
show(
    "Tres gráficos de líneas: la pérdida según el paso, y el acierto del número del verbo y del género "
    f"del adjetivo según los nombres en medio. Género, de media: {genders}."
)

# %% [markdown]
# ### ¿Qué añade partir?
#
# Nada que $h_t$ entero no pueda hacer. Si $W^Y$ y $W^h$ solo leen su primer tercio, $W^r$ el segundo y $W^x$ el último, porque sus demás
# columnas valen cero, el modelo sin partir es el partido. La celda copia así el modelo entrenado de tres trozos, y compara los logits.


# %% tags=["skip-execution", "nbval-ignore-output"]
@torch.no_grad()
def without_splitting(model):
    """Un modelo sin partir que hace lo mismo que `model`, de tres trozos."""
    d = model.key.out_features
    whole = KeyValuePredictLM(len(VOCAB), parts=1).to(device)
    whole.embedding, whole.lstm = model.embedding, model.lstm
    for name, start in {"key": 0, "query": 0, "read": d, "predict": 2 * d}.items():
        weight = getattr(whole, name).weight.zero_()
        weight[:d, start : start + d] = getattr(model, name).weight
    for name in ("score", "out"):
        getattr(whole, name).weight.zero_()[:, :d] = getattr(model, name).weight
    whole.out.bias.copy_(model.out.bias)
    return whole


kvp = models["clave-valor-predicción"]
with torch.no_grad():
    gap = (without_splitting(kvp)(test_ids)[0] - kvp(test_ids)[0]).abs().max().item()
print(f"mayor diferencia entre los logits: {gap:.1e}")
for name in ("sin partir", "clave-valor-predicción"):
    layers = [getattr(models[name], part) for part in ("key", "query", "score", "read", "predict")]
    size = sum(layer.weight.numel() for layer in layers)
    print(f"{name:23}{size:6} parámetros en la atención")
assert gap < 1e-3

# %% [markdown]
# Partir, pues, no da capacidad, la quita: obliga a un reparto que el modelo entero también podría aprender, y a cambio la atención tiene
# muchos menos parámetros. Si conviene, lo dice cada tarea: el modelo partido del artículo superó, en sus dos corpus, a los modelos con
# memoria que había; aquí no hace falta.

# %% [markdown]
# ### Intervenir: ¿usa este modelo sus pesos?
#
# El control «uniforme» se entrena así desde el principio, y la LSTM se adapta: puede aprender a escribir en $v_j$ algo útil solo
# en el sujeto, y entonces la media basta. Otra pregunta es si el modelo **ya entrenado** depende de a quién mira. Para saberlo se le
# cambian los pesos al responder, sin tocar ningún parámetro: se barajan, se igualan o se anulan ($r_t = 0$, y $p_t$ se queda a solas).

# %% tags=["skip-execution", "nbval-ignore-output"]
interventions = {}
print(HEADER)
for control in (None, "barajada", "uniforme", "nula"):
    kvp.control = control
    result = evaluate(kvp, test_ids)
    interventions[control] = result[2].mean(0)
    show_row(control or "sus pesos", *result)
kvp.control = None
for control in ("barajada", "uniforme", "nula"):
    assert interventions[control][2] < 0.85 < interventions[None][2]
assert interventions["nula"][[0, 2]].max() < 0.7

# %% [markdown]
# Con los pesos en otro sitio se pierde buena parte de lo que el género tenía por encima del azar (0.5): este modelo sí usa su atención. Y
# con $p_t$ a solas, casi todo, también en el número del verbo: lo que el modelo sabe del sujeto le llega por $r_t$. El número del
# adjetivo no depende de eso: lo dice la palabra recién leída.
#
# La conclusión justa tiene dos partes. En esta tarea, **tener el pasado a un paso** es lo que más ayuda: lo tienen los cuatro modelos
# que superan a la LSTM, también el que no elige. Y **elegir** a quién mirar es una solución que se aprende, y de la
# que el modelo pasa a depender, pero no la única. El título del artículo (*frustratingly short*, «frustrantemente corta») viene de un hallazgo
# parecido: en textos reales, su modelo usaba sobre todo las cinco últimas salidas de la LSTM, y otro mucho más simple, que concatena
# las más recientes en vez de elegir entre ellas, quedaba a la par.

# %% [markdown]
# ## 8. Visualización
#
# ¿A quién mira el modelo cuando tiene que concordar? Cada fila es una palabra ya leída, justo antes de predecir la siguiente; cada columna, una
# palabra del pasado.


# %% tags=["skip-execution"]
def read_sentence(model, words):
    """Los pesos `[T, T]` al leer una frase, y las probabilidades `[T, V]` de lo que sigue."""
    ids = torch.tensor([[WORD_ID[word] for word in words]], device=device)
    with torch.no_grad():
        logits, weights = model(ids)
    return weights[0].cpu(), logits[0].softmax(-1).cpu()


def plot_map(weights, words, ax, rows):
    """El mapa de atención, con las filas `rows` marcadas."""
    image = ax.imshow(weights, vmin=0, vmax=1, cmap="cividis")
    ax.set_xticks(range(len(words)), words, rotation=60, ha="right")
    ax.set_yticks(range(len(words)), words)
    ax.set(xlabel="A quién mira (clave)", ylabel="Última palabra leída")
    for row in rows:
        edges = (-0.5, row - 0.5)
        ax.add_patch(plt.Rectangle(edges, len(words), 1, fill=False, edgecolor="white", lw=1.5))
    ax.figure.colorbar(image, ax=ax, label="Peso de atención", shrink=0.8)


# %% [markdown]
# Mira las dos filas marcadas con un recuadro blanco. La última: leído *está*, toca el género del adjetivo, y casi todo el peso cae
# en el artículo del sujeto, once palabras atrás, que ya dice género y número. La penúltima: leído *reloj*, toca elegir entre *está* y
# *están*, y el peso se reparte entre los cuatro artículos. Aun así acierta, como verás, y no por $p_t$, que a solas adivinaba el número:
# también cuenta qué entrega cada artículo. Cuando no busca a nadie, mira al punto inicial. La primera fila está vacía: no hay pasado.

# %% tags=["skip-execution", "portada"]
sentence = [".", "la", "llave", "de", "los", "mapas", "con", "las", "fotos", "sobre", "el"]
sentence += ["reloj", "está"]
weights, probabilities = read_sentence(kvp, sentence)
figure, ax = plt.subplots(figsize=(7.5, 6), layout="constrained")
plot_map(weights, sentence, ax, rows=(len(sentence) - 2, len(sentence) - 1))
ax.set_title("A quién mira el modelo al concordar")
(total, key), (last, last_key) = (row.max(0) for row in weights[-2:])
show(
    "Mapa de la última palabra leída (filas) por las anteriores (columnas): un triángulo. Filas "
    f"recuadradas: «{sentence[-2]}», cuyo mayor peso, {total:.2f}, va a «{sentence[key]}», y "
    f"«{sentence[-1]}», con {last:.2f} en «{sentence[last_key]}»."
)

# %% [markdown]
# Y lo que predice, comparando solo las formas de una misma palabra:

# %% tags=["skip-execution", "nbval-ignore-output"]
for row, group in ((-2, COPULAS), (-1, ["roto", "rota", "rotos", "rotas"])):
    chances = torch.stack([probabilities[row, WORD_ID[word]] for word in group])
    shares = (chances / chances.sum()).tolist()
    print(f"tras «{sentence[row]}»: " + "  ".join(f"{w} {p:.2f}" for w, p in zip(group, shares)))
    assert group[shares.index(max(shares))] in ("está", "rota")

# %% [markdown]
# Una frase es una anécdota, y un modelo entrenado con otra semilla puede repartir de otro modo. En las mil frases de prueba, al decidir el
# género, en el sujeto y su artículo cae más del doble del peso que les tocaría a partes iguales:

# %% tags=["skip-execution", "nbval-ignore-output"]
with torch.no_grad():
    all_weights = kvp(test_ids[:, :-1])[1].cpu()
verb = (test_examples != PAD).sum(1) - 3  # tras el verbo van el adjetivo y el punto
on_subject = all_weights[torch.arange(len(verb)), verb, 1:3].sum(-1).mean().item()
even = (2 / verb).mean().item()
print(f"peso medio en el sujeto y su artículo: {on_subject:.2f}; a partes iguales sería {even:.2f}")
assert on_subject > 2 * even

# %% [markdown]
# ### Prueba tú: la ventana
#
# ¿Cuánto pasado hace falta? El modelo se entrenó viéndolo todo, pero al responder se le puede acortar la ventana $L$. El sujeto está a
# $3n$ palabras o más, con $n$ nombres en medio; la frase de arriba tiene tres. Antes de mover el control: ¿desde qué $L$ acertará
# las frases de tres?


# %% tags=["skip-execution"]
def accuracy_with_window(window):
    """Número del verbo y género del adjetivo por nombres en medio `[8, 2]`, con esa ventana."""
    kvp.window = window
    *_, hits = evaluate(kvp, test_ids[:400])
    kvp.window = None
    by_count = [hits[between[:400] == n].mean(0) for n in range(1, MAX_BETWEEN + 1)]
    return torch.stack(by_count)[:, [0, 2]]


def draw_window(window, ax):
    """Dibuja esos aciertos, y los devuelve."""
    accuracy = accuracy_with_window(window)
    places = torch.arange(1, MAX_BETWEEN + 1)
    ax.bar(
        places - 0.2,
        accuracy[:, 0],
        0.4,
        color="#7fa8d1",
        edgecolor="black",
        label="número del verbo",
    )
    ax.bar(
        places + 0.2,
        accuracy[:, 1],
        0.4,
        color="#f2c14e",
        edgecolor="black",
        hatch="///",
        label="género del adjetivo",
    )
    ax.axhline(0.5, color="black", linestyle=":", label="azar")
    ax.set(xlabel="Nombres en medio", xticks=places, ylabel="Acierto", ylim=(0, 1.05))
    ax.set_title(f"Ventana L = {window}")
    return accuracy


# %% [markdown]
# Primero, tres ventanas fijas; la línea de puntos es el azar. Debajo, el control.

# %% tags=["skip-execution", "nbval-ignore-output"]
figure, axes = plt.subplots(1, 3, figsize=(12, 3), sharey=True, layout="constrained")
by_window = {}
for ax, window in zip(axes, (5, 12, 27)):
    by_window[window] = draw_window(window, ax)
    ax.label_outer()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
genders = ", ".join(f"{accuracy[:, 1].mean():.2f} con L = {L}" for L, accuracy in by_window.items())
show(
    "Tres gráficos de barras, uno por ventana: el acierto del número del verbo y el del género del "
    f"adjetivo (a rayas) según los nombres en medio. El del género, de media: {genders}; el azar, 0.5."
)
assert by_window[27][:, 1].mean() > by_window[5][:, 1].mean() + 0.1
assert by_window[12][2, 1] > by_window[12][7, 1] + 0.1

# %% [markdown]
# Si el control no aparece, ejecuta el cuaderno entero: hace falta el modelo entrenado.

# %% tags=["skip-execution", "nbval-ignore-output"]
import ipywidgets


def explore(window):
    _, ax = plt.subplots(figsize=(8, 3), layout="constrained")
    accuracy = draw_window(window, ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    number, gender = (" ".join(f"{value:.2f}" for value in column) for column in accuracy.T)
    show(
        f"Barras del acierto con ventana {window}, de uno a ocho nombres en medio. Número del verbo: "
        f"{number}. Género del adjetivo: {gender}."
    )


slider = ipywidgets.IntSlider(
    value=12, min=1, max=27, description="Ventana", continuous_update=False
)
control = ipywidgets.interact(explore, window=slider)

# %% [markdown]
# ## 9. Caza del error
#
# Muchas implementaciones de «clave-valor-predicción» sacan las puntuaciones multiplicando las claves por sí mismas,
# $s_{tj} = k_t \cdot k_j / \sqrt d$, y no tapan el futuro. Se ejecuta sin quejas. Midamos tres cosas: si $s$ es simétrica, en qué fracción de
# las filas cada posición se mira sobre todo **a sí misma**, y cuánto cambian los pesos de las posiciones 0 a 8 al cambiar la 9.


# %% tags=["skip-execution"]
def naive_weights(layer, x):
    """Claves contra claves, sin máscara."""
    k = layer.key_proj(layer.layer_norm(x))
    scores = k @ k.transpose(1, 2) / math.sqrt(k.size(-1))
    return scores, scores.softmax(-1)


def our_weights(layer, x):
    """Las puntuaciones y los pesos de `KeyValuePredictAttention`, con una cabeza."""
    k = layer.key_proj(layer.layer_norm(x))
    return layer.query_proj(k) @ k.transpose(1, 2) / math.sqrt(k.size(-1)), layer(x)[1][:, 0]


torch.manual_seed(0)
layer = KeyValuePredictAttention(32, 32).eval()
x = torch.randn(64, 10, 32)
changed = torch.cat([x[:, :9], torch.randn(64, 1, 32)], dim=1)
for name, function in (("ingenua", naive_weights), ("la nuestra", our_weights)):
    with torch.no_grad():
        (scores, weights), (_, after) = function(layer, x), function(layer, changed)
    gap = (scores - scores.transpose(1, 2)).abs().max().item()
    itself = (weights.argmax(-1) == torch.arange(10))[:, 1:].float().mean().item()
    moved = (after - weights)[:, :9].abs().max().item()
    print(
        f"{name:11} asimetría {gap:.2f}  se mira a sí misma {itself:.3f}  cambio en 0–8 {moved:.3f}"
    )
    wrong = gap < 1e-5 and itself > 0.8 and moved > 0.1
    right = gap > 0.1 and itself == 0 and moved == 0
    assert wrong if name == "ingenua" else right

# %% [markdown]
# Como $k_t \cdot k_t$ es una suma de cuadrados, casi siempre gana la propia posición; y en un modelo de lenguaje, ver la posición 9 desde
# la 8 es ver la respuesta. La ventana arregla las dos cosas. ¿Y la simetría? Con solo el pasado, de cada pareja se usa una única
# puntuación, así que eso ya no estorba. Lo que se pierde es **preguntar por algo distinto de lo que se es**. Si cada palabra femenina
# ($k_f$) debe mirar a las masculinas ($k_m$) y al revés, hace falta
#
# $$k_f \cdot k_m > k_f \cdot k_f \quad \text{y} \quad k_m \cdot k_f > k_m \cdot k_m, \qquad \text{y al sumarlas:} \quad \lVert k_f - k_m \rVert^2 < 0,$$
#
# que es imposible. Lo medimos: entrenamos nuestra capa, que solo ve el pasado, para eso mismo, con su matriz de consultas y sin ella
# (la identidad en su lugar, y la consulta es la clave). Cuentan las posiciones que tienen en su pasado palabras de los dos géneros.


# %% tags=["skip-execution"]
def gender_batches(kinds):
    """Lotes sin fin de vectores `[32, 10, 16]`, con su género `[32, 10]`."""
    while True:
        gender = torch.randint(2, (32, 10))
        yield kinds[gender] + 0.3 * torch.randn(32, 10, 16), gender


def weight_on_other(layer, batch):
    """El peso que pone en el otro género cada posición que puede elegir."""
    x, gender = batch
    other = gender[:, :, None] != gender[:, None, :]
    past = past_window(x.size(1))
    can_choose = (other & past).any(-1) & (~other & past).any(-1)
    return (layer(x)[1][:, 0] * other).sum(-1)[can_choose]


def look_at_other_loss(layer, batch):
    return -weight_on_other(layer, batch).log().mean()


# %% [markdown]
# Las dos se entrenan igual. Para comparar, lo que daría repartir el peso a partes iguales: puntuaciones cero.

# %% tags=["skip-execution", "nbval-ignore-output"]
found = {}
for name in ("a partes iguales", "consulta = clave", "con su matriz"):
    set_seed(7)
    batches = gender_batches(torch.randn(2, 16))
    test_batches = [next(batches) for _ in range(20)]
    layer = KeyValuePredictAttention(16, 16, dropout=0.0)
    if name == "consulta = clave":
        layer.query_proj = nn.Identity()
    if name == "a partes iguales":
        nn.init.zeros_(layer.query_proj.weight)
    else:
        fit(layer, batches, look_at_other_loss, steps=100, lr=1e-2, label=name)
    with torch.no_grad():
        shares = torch.cat([weight_on_other(layer, batch) for batch in test_batches])
    found[name] = shares.mean().item()
    print(f"{name:16} peso en el otro género: {found[name]:.3f}")
assert abs(found["consulta = clave"] - found["a partes iguales"]) < 0.02
assert found["con su matriz"] > 0.95

# %% [markdown]
# Sin la matriz, el entrenamiento no consigue nada mejor que repartir el peso a partes iguales; con ella, todo va al otro género. El
# arreglo completo son, pues, dos piezas: la ventana, y una matriz para las consultas.

# %% [markdown]
# ## 10. Ejercicios
#
# Cada ejercicio tiene celdas que completas tú y celdas de pruebas. Las **pruebas visibles** te dicen si vas bien; al
# calificar se añaden otras, así que superarlas no garantiza la nota completa. La primera línea de esas celdas
# (`# ejercicio: …`, `# pruebas: …`) sirve para reconocerlas: no la borres.
#
# Al calificar se ejecutan las definiciones y los ejercicios, no los entrenamientos de la lección: tus soluciones no
# deben usar variables como `models` o `test_ids`.

# %% [markdown]
# ### Ejercicio 2a · Máscaras dinámicas (●●●○○, 50 minutos, 10.5 puntos)
#
# En un lote hay secuencias de distinta longitud. Las cortas se completan con relleno, y una máscara dice qué existe.
# Construirás la máscara a partir de las longitudes, la llevarás a una forma única y la usarás en una capa
# clave-valor-predicción de una cabeza:
#
# $$k = x W_k^\top + b_k, \qquad q = k W_q^\top, \qquad v = x W_v^\top + b_v, \qquad p = x W_p^\top + b_p$$
#
# $$s_{tj} = \frac{q_t \cdot k_j}{\sqrt{H}}, \qquad \alpha_{tj} = \frac{m_{tj}\, e^{s_{tj}}}{\sum_l m_{tl}\, e^{s_{tl}}}, \qquad
# \mathrm{out}_t = x_t + W_o\Big[\sum_j \alpha_{tj} v_j;\; p_t\Big] + b_o$$
#
# donde $m_{tj} = 1$ si $j$ está en la ventana ($t - L \le j \le t - 1$) y la máscara deja que $t$ mire a $j$. Si no hay ninguna
# así, los pesos de esa fila son cero. Sin normalización ni dropout, para que se vea bien lo que hace la máscara.
#
# | nombre | forma | qué es |
# |---|---|---|
# | `lengths` | entera `[B]` | cuántas posiciones existen en cada secuencia; puede haber ceros |
# | `mask` | `[B, T]` o `[B, 1, T]` | qué posiciones existen; `[B, T]` **siempre** es esto, aunque $B = T$ |
# | | `[B, T, T]` | qué posición (columna) puede mirar cada una (fila) |
# | | | en bool, entera o de punto flotante, con unos y ceros |
# | `allowed` | bool `[B, T, T]` | la $m$ de la fórmula |
# | `x` → `out` | `[B, T, E]` → `[B, T, E]` | |
# | `weights` | `[B, T, T]` | los $\alpha$ |
#
# Escríbelo tú: `expand_mask`, `past_window` y `masked_softmax` te ahorrarían justo lo que hay que aprender. Primero, de las
# longitudes a la máscara.


# %% nbgrader={"grade_id": "ej2a_longitudes", "solution": true} tags=["export"]
# ejercicio: ej2a_longitudes
def length_mask(lengths, max_length=None):
    """La máscara de relleno de unas longitudes.

    Formas: lengths entera `[B]` → bool `[B, T]`, True en las primeras `lengths[b]` posiciones.

    Args:
        max_length: el tamaño T; si falta, la mayor de las longitudes.
    """
    ### BEGIN SOLUTION
    if max_length is None:
        max_length = int(lengths.max())
    return torch.arange(max_length, device=lengths.device) < lengths[:, None]
    ### END SOLUTION


# %% [markdown]
# La máscara de tres secuencias de 4, 1 y 3 posiciones. ¿Cuántos unos debería haber?

# %% tags=["skip-execution"]
print(length_mask(torch.tensor([4, 1, 3])).int())

# %% [markdown]
# **Longitudes**: la forma, el tipo y, al calificar, los valores.

# %% nbgrader={"grade_id": "ej2a_longitud", "grade": true, "points": 1}
# pruebas: ej2a_longitud
import torch

mask = length_mask(torch.tensor([2, 3]))
assert mask is not None, "length_mask no devuelve nada."
assert tuple(mask.shape) == (2, 3), f"La forma debería ser [2, 3] y es {list(mask.shape)}."
assert mask.dtype == torch.bool, f"La máscara debería ser bool y es {mask.dtype}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2a_longitud", length_mask)
### END HIDDEN TESTS

# %% [markdown]
# Ahora, de cualquier máscara a la $m$ de la fórmula, con el pasado y la ventana incluidos.


# %% nbgrader={"grade_id": "ej2a_mascara", "solution": true} tags=["export"]
# ejercicio: ej2a_mascara
def dynamic_mask(mask, batch_size, length, window=None):
    """A qué posiciones puede mirar cada una: bool `[B, T, T]` (fila: quién mira).

    Args:
        mask: None, o una de las formas de la tabla.
        batch_size, length: B y T.
        window: cuántas posiciones anteriores se miran; None, para todas.

    Raises:
        ValueError: si la forma de la máscara no es ninguna de las tres.
    """
    ### BEGIN SOLUTION
    B, T = batch_size, length
    device = None if mask is None else mask.device
    steps = torch.arange(T, device=device)
    distance = steps[:, None] - steps  # [T, T]: cuánto hay de j a t
    past = distance >= 1
    if window is not None:
        past = past & (distance <= window)
    if mask is None:
        return past.expand(B, T, T)
    if mask.ndim == 2:
        mask = mask[:, None]
    if tuple(mask.shape) not in ((B, 1, T), (B, T, T)):
        raise ValueError(f"La forma {list(mask.shape)} no es válida con B={B} y T={T}.")
    return past & mask.bool()
    ### END SOLUTION


# %% [markdown]
# Mira la de dos secuencias de 5 y 3 posiciones, con ventana 2. ¿Por qué está vacía la primera fila de las dos?

# %% tags=["skip-execution"]
allowed_example = dynamic_mask(length_mask(torch.tensor([5, 3])), 2, 5, window=2)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
for ax, matrix, length in zip(axes, allowed_example, (5, 3)):
    ax.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    ax.set(xlabel="A quién mira (j)", ylabel="Quién mira (t)", title=f"Longitud {length}, L = 2")
five, three = (" ".join(f"{count:g}" for count in m.sum(-1)) for m in allowed_example)
show(
    "Dos cuadrículas: en claro, a quién se puede mirar (columnas) desde cada posición (filas). Casillas "
    f"claras de cada fila, con longitud 5: {five}; con longitud 3: {three}."
)

# %% [markdown]
# **Formas**: lo que se puede mirar sin máscara y, al calificar, todas las formas de máscara.

# %% nbgrader={"grade_id": "ej2a_formas", "grade": true, "points": 3}
# pruebas: ej2a_formas
import torch

allowed = dynamic_mask(None, 2, 4)
assert allowed is not None, "dynamic_mask no devuelve nada."
assert tuple(allowed.shape) == (2, 4, 4), f"Debería ser [2, 4, 4] y es {list(allowed.shape)}."
counts = allowed[0].sum(-1).tolist()
assert counts == [0, 1, 2, 3], f"Sin máscara ni ventana, cada fila ve 0, 1, 2 y 3; salen {counts}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2a_formas", dynamic_mask)
### END HIDDEN TESTS

# %% [markdown]
# Y la capa. Los nombres de sus cinco proyecciones ya están puestos.


# %% nbgrader={"grade_id": "ej2a_clase", "solution": true} tags=["export"]
# ejercicio: ej2a_clase
class MaskedKeyValuePredict(nn.Module):
    """Atención clave-valor-predicción de una cabeza, con máscaras dinámicas.

    Args:
        embedding_dim: tamaño E de los vectores.
        hidden_dim: tamaño H de la clave, el valor y la predicción.
    """

    def __init__(self, embedding_dim, hidden_dim):
        super().__init__()
        self.key_proj = nn.Linear(embedding_dim, hidden_dim)
        self.query_proj = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.value_proj = nn.Linear(embedding_dim, hidden_dim)
        self.predict_proj = nn.Linear(embedding_dim, hidden_dim)
        self.fc_out = nn.Linear(2 * hidden_dim, embedding_dim)

    def forward(self, x, mask=None, window=None):
        """Formas: x `[B, T, E]`, mask de la tabla → out `[B, T, E]`, weights `[B, T, T]`."""
        ### BEGIN SOLUTION
        B, T, _ = x.shape
        allowed = dynamic_mask(mask, B, T, window).to(x.device)
        k, v, p = self.key_proj(x), self.value_proj(x), self.predict_proj(x)
        scores = self.query_proj(k) @ k.transpose(1, 2) / math.sqrt(k.size(-1))
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1).masked_fill(~allowed, 0.0)
        return x + self.fc_out(torch.cat([weights @ v, p], dim=-1)), weights
        ### END SOLUTION


# %% [markdown]
# Los pesos de una secuencia de cuatro posiciones, con la segunda tapada. ¿Cuántos deben ser cero?

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(0)
layer_example = MaskedKeyValuePredict(8, 6)
_, weights = layer_example(torch.randn(1, 4, 8), mask=torch.tensor([[1, 0, 1, 1]]))
for row in weights[0].tolist():
    print("  ".join(f"{weight:.2f}" for weight in row))

# %% [markdown]
# **Atención**: los pesos y la salida de la fórmula, sin máscara.

# %% nbgrader={"grade_id": "ej2a_atencion", "grade": true, "points": 2.5}
# pruebas: ej2a_atencion
import torch

out, weights = MaskedKeyValuePredict(8, 6)(torch.randn(2, 5, 8))
assert tuple(out.shape) == (2, 5, 8), f"out debería ser [2, 5, 8] y es {list(out.shape)}."
assert tuple(weights.shape) == (2, 5, 5), (
    f"weights debería ser [2, 5, 5]; es {list(weights.shape)}."
)
sums = weights.sum(-1)[:, 1:]
assert torch.allclose(sums, torch.ones(2, 4), atol=1e-5), (
    f"Desde la segunda, cada fila debe sumar 1; van de {sums.min():.3f} a {sums.max():.3f}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2a_atencion", MaskedKeyValuePredict)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: ni influye ni recibe gradiente.

# %% nbgrader={"grade_id": "ej2a_relleno", "grade": true, "points": 2.5}
# pruebas: ej2a_relleno
import torch

mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
_, weights = MaskedKeyValuePredict(8, 6)(torch.randn(2, 4, 8), mask=mask)
on_padding = weights[1, :, 2:].abs().max().item()
assert on_padding == 0, f"Hay un peso de {on_padding:.2g} sobre una posición de relleno."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2a_relleno", MaskedKeyValuePredict)
### END HIDDEN TESTS

# %% [markdown]
# **Límites**: filas vacías y precisión media (`float16` y `bfloat16`).

# %% nbgrader={"grade_id": "ej2a_limites", "grade": true, "points": 1.5}
# pruebas: ej2a_limites
import torch

out, weights = MaskedKeyValuePredict(8, 6)(torch.randn(1, 3, 8))
assert out.isfinite().all(), "Hay valores no finitos en out: la primera fila no mira a nadie."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2a_limites", MaskedKeyValuePredict)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: las formas</summary>
#
# Cuenta los ejes de la máscara antes de combinarla con nada. Si tiene dos, le falta el de quién mira, y va en medio:
# `mask[:, None]`. Sin eso, con $B = T$ el broadcasting la tomaría por `[T, T]` sin avisar.
#
# </details>
#
# <details><summary>Pista 2: el pasado y las filas vacías</summary>
#
# La diferencia entre dos `torch.arange`, uno en columna y otro en fila, da la distancia de cada $t$ a cada $j$: la
# ventana es una condición sobre ella. Para las filas vacías, $-\infty$ en toda la fila da `nan`: usa el menor número finito del tipo
# (`torch.finfo`) y anula después los pesos prohibidos.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | la primera fila suma 1 | la posición se mira a sí misma, o la fila vacía quedó uniforme |
# | con ventana 2, una fila tiene tres unos | sobra uno: la ventana va de $t-2$ a $t-1$, sin la posición $t$ |
# | todo va bien salvo con $B = T$ | `[B, T]` tomada por `[T, T]` |
# | `value cannot be converted to type at::Half without overflow` | una constante como −1e10: no cabe en `float16` |
# | `~` falla o da números raros | la máscara no es bool: conviértela antes |
# | pesos prohibidos pequeños, pero no cero | la máscara multiplica las puntuaciones o va después de la softmax |
#
# </details>

# %% [markdown]
# ### Ejercicio 2a, para terminar · Analiza (●●○○○, 15 minutos, 2 puntos)
#
# Esta pregunta la corrige una persona. Vale por el razonamiento y por los números que aportes, no por la longitud.
#
# **Pregunta.** Alguien propone ahorrarse la máscara de relleno: «como la atención solo mira al pasado y el relleno va al final,
# ninguna palabra de verdad lo ve».
#
# 1. ¿Tiene razón en este cuaderno? Compruébalo con tu capa: compara las salidas válidas con máscara y sin ella.
# 2. ¿Y si el relleno va al principio, o si después se hace la media de todas las salidas? Aporta una cifra de cada caso.
# 3. Explica por qué, para comprobar que el relleno no influye, se cambia por vectores al azar y no se le suma una constante, si la
#    capa normaliza su entrada.

# %% [markdown] nbgrader={"grade_id": "ej2a_analisis", "grade": true, "solution": true, "points": 2}
# <!-- ejercicio: ej2a_analisis -->
# ### BEGIN SOLUTION
# (1) Sí: con relleno al final y atención al pasado estricto, las salidas válidas son iguales con y sin máscara (diferencia 0). (2) Con
# el relleno al principio las posiciones válidas lo miran, y cambian; y la media de todas las salidas incluye las del relleno, así
# que cambia aunque las válidas no lo hagan. Debe haber una cifra medida de cada caso. (3) La normalización de capa deja media 0 y
# varianza 1: un vector y el mismo más una constante dan lo mismo tras normalizar, y el error pasaría inadvertido.
# ### END SOLUTION

# %% [markdown]
# ### Ejercicio 2b · Una cabeza de salida a medida (●●●○○, 45 minutos, 10 puntos)
#
# `KeyValuePredictAttention` devuelve un vector $\mathrm{out}_t$ por posición. Para clasificar una secuencia, o predecir un número a partir de ella,
# hace falta uno solo: la media $\bar o$ de los que existen ($m_t = 1$; los de relleno tienen $m_t = 0$). La respuesta $\hat y$ sale de
# pasar esa media por dos capas lineales con algo **no lineal** en medio:
#
# $$\bar o = \frac{\sum_t m_t\, \mathrm{out}_t}{\max(1, \sum_t m_t)} \qquad
# \hat y = W_2\, \mathrm{ReLU}\big(\mathrm{BN}(W_1 \bar o + b_1)\big) + b_2$$
#
# La normalización por lotes (BN, `nn.BatchNorm1d`, Ioffe y Szegedy, 2015) es el desafío: solo está si `batch_norm=True`. Puedes
# elegir otra no linealidad, más capas y dropout 0.
#
# | nombre | forma | qué es |
# |---|---|---|
# | `attention` | `KeyValuePredictAttention` | la de la lección, con `dropout=0.0`; ya está puesta |
# | `head` | módulo `[B, E]` → `[B, C]` | lo que va después de la media |
# | `x` | `[B, T, E]` | |
# | `mask` | bool `[B, T]` o None | True donde hay dato; si falta, todo existe |
# | `forward` | `[B, C]` | logits, o números si es regresión: sin softmax |


# %% nbgrader={"grade_id": "ej2b_cabeza", "solution": true} tags=["export"]
# ejercicio: ej2b_cabeza
class SequencePredictor(nn.Module):
    """Atención, media de lo que existe, y una cabeza de salida no lineal.

    Args:
        embedding_dim: tamaño E de los vectores.
        hidden_dim: tamaño de la atención y de la capa oculta de la cabeza.
        output_dim: número C de salidas: clases, o 1 para predecir un número.
        batch_norm: si es True, normaliza por lotes dentro de la cabeza.

    Atributos obligatorios: `attention` y `head`.
    """

    def __init__(self, embedding_dim, hidden_dim, output_dim, batch_norm=False):
        super().__init__()
        self.attention = KeyValuePredictAttention(embedding_dim, hidden_dim, dropout=0.0)
        ### BEGIN SOLUTION
        layers = [nn.Linear(embedding_dim, hidden_dim)]
        if batch_norm:
            layers.append(nn.BatchNorm1d(hidden_dim))
        self.head = nn.Sequential(*layers, nn.ReLU(), nn.Linear(hidden_dim, output_dim))
        ### END SOLUTION

    def forward(self, x, mask=None):
        """Formas: x `[B, T, E]`, mask bool `[B, T]` → `[B, C]`."""
        ### BEGIN SOLUTION
        out, _ = self.attention(x, mask)
        if mask is None:
            return self.head(out.mean(1))
        real = mask[..., None].to(out.dtype)
        return self.head((out * real).sum(1) / real.sum(1).clamp(min=1))
        ### END SOLUTION


# %% [markdown]
# Lo que sale para dos secuencias y tres clases. ¿Deberían sumar 1?

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(0)
print(SequencePredictor(8, 16, 3)(torch.randn(2, 5, 8)))

# %% [markdown]
# **Forma**: el tamaño de la salida y, al calificar, la media, el relleno y que la cabeza no sea lineal.

# %% nbgrader={"grade_id": "ej2b_forma", "grade": true, "points": 3.5}
# pruebas: ej2b_forma
import torch

predictor = SequencePredictor(8, 16, 3)
mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
output = predictor(torch.randn(2, 5, 8), mask)
assert tuple(output.shape) == (2, 3), f"La salida debería ser [2, 3] y es {list(output.shape)}."
assert output.isfinite().all(), "Hay valores no finitos en la salida."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2b_forma", SequencePredictor)
### END HIDDEN TESTS

# %% [markdown]
# **Normalización por lotes** (el desafío): al evaluar, la respuesta de una secuencia no depende de sus compañeras de lote.

# %% nbgrader={"grade_id": "ej2b_lotes", "grade": true, "points": 2}
# pruebas: ej2b_lotes
import torch

predictor = SequencePredictor(8, 16, 3, batch_norm=True)
output = predictor(torch.randn(4, 5, 8))
assert tuple(output.shape) == (4, 3), f"La salida debería ser [4, 3] y es {list(output.shape)}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2b_lotes", SequencePredictor)
### END HIDDEN TESTS

# %% [markdown]
# La pérdida depende de la tarea: entropía cruzada para clasificar, error cuadrático medio para predecir un número.


# %% nbgrader={"grade_id": "ej2b_funcion", "solution": true} tags=["export"]
# ejercicio: ej2b_funcion
def task_loss(task, outputs, targets):
    """La pérdida media de un lote.

    Formas: con "clasificación", outputs `[B, C]` (logits) y targets entera `[B]`; con "regresión",
    outputs `[B, 1]` y targets `[B]`. Devuelve un escalar.

    Raises:
        ValueError: si la tarea no es ninguna de las dos.
    """
    ### BEGIN SOLUTION
    if task == "clasificación":
        return F.cross_entropy(outputs, targets)
    if task == "regresión":
        return F.mse_loss(outputs.squeeze(-1), targets)
    raise ValueError(f"No conozco la tarea «{task}».")
    ### END SOLUTION


# %% [markdown]
# Dos casos que puedes calcular de cabeza: dudar por igual entre cuatro clases, y fallar por 2.

# %% tags=["skip-execution"]
print(task_loss("clasificación", torch.zeros(3, 4), torch.tensor([0, 1, 2])), math.log(4))
print(task_loss("regresión", torch.tensor([[1.0], [5.0]]), torch.tensor([3.0, 3.0])))

# %% [markdown]
# **Pérdida**: un escalar y, al calificar, sus valores.

# %% nbgrader={"grade_id": "ej2b_perdida", "grade": true, "points": 2}
# pruebas: ej2b_perdida
import torch

loss = task_loss("clasificación", torch.zeros(3, 4), torch.tensor([0, 1, 2]))
assert loss is not None, "task_loss no devuelve nada."
assert loss.ndim == 0, f"La pérdida debe ser un escalar y es {list(loss.shape)}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2b_perdida", task_loss)
### END HIDDEN TESTS

# %% [markdown]
# Falta entrenar, con datos simulados. `make_points` los da hechos: cada secuencia son vectores alrededor de un centro, y la
# respuesta es el producto de los **signos** de las dos primeras coordenadas del centro: el problema XOR, que ninguna capa lineal
# resuelve. En clasificación es una clase (1 si el producto es +1, 0 si es −1); en regresión, ese mismo +1 o −1, como número.


# %% tags=["export"]
def make_points(count, task, seed=0, length=6, size=8):
    """Secuencias simuladas: `x [count, T, E]`, `mask [count, T]` y `targets [count]`."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2.0 - 1
    centre = torch.randn(count, 1, size, generator=generator)
    centre[:, 0, :2] = signs * (1 + torch.rand(count, 2, generator=generator))
    x = centre + 0.2 * torch.randn(count, length, size, generator=generator)
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    mask = torch.arange(length) < lengths
    x = torch.where(mask[..., None], x, 3 * torch.randn(x.shape, generator=generator))
    product = signs.prod(-1)
    return x, mask, (product > 0).long() if task == "clasificación" else product


# %% [markdown]
# Escribe el bucle de entrenamiento: todos los datos en cada paso, el optimizador que quieras, y al terminar, el modelo en modo
# evaluación.


# %% nbgrader={"grade_id": "ej2b_bucle", "solution": true} tags=["export"]
# ejercicio: ej2b_bucle
def train_predictor(predictor, x, mask, targets, task, steps=150, lr=1e-2):
    """Entrena con todos los datos en cada paso y devuelve la lista de las pérdidas (`float`).

    Formas: x `[N, T, E]`, mask bool `[N, T]`, targets `[N]`. El modelo entrena en modo
    entrenamiento y queda en modo evaluación.
    """
    ### BEGIN SOLUTION
    optimizer = torch.optim.Adam(predictor.parameters(), lr=lr)
    losses = []
    predictor.train()
    for _ in range(steps):
        loss = task_loss(task, predictor(x, mask), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    predictor.eval()
    return losses
    ### END SOLUTION


# %% [markdown]
# Las dos tareas, con y sin normalización por lotes (BN), y el acierto en datos nuevos; en regresión, el del signo. ¿Notas la diferencia en
# las curvas?

# %% tags=["skip-execution", "nbval-ignore-output"]
_, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
ends = []
losses_of = {"clasificación": "entropía cruzada", "regresión": "error cuadrático medio"}
for ax, (task, loss_name) in zip(axes, losses_of.items()):
    outputs = 2 if task == "clasificación" else 1
    x_train, mask_train, y_train = make_points(256, task, seed=1)
    x_new, mask_new, y_new = make_points(256, task, seed=2)
    for batch_norm, style in ((False, "-"), (True, "--")):
        set_seed(7)
        predictor = SequencePredictor(8, 16, outputs, batch_norm=batch_norm)
        name = task + (" con BN" if batch_norm else "")
        history = train_predictor(predictor, x_train, mask_train, y_train, task)
        with torch.no_grad():
            answer = predictor(x_new, mask_new)
        guess = answer.argmax(-1) if task == "clasificación" else answer.squeeze(-1).sign()
        right = (guess == y_new).float().mean().item()
        print(f"{name:20} pérdida {history[-1]:.3f}  acierto {right:.3f}")
        label = "con BN" if batch_norm else "sin BN"
        ax.plot(history, style, color=LINE_COLORS[batch_norm], label=label, linewidth=2)
        ends.append(f"{task} {label}, de {history[0]:.2f} a {history[-1]:.2f}")
    ax.set(xlabel="Paso de entrenamiento", ylabel="Pérdida")
    ax.set_title(f"{task.capitalize()}: {loss_name}")
    ax.legend(frameon=False)
show(f"Curvas de pérdida según el paso, en dos gráficos: {'; '.join(ends)}.")

# %% [markdown]
# **Entrenamiento**: las pérdidas y, al calificar, que aprenda en las dos tareas.

# %% nbgrader={"grade_id": "ej2b_entrenamiento", "grade": true, "points": 2.5}
# pruebas: ej2b_entrenamiento
import torch

data = make_points(32, "clasificación")
losses = train_predictor(SequencePredictor(8, 16, 2), *data, "clasificación", steps=3)
assert losses is not None, "train_predictor no devuelve las pérdidas."
assert len(losses) == 3, f"Con steps=3 debería haber 3 pérdidas y hay {len(losses)}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("07_clave_valor_prediccion", "ej2b_entrenamiento", train_predictor, SequencePredictor)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: la media</summary>
#
# Multiplica las salidas por la máscara antes de sumar, y divide entre cuántas existen, no entre $T$. Una secuencia vacía dividiría entre
# cero: la fórmula dice cómo evitarlo.
#
# </details>
#
# <details><summary>Pista 2: las pérdidas</summary>
#
# `F.cross_entropy` ya aplica el logaritmo de la softmax: dale logits. Y `F.mse_loss` de `[B, 1]` con `[B]` compara todos con todos
# por broadcasting: antes, iguala las formas.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | la clasificación acierta, pero la pérdida no baja de 0.31 | una softmax antes de la entropía cruzada |
# | `Using a target size … different to the input size` | `[B, 1]` contra `[B]` |
# | la pérdida de la clasificación apenas baja de 0.6 y en datos nuevos se acierta poco más de la mitad | la cabeza es lineal |
# | añadir relleno cambia la respuesta | la media cuenta el relleno, o la máscara no llega a la atención |
# | al evaluar, la respuesta depende del lote | falta `eval()`, o la normalización usa siempre el lote |
# | la pérdida no baja nada | falta `optimizer.step()`, o el gradiente se acumula sin `zero_grad()` |
#
# </details>

# %% [markdown]
# ### Ejercicio 2b, para terminar · Analiza (●●○○○, 15 minutos, 2 puntos)
#
# Esta pregunta la corrige una persona. Vale por el razonamiento y por los números que aportes, no por la longitud.
#
# **Pregunta.** Entrena la clasificación con `SequencePredictor` y, aparte, con una cabeza lineal (una sola `nn.Linear`).
#
# 1. ¿Hasta dónde baja cada pérdida y con qué acierto en datos nuevos? ¿Basta la no linealidad de la atención?
# 2. Con `batch_norm=True`, evalúa una misma secuencia sola y con otras, en modo entrenamiento y en modo evaluación. ¿Qué cambia y por qué?
# 3. ¿Por qué no conviene elegir la pérdida mirando solo el acierto?

# %% [markdown] nbgrader={"grade_id": "ej2b_analisis", "grade": true, "solution": true, "points": 2}
# <!-- ejercicio: ej2b_analisis -->
# ### BEGIN SOLUTION
# (1) La no lineal baja de 0.1 y acierta casi todo. La lineal se queda en torno a 0.58 (adivinar daría 0.69) y en datos nuevos acierta entre
# 0.52 y 0.60, aunque se entrene más: la normalización y los pesos de la atención no son lineales en x, pero no bastan, y lo poco que baja
# es memoria de los datos de entrenamiento; cuentan los números medidos. (2) En modo entrenamiento la
# normalización usa la media y la varianza del lote, y la respuesta depende de las compañeras (con una sola secuencia, da un error); en modo
# evaluación usa las acumuladas y no depende. (3) El acierto no ve la confianza: con una softmax de más el acierto puede ser 1
# y la pérdida no bajar de 0.31, con gradientes casi nulos.
# ### END SOLUTION

# %% [markdown]
# ## 11. Resumen
#
# - Un vector que se busca, se entrega y predice tiene tres trabajos. Partirlo en clave, valor y predicción le da un trozo a cada uno, pero
#   no añade nada que el vector entero no pudiera hacer: si conviene, hay que medirlo.
# - La atención de un modelo de lenguaje mira solo al pasado. La primera posición no tiene a quién mirar: pesos cero, nunca `nan`.
# - La consulta necesita su propia matriz: si es la clave misma, dos clases de palabras no pueden mirarse la una a la otra antes que a
#   las suyas.
# - Una máscara `[B, T]` es siempre una fila por secuencia, también si $B = T$.
# - Un control al entrenar y una intervención en el modelo ya entrenado responden a preguntas distintas: si la pieza hacía
#   falta para aprender, y si este modelo la usa.
#
# **Lo que sigue.** En el cuaderno 08, la atención se aplica sobre la propia atención: una pregunta y un documento se miran el uno al
# otro, y el segundo reparto dice cuánto vale cada parte del primero.
#
# ### Referencias
#
# - Daniluk, M., Rocktäschel, T., Welbl, J. y Riedel, S. (2017). *Frustratingly Short Attention Spans in Neural Language Modeling*. ICLR.
# - Linzen, T., Dupoux, E. y Goldberg, Y. (2016). *Assessing the Ability of LSTMs to Learn Syntax-Sensitive Dependencies*. TACL. (Los
#   atractores y la concordancia como prueba.)
# - Ioffe, S. y Szegedy, C. (2015). *Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift*. ICML.
# - Vaswani, A., et al. (2017). *Attention Is All You Need*. NeurIPS.
# - Chen, S. F. y Goodman, J. (1999). *An Empirical Study of Smoothing Techniques for Language Modeling*. Computer Speech & Language. (El
#   suavizado de la última sección.)

# %% [markdown]
# ## 12. Opcional: con datos de verdad
#
# *Don Quijote* (dominio público) tiene más de cuatrocientas mil palabras y signos, y nadie conoce su gramática: no hay perplejidad
# mínima con la que comparar. Se aprende de los primeros dieciocho veinteavos; los dos últimos son la validación y la **prueba**, para
# que nada de lo que se mide se haya leído. La pregunta: ¿hace falta aquí la atención, conviene partir, y hasta dónde mira? La primera vez,
# el libro se descarga; sin red, la sección se salta.
#
# El vocabulario son las palabras que salen `least` veces o más al entrenar. Las demás son **palabras desconocidas**, todas la misma, que
# también se predice y se cuenta: cuantas más haya, más baja es la perplejidad. Solo se comparan cifras con el mismo vocabulario.


# %% tags=["export"]
import re
from collections import Counter

UNKNOWN = 1  # el número de toda palabra desconocida; el 0 es el relleno


def read_book(path, least):
    """Un libro en números: entrenamiento, validación y prueba, y el vocabulario del primero."""
    words = re.findall(r"\w+|[^\w\s]", path.read_text(encoding="utf-8").lower())
    tail = len(words) // 20
    parts = words[: -2 * tail], words[-2 * tail : -tail], words[-tail:]
    frequent = [word for word, count in Counter(parts[0]).items() if count >= least]
    vocabulary = {word: i for i, word in enumerate(frequent, start=UNKNOWN + 1)}
    ids = [torch.tensor([vocabulary.get(word, UNKNOWN) for word in part]) for part in parts]
    return *ids, vocabulary


def window_batches(ids, length, size):
    """Lotes sin fin de trozos al azar de un texto largo: `[size, length + 1]`."""
    while True:
        starts = torch.randint(len(ids) - length, (size, 1), device=ids.device)
        yield ids[starts + torch.arange(length + 1, device=ids.device)]


# %% [markdown]
# Dos cuidados. El texto se lee en trozos que se solapan, y solo se mide la segunda mitad de cada uno: así toda palabra tiene un pasado. Y se
# parte de lo fácil: el sesgo de la salida empieza en la frecuencia de cada palabra. Si quitas esa llamada, verás que los modelos con atención se
# quedan cerca de las palabras sueltas: para decir «la coma es frecuente», la $\tanh$ de $h^*_t$ se va a sus extremos, donde apenas hay gradiente.


# %% tags=["export"]
@torch.no_grad()
def start_at_frequencies(model, ids):
    """Pone en el sesgo de la salida el logaritmo de la frecuencia de cada palabra."""
    counts = torch.bincount(ids, minlength=model.out.out_features)
    model.out.bias.copy_(((counts + 1) / len(ids)).log())


@torch.no_grad()
def text_perplexity(model, ids, length):
    """Perplejidad de un texto en trozos; cada palabra se predice con `length / 2` delante o más."""
    half, losses = length // 2, []
    for rows in ids.unfold(0, length + 1, half).split(64):
        logits = model(rows[:, :-1])[0][:, half:].flatten(0, 1)
        losses.append(F.cross_entropy(logits, rows[:, half + 1 :].flatten(), reduction="none"))
    return torch.cat(losses).mean().exp().item()


@torch.no_grad()
def weight_nearby(model, ids, length, nearby=5):
    """El peso medio en las `nearby` palabras anteriores, y lo que tocaría a partes iguales."""
    weights = model(ids.unfold(0, length, length)[:200])[1]
    near = weights * past_window(length, nearby, ids.device)
    places = torch.arange(length // 2, length)  # como en la perplejidad, la segunda mitad
    return near.sum(-1)[:, places].mean().item(), (nearby / places).mean().item()


# %% [markdown]
# La línea base cuenta en vez de aprender: el **suavizado de Kneser-Ney** estima la palabra siguiente con las que ha visto detrás de las
# dos (o una) anteriores, y reserva algo para las demás según **tras cuántas palabras distintas** aparece cada una.


# %% tags=["export"]
class KneserNey:
    """Modelo de lenguaje de n-gramas con el suavizado de Kneser-Ney interpolado.

    Args:
        ids: el texto de entrenamiento, una lista de números.
        order: 1, 2 o 3, para contar palabras sueltas, parejas o tríos.
        vocab_size: cuántas palabras hay, con la desconocida y sin el relleno.

    Referencia: Chen y Goodman (1999), sección 3.
    """

    def __init__(self, ids, order, vocab_size):
        self.order, self.vocab_size, self.levels = order, vocab_size, []
        grams = Counter(zip(*(ids[i:] for i in range(order))))
        for _ in range(order):
            totals, followers, repeated = Counter(), Counter(), Counter(grams.values())
            for gram, count in grams.items():
                totals[gram[:-1]] += count
                followers[gram[:-1]] += 1
            # lo que se quita a cada cuenta; los unos evitan 0/0 en textos muy cortos
            discount = (repeated[1] + 1) / (repeated[1] + 2 * repeated[2] + 2)
            self.levels.insert(0, (grams, totals, followers, discount))
            grams = Counter(gram[1:] for gram in grams)  # tras cuántas palabras distintas

    def probability(self, word, before):
        """La de `word` después de las palabras `before`, una tupla."""
        probability = 1 / self.vocab_size
        for n, (grams, totals, followers, discount) in enumerate(self.levels):
            context = before[len(before) - n :]
            if n > len(before) or context not in totals:
                break
            kept = max(grams[*context, word] - discount, 0)
            spare = discount * followers[context] * probability
            probability = (kept + spare) / totals[context]
        return probability

    def perplexity(self, ids):
        """La de una lista de números."""
        before = [tuple(ids[max(0, i - self.order + 1) : i]) for i in range(len(ids))]
        return math.exp(-sum(math.log(self.probability(*w)) for w in zip(ids, before)) / len(ids))


# %% [markdown]
# Tres modelos de unos segundos cada uno, con la misma LSTM y los mismos trozos, junto a las cuentas de palabras sueltas y de parejas.

# %% tags=["skip-execution", "nbval-ignore-output"]
LENGTH, book = 24, real_data(QUIJOTE)
readers, read = {}, {}


def read_with(name, parts):
    """Entrena con el libro un modelo de `parts` trozos y mide su perplejidad de prueba."""
    set_seed(7)
    model = KeyValuePredictLM(len(vocabulary) + 2, 64, 96, parts=parts).to(device)
    start_at_frequencies(model, known)
    batches = window_batches(known, LENGTH, 16)
    fit(model, batches, lm_loss, steps=150, lr=1e-2, label=name)
    readers[name], read[name] = model, text_perplexity(model, unseen, LENGTH)


if book:
    known, _, unseen, vocabulary = read_book(book, least=20)
    for order, name in ((1, "palabras sueltas"), (2, "parejas")):
        counted = KneserNey(known.tolist(), order, len(vocabulary) + 1)
        read[name] = counted.perplexity(unseen.tolist())
    known, unseen = known.to(device), unseen.to(device)
    for parts, name in ((0, "LSTM"), (1, "sin partir"), (3, "clave-valor-predicción")):
        read_with(name, parts)
    print(f"{len(vocabulary)} palabras; desconocidas: {(unseen == UNKNOWN).float().mean():.0%}")
    for name, perplexity in read.items():
        print(f"{name:23} perplejidad {perplexity:6.1f}")
    for name in ("sin partir", "clave-valor-predicción"):
        near, even = weight_nearby(readers[name], unseen, LENGTH)
        print(f"{name:23} peso en las cinco anteriores: {near:.2f}; a partes iguales, {even:.2f}")
    loose, pairs, lstm, whole, three = read.values()
    assert pairs < min(lstm, whole) < three < loose  # partir cuesta, y contar parejas gana
    assert abs(lstm - whole) < 4 < three - whole  # atender, aquí, ni ayuda ni estorba

# %% [markdown]
# **Lo que cambia.** Contar parejas gana a los tres modelos: con unos segundos, y 1500 palabras en vez de 52, aprender es lento. Atender no se
# nota: la LSTM sola queda a la par, y los pesos se reparten casi por igual. Una explicación: en las frases de la sección 6 faltaba un dato que estaba
# lejos; en un libro, casi siempre bastan las palabras más cercanas, y esas la LSTM ya las tiene. Y partir, que allí no costaba nada, aquí **cuesta**: la
# palabra se decide con un tercio de los números de $h_t$, y ya no es una entre 52, sino entre 1500.
#
# Lo mismo con 4828 palabras, el triple de pasos, tríos y tres semillas: `python real_data/lm_quijote.py --seeds 0 1 2`. Ahí la LSTM ya adelanta
# a las cuentas de tríos, aunque por poco; la atención sin partir adelanta a la LSTM, también por poco; y partir sigue costando.
