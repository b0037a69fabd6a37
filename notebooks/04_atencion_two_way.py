# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 · Atención two-way
#
# | | |
# |---|---|
# | **Al terminar podrás** | escribir una atención que relee la premisa palabra por palabra y recuerda lo que leyó; hacerlo en los dos sentidos con los mismos parámetros; construir unos datos en los que ninguna de las dos frases basta por sí sola; promediar secuencias sin que un `nan` del relleno lo estropee todo |
# | **Tiempo** | 75 minutos de lección y 115 de ejercicios |
# | **Dificultad** | ●●●○○ |
# | **Antes conviene saber** | atención y máscaras (cuadernos 01 o 06); LSTM; bucle de entrenamiento de PyTorch |
# | **Artículo** | Rocktäschel et al., *Reasoning about Entailment with Neural Attention* (2016), sección 2 |
#
# ¿Se sigue una frase de otra? Para saberlo no basta leer bien las dos: hay que **emparejarlas**. Este mecanismo lee la segunda y, en
# cada palabra, vuelve a mirar la primera; si lo hace en los dos sentidos, se llama *two-way*.

# %% [markdown]
# ## 1. Preparación
#
# Primero, lo que el cuaderno importa. Solo hace falta lo que Colab ya trae.

# %% tags=["export"]
import itertools
import math
import random
import sys

import matplotlib.pyplot as plt
import torch
from apoyo import fit, pick_device, plot_losses, set_seed, show
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# %% [markdown]
# Y ahora la semilla y el dispositivo: si hay GPU, se usa. En la CPU basta un hilo: los tensores de este cuaderno son tan pequeños que
# repartirlos entre núcleos cuesta más de lo que ahorra.

# %% tags=["nbval-ignore-output"]
set_seed(4)
torch.set_num_threads(1)
device = pick_device()
print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__} en {device}")

# %% [markdown]
# ## 2. Intuición: ¿se sigue?
#
# Te dan una **premisa**, que se da por cierta:
#
# > todo pianista corre, ningún gato duerme, algún remero no come
#
# y una **hipótesis**. Di si se sigue de la premisa (*implicación*), si es imposible (*contradicción*) o si puede ser que sí y que no
# (*neutral*):
#
# 1. algún animal no duerme
# 2. algún pianista no corre
# 3. todo remero come
# 4. algún músico duerme
#
# La primera se sigue: los gatos son animales. La segunda y la tercera son imposibles. La cuarta, quién sabe: de los músicos que
# duermen no se dice nada. Fíjate en lo que hiciste: leíste *animal*, volviste a la premisa y te quedaste con *gato*; leíste *no duerme*,
# y volviste a comprobar qué pasaba con *ese* gato. **Cada palabra te hizo releer la premisa, y lo que releíste dependía de lo que ya
# habías encontrado.**
#
# Una red que resuma la premisa en un vector antes de leer la hipótesis no puede hacerlo: no sabe qué le van a preguntar. La atención
# **palabra por palabra** sí. En cada palabra $t$ de la hipótesis reparte pesos entre las palabras de la premisa, y lleva un vector,
# $r_t$, con lo que ha releído hasta ahora.
#
# ### A mano
#
# La premisa *ningún gato duerme*, y cada palabra, un solo número: $y = (4, 0, 4)$. Se lee la hipótesis *animal duerme*. Para que salgan
# fracciones, las puntuaciones son logaritmos de enteros, y lo recordado pasa por $\tanh(r_{t-1}\ln 2)$, que con $r_{t-1} = 1$ vale justo
# $\tfrac35$. Aquí las puntuaciones se dan hechas; en la sección 3 se calculan, y las de cada palabra dependen también de $r_{t-1}$:
#
# | se lee | $e^{\text{puntuación}}$ de *ningún*, *gato*, *duerme* | pesos $\alpha_t$ | releído $\sum_j \alpha_{tj} y_j$ | recordado $\tanh(r_{t-1}\ln 2)$ | $r_t$ |
# |---|---|---|---|---|---|
# | (nada) | | | | | 0 |
# | animal | 1, 6, 1 | 1/8, 6/8, 1/8 | 1 | 0 | 1 |
# | duerme | 1, 1, 2 | 1/4, 1/4, 2/4 | 3 | 3/5 | 3.6 |
#
# Cada fila reparte un total de 1, y $r_t$ suma lo que acaba de releer y lo que recordaba. La celda repite la cuenta.

# %% tags=["skip-execution"]
values = torch.tensor([4.0, 0.0, 4.0])  # ningún, gato, duerme
memory = torch.tensor(0.0)
for word, counts in (("animal", [1.0, 6.0, 1.0]), ("duerme", [1.0, 1.0, 2.0])):
    weights = torch.tensor(counts).log().softmax(0)
    reread, remembered = weights @ values, torch.tanh(memory * math.log(2))
    memory = reread + remembered
    print(
        f"{word}: pesos {[round(w, 3) for w in weights.tolist()]}, releído {reread:.1f}, recordado {remembered:.1f}, r = {memory:.1f}"
    )
assert abs(memory.item() - 3.6) < 1e-6

# %% [markdown]
# ## 3. Formulación
#
# La premisa tiene $S$ palabras y la hipótesis, $N$. Una LSTM lee la premisa y deja un vector por palabra, $y_1, \dots, y_S$, de $H$
# números. Otra LSTM lee la hipótesis **a partir del último estado de la primera** (por eso se llama *LSTM condicional*) y deja
# $h_1, \dots, h_N$. La atención palabra por palabra calcula, para cada $t = 1, \dots, N$ y empezando en $r_0 = 0$,
#
# $$\text{puntuar:} \quad e_{tj} = w^\top \tanh\!\left(W^y y_j + W^h h_t + W^r r_{t-1}\right), \qquad j = 1, \dots, S$$
#
# $$\text{repartir:} \quad \alpha_{tj} = \frac{\exp(e_{tj})}{\sum_{j'} \exp(e_{tj'})}
# \qquad\qquad \text{releer y recordar:} \quad r_t = \sum_j \alpha_{tj}\, y_j + \tanh(W^t r_{t-1})$$
#
# y al acabar junta lo releído con lo leído en la **última palabra real**, la $N$:
#
# $$h^* = \tanh(W^p r_N + W^x h_N)$$
#
# La clase sale de $h^*$ con una capa lineal y una softmax. $W^y, W^h, W^r, W^t, W^p, W^x$ son matrices $H \times H$ y $w$ un vector. La
# $t$ de $W^t$ es solo un nombre, el del artículo; no depende de la palabra. $W^y y_j$ no depende de $t$: se calcula **una vez**.
#
# **En los dos sentidos.** *Two-way* es hacerlo dos veces con los **mismos parámetros**: primero la hipótesis relee la premisa y después,
# cambiados los papeles, la premisa relee la hipótesis. Los dos $h^*$ se ponen uno a continuación del otro.
#
# En un lote, las premisas se rellenan hasta un ancho común, que seguimos llamando $S$, y las hipótesis hasta otro, $T$. La máscara dice qué
# posiciones son reales: las sumas en $j$ recorren solo esas, y $N$ es la longitud real de cada hipótesis.
#
# | en la fórmula | en el código | forma |
# |---|---|---|
# | $y_j$ | `premise` | `[B, S, H]` |
# | $h_t$ | `hypothesis` | `[B, T, H]` |
# | (qué es real) | `premise_mask`, `hypothesis_mask` | bool `[B, S]`, `[B, T]` |
# | $W^y, W^h, W^r, W^t, W^p, W^x$ | `W_y`, `W_h`, `W_r`, `W_t`, `W_p`, `W_x` | `nn.Linear(H, H, bias=False)` |
# | $w$ | `w` | `nn.Linear(H, 1, bias=False)` |
# | $e_t$, $\alpha_t$ | `scores`, `weights` | `[B, S]` |
# | $\alpha$ | `maps` | `[B, T, S]` (fila: hipótesis; columna: premisa) |
# | $r_t$ | `memory` | `[B, H]` |
# | $h^*$ | lo que devuelve | `[B, H]` |

# %% [markdown]
# ## 4. Implementación de referencia
#
# ### Máscaras
#
# Tres piezas pequeñas. `masked_softmax` reparte solo entre lo permitido y, si no hay nada, da ceros. `real_mask` acepta máscaras de
# cualquier tipo. `last_real` toma, de cada secuencia, el vector de su última palabra **real**: con relleno al final, `states[:, -1]`
# sería el de un hueco.


# %% tags=["export"]
def masked_softmax(scores, mask, dim=-1):
    """Softmax sobre lo que permite la máscara; donde no permite nada, ceros.

    Formas: scores y mask (bool, True donde se puede mirar) iguales o que encajen por broadcasting.

    Returns:
        Pesos de la forma de `scores`, que suman 1 en el eje `dim`, o 0 si no hay nada permitido.
    """
    empty = ~mask.any(dim, keepdim=True)
    return scores.masked_fill(~(mask | empty), float("-inf")).softmax(dim).masked_fill(~mask, 0.0)


def real_mask(states, mask):
    """La máscara de `states [B, S, …]` como bool `[B, S]`; sin ella, todo es real.

    Raises:
        ValueError: si la máscara no es `[B, S]`.
    """
    if mask is None:
        return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    if mask.shape != states.shape[:2]:
        shapes = f"{list(states.shape[:2])} y es {list(mask.shape)}"
        raise ValueError(f"La máscara debería ser {shapes}.")
    return mask.bool()


def last_real(states, mask):
    """El vector de la última posición real de cada fila, y ceros si no hay ninguna.

    Formas: states `[B, T, H]`, mask bool `[B, T]`, con el relleno al final → `[B, H]`.
    """
    last = (mask.sum(1) - 1).clamp(min=0)
    chosen = states[torch.arange(len(states), device=states.device), last]
    return chosen.masked_fill(~mask.any(1, keepdim=True), 0.0)


# %% [markdown]
# ### Palabra por palabra
#
# Lo primero que hace la capa es poner ceros en el relleno. No basta con darle peso 0: si allí hay un `nan`, $0 \cdot$ `nan` es
# `nan` (sección 9). Los pesos que puntúan empiezan más grandes de lo habitual, para que la atención no empiece casi
# uniforme.


# %% tags=["export"]
class WordByWordAttention(nn.Module):
    """Relee la premisa en cada palabra de la hipótesis.

    Args:
        hidden_dim: tamaño H de los vectores de las dos secuencias.

    Referencia: Rocktäschel et al. (2016), sección 2.4.
    """

    def __init__(self, hidden_dim):
        super().__init__()
        for name in ("W_y", "W_h", "W_r", "W_t", "W_p", "W_x"):
            setattr(self, name, nn.Linear(hidden_dim, hidden_dim, bias=False))
        self.w = nn.Linear(hidden_dim, 1, bias=False)
        for layer, gain in ((self.W_y, 3.0), (self.W_h, 3.0), (self.w, 2.0)):
            nn.init.xavier_uniform_(layer.weight, gain=gain)  # para no empezar uniforme

    def attend(self, keys, query, mask):
        """Los pesos de un paso: keys `[B, S, H]`, query `[B, H]`, mask `[B, S]` → `[B, S]`."""
        scores = self.w(torch.tanh(keys + query[:, None])).squeeze(-1)
        return masked_softmax(scores, mask)

    def forward(self, premise, hypothesis, premise_mask=None, hypothesis_mask=None):
        """Lee la hipótesis de izquierda a derecha.

        Formas:
            premise: `[B, S, H]`; hypothesis: `[B, T, H]`; máscaras `[B, S]` y `[B, T]`, con el
            relleno al final (None: no hay).

        Returns:
            `h_star [B, H]` y los mapas `[B, T, S]`: cada fila suma 1, o 0 si la palabra de la
            hipótesis es relleno o si no hay premisa.

        Raises:
            ValueError: si una máscara no tiene la forma de su secuencia.
        """
        premise_mask = real_mask(premise, premise_mask)
        hypothesis_mask = real_mask(hypothesis, hypothesis_mask)
        premise = premise.masked_fill(~premise_mask[..., None], 0.0)
        hypothesis = hypothesis.masked_fill(~hypothesis_mask[..., None], 0.0)
        keys, queries = self.W_y(premise), self.W_h(hypothesis)  # una vez, no en cada paso
        memory = torch.zeros_like(hypothesis[:, 0])
        memories, maps = [], []
        for t in range(hypothesis.size(1)):
            weights = self.attend(keys, queries[:, t] + self.W_r(memory), premise_mask)
            memory = (weights[:, None] @ premise).squeeze(1) + torch.tanh(self.W_t(memory))
            memories.append(memory)
            maps.append(weights)
        r_last = last_real(torch.stack(memories, dim=1), hypothesis_mask)
        h_last = last_real(hypothesis, hypothesis_mask)
        h_star = torch.tanh(self.W_p(r_last) + self.W_x(h_last))
        maps = torch.stack(maps, dim=1)  # [B, T, S]
        return h_star, maps.masked_fill(~hypothesis_mask[..., None], 0.0)


# %% [markdown]
# ### La capa que resume
#
# Hay otra manera de mirar en los dos sentidos, mucho más barata: **una** consulta por frase. La media de la hipótesis busca en la
# premisa, la media de la premisa busca en la hipótesis, y una red pequeña decide con lo que encuentra cada una. No relee nada: es un
# solo paso, sin recurrencia. En sus nombres, *source* es la premisa y *target*, la hipótesis. Con $\bar y$, la media de la premisa:
#
# $$q = W^s \bar y + b^s, \qquad \beta_j = \frac{\exp(q \cdot h_j)}{\sum_{j'} \exp(q \cdot h_{j'})}, \qquad c^h = \sum_j \beta_j\, h_j$$
#
# Cambiados los papeles, y con otra matriz ($W^g$ en vez de $W^s$), sale $c^y$, lo que la hipótesis encuentra en la premisa. Y al final
#
# $$\log p = \log \mathrm{softmax}\!\left(W^o\, \mathrm{ReLU}(W^c\, [c^h; c^y] + b^c) + b^o\right)$$
#
# En el código, $W^s$ y $W^g$ son `source_query` y `target_query`; $W^c$ y $W^o$, `hidden` y `output`.


# %% tags=["export"]
class TwoWayAttention(nn.Module):
    """Clasifica un par de secuencias con una atención en cada sentido.

    Args:
        hidden_dim: tamaño H de los vectores de las dos secuencias.
        num_classes: clases C.
        dropout: probabilidad de dropout sobre las medias, los contextos y la capa oculta.
    """

    def __init__(self, hidden_dim, num_classes=3, dropout=0.3):
        super().__init__()
        self.source_query = nn.Linear(hidden_dim, hidden_dim)
        self.target_query = nn.Linear(hidden_dim, hidden_dim)
        self.hidden = nn.Linear(2 * hidden_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, num_classes)
        self.dropout = nn.Dropout(dropout)

    def clean(self, states, mask):
        """Ceros en el relleno: states `[B, S, H]`, mask bool `[B, S]` → `[B, S, H]`."""
        return states.masked_fill(~mask[..., None], 0.0)

    def mean(self, states, mask):
        """La media de lo real, y ceros si no hay nada: `[B, S, H]`, `[B, S]` → `[B, H]`."""
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        return (share.to(states.dtype)[:, None] @ states).squeeze(1)

    def look(self, query, states, mask):
        """La mezcla de `states [B, S, H]` que encuentra `query [B, H]`, y sus pesos `[B, S]`."""
        weights = masked_softmax((states @ query[..., None]).squeeze(-1), mask)
        return (weights[:, None] @ states).squeeze(1), weights

    def forward(self, source_states, target_states, source_mask=None, target_mask=None):
        """Clasifica cada par.

        Formas:
            source_states: `[B, S, H]`; target_states: `[B, T, H]`; máscaras `[B, S]` y `[B, T]`
            (None: no hay relleno).

        Returns:
            Log-probabilidades `[B, C]`. Lo que haya en el relleno, `nan` incluido, no influye.

        Raises:
            ValueError: si una máscara no tiene la forma de su secuencia.
        """
        source_mask = real_mask(source_states, source_mask)
        target_mask = real_mask(target_states, target_mask)
        source = self.clean(source_states, source_mask)
        target = self.clean(target_states, target_mask)
        from_source = self.source_query(self.dropout(self.mean(source, source_mask)))
        from_target = self.target_query(self.dropout(self.mean(target, target_mask)))
        target_found, _ = self.look(from_source, target, target_mask)
        source_found, _ = self.look(from_target, source, source_mask)
        found = self.dropout(torch.cat([target_found, source_found], dim=-1))
        hidden = self.dropout(torch.relu(self.hidden(found)))
        return self.output(hidden).log_softmax(-1)


# %% [markdown]
# ### Los lectores
#
# Falta leer las palabras. `run_lstm` le da a cada secuencia solo sus palabras reales, con `pack_padded_sequence`: así el último
# estado es el de la última palabra real, y no el de después de un montón de relleno.


# %% tags=["export"]
def run_lstm(lstm, x, mask, state=None):
    """Una LSTM `batch_first` que no ve el relleno del final.

    Formas: x `[B, S, E]`, mask bool `[B, S]`, state el inicial (None: ceros) → salidas
    `[B, S, H]`, con ceros en el relleno, y el estado tras la última palabra real.
    """
    lengths = mask.sum(1).clamp(min=1).cpu()  # la LSTM no admite longitudes 0
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, state = lstm(packed, state)
    out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.size(1))
    return out.masked_fill(~mask[..., None], 0.0), state


# %% [markdown]
# El lector del artículo tiene dos LSTM. Con `attention=None` es la **LSTM condicional** sola, sin atención: clasifica con $h_N$. Con
# `two_way=True` lee el par en los dos órdenes.


# %% tags=["export"]
class ConditionalReader(nn.Module):
    """Lee la premisa, y después la hipótesis desde donde quedó la premisa.

    Args:
        attention: capa `(premise, hypothesis, premise_mask, hypothesis_mask) -> (h_star, maps)`
            con vectores de `hidden_dim`; None, sin atención.
        two_way: si se lee en los dos sentidos, con los mismos parámetros.
        vocab_size: palabras del vocabulario; la 0 es el relleno.

    Referencia: Rocktäschel et al. (2016), secciones 2.2 a 2.5.
    """

    def __init__(self, attention, vocab_size, two_way=False, embed_dim=32, hidden_dim=48):
        super().__init__()
        self.word = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        self.premise_lstm = nn.LSTM(embed_dim, hidden_dim, batch_first=True)
        self.hypothesis_lstm = nn.LSTM(embed_dim, hidden_dim, batch_first=True)
        self.attention = attention
        self.two_way = two_way
        self.output = nn.Linear(hidden_dim * (2 if two_way else 1), 3)

    def read(self, premise_ids, hypothesis_ids):
        """Un sentido: `[B, S]` y `[B, T]` → vector `[B, H]` y mapas `[B, T, S]` (o None)."""
        masks = premise_ids != 0, hypothesis_ids != 0
        words = [self.word(ids) for ids in (premise_ids, hypothesis_ids)]
        premise, state = run_lstm(self.premise_lstm, words[0], masks[0])
        hypothesis, _ = run_lstm(self.hypothesis_lstm, words[1], masks[1], state)
        if self.attention is None:
            return last_real(hypothesis, masks[1]), None
        return self.attention(premise, hypothesis, *masks)

    def forward(self, premise_ids, hypothesis_ids):
        """Formas: `[B, S]` y `[B, T]` → log-probabilidades `[B, 3]`."""
        vector, _ = self.read(premise_ids, hypothesis_ids)
        if self.two_way:
            backward, _ = self.read(hypothesis_ids, premise_ids)
            vector = torch.cat([vector, backward], dim=-1)
        return self.output(vector).log_softmax(-1)


# %% [markdown]
# El otro lector pone delante de una capa una LSTM **bidireccional**: una misma LSTM lee las dos frases, cada una por su lado. Con
# `recurrent=False`, en vez de la LSTM hay una capa lineal: cada palabra se lee sola, y ningún vector sabe qué hay a su lado.


# %% tags=["export"]
class PairReader(nn.Module):
    """Lee las dos frases por separado y las compara con `TwoWayAttention`.

    Args:
        attention: capa `(source, target, source_mask, target_mask) -> log-probabilidades`.
        vocab_size: palabras del vocabulario; la 0 es el relleno.
        recurrent: si las frases se leen con una LSTM bidireccional o palabra a palabra.
        hidden_dim: par, el de la capa.
    """

    def __init__(self, attention, vocab_size, recurrent=True, embed_dim=32, hidden_dim=48):
        super().__init__()
        self.word = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        if recurrent:
            half = hidden_dim // 2
            self.lstm = nn.LSTM(embed_dim, half, batch_first=True, bidirectional=True)
        else:
            self.alone = nn.Linear(embed_dim, hidden_dim)
        self.recurrent = recurrent
        self.attention = attention

    def read(self, ids):
        """Los vectores de una frase y su máscara: ids `[B, S]` → `[B, S, H]`, `[B, S]`."""
        mask = ids != 0
        if not self.recurrent:
            return torch.tanh(self.alone(self.word(ids))), mask
        return run_lstm(self.lstm, self.word(ids), mask)[0], mask

    def forward(self, premise_ids, hypothesis_ids):
        """Formas: `[B, S]` y `[B, T]` → log-probabilidades `[B, 3]`."""
        premise, premise_mask = self.read(premise_ids)
        hypothesis, hypothesis_mask = self.read(hypothesis_ids)
        return self.attention(premise, hypothesis, premise_mask, hypothesis_mask)


# %% [markdown]
# A `TwoWayAttention` le puede dar los vectores tal cual. Para la atención palabra por palabra hace falta clasificar $h^*$:


# %% tags=["export"]
class WordByWordClassifier(nn.Module):
    """Clasifica un par con atención palabra por palabra: la firma, la de `TwoWayAttention`.

    Args:
        hidden_dim: tamaño H de los vectores.
        two_way: si cada secuencia relee la otra, con los mismos parámetros.
    """

    def __init__(self, hidden_dim, two_way=False):
        super().__init__()
        self.attention = WordByWordAttention(hidden_dim)
        self.two_way = two_way
        self.output = nn.Linear(hidden_dim * (2 if two_way else 1), 3)

    def forward(self, source_states, target_states, source_mask=None, target_mask=None):
        """Formas: `[B, S, H]`, `[B, T, H]` y sus máscaras → log-probabilidades `[B, 3]`."""
        vector, _ = self.attention(source_states, target_states, source_mask, target_mask)
        if self.two_way:
            backward, _ = self.attention(target_states, source_states, target_mask, source_mask)
            vector = torch.cat([vector, backward], dim=-1)
        return self.output(vector).log_softmax(-1)


# %% [markdown]
# ## 5. Comprobaciones
#
# **Es la fórmula.** Los bucles siguen la sección 3 al pie de la letra, ejemplo a ejemplo y sin relleno que quitar. El segundo ejemplo
# tiene tres palabras de premisa y dos de hipótesis; la $N$ es la suya.

# %% tags=["skip-execution"]
torch.manual_seed(0)
layer = WordByWordAttention(5)
premise, hypothesis = torch.randn(2, 4, 5), torch.randn(2, 3, 5)
lengths = [(4, 3), (3, 2)]
masks = [torch.arange(s) < torch.tensor(n)[:, None] for s, n in zip((4, 3), zip(*lengths))]
with torch.no_grad():
    h_star, maps = layer(premise, hypothesis, *masks)
    for b, (S, N) in enumerate(lengths):
        r = torch.zeros(5)
        for t in range(N):
            before = layer.W_h(hypothesis[b, t]) + layer.W_r(r)
            scores = [layer.w(torch.tanh(layer.W_y(y) + before)).item() for y in premise[b, :S]]
            total = sum(math.exp(score) for score in scores)
            alpha = [math.exp(score) / total for score in scores]
            r = sum(a * y for a, y in zip(alpha, premise[b])) + torch.tanh(layer.W_t(r))
            assert torch.allclose(maps[b, t, :S], torch.tensor(alpha), atol=1e-6)
        expected = torch.tanh(layer.W_p(r) + layer.W_x(hypothesis[b, N - 1]))
        assert torch.allclose(h_star[b], expected, atol=1e-6)
sums = [[round(total, 6) for total in row] for row in maps.sum(-1).tolist()]
print("igual que los bucles; las filas suman", sums)

# %% [markdown]
# **El relleno no influye, aunque sea `nan`.** Ponemos `nan` en todo lo que la máscara tapa, en las dos capas. Nada se mueve, y los
# gradientes son finitos.

# %% tags=["skip-execution"]
dirty = [x.masked_fill(~m[..., None], math.nan) for x, m in zip((premise, hypothesis), masks)]
pair_layer = TwoWayAttention(5).eval()
for name, each in (("palabra por palabra", layer), ("TwoWayAttention", pair_layer)):
    inputs = [x.clone().requires_grad_() for x in dirty]
    found, expected = each(*inputs, *masks), each(premise, hypothesis, *masks)
    found, expected = (x[0] if isinstance(x, tuple) else x for x in (found, expected))
    found.pow(2).sum().backward()
    change = (found - expected).abs().max().item()
    gradients = torch.cat([x.grad[~m].flatten() for x, m in zip(inputs, masks)])
    print(f"{name}: cambio {change}, gradiente en el relleno {gradients.abs().max().item()}")
    assert change == 0 and all(x.grad.isfinite().all() for x in inputs)

# %% [markdown]
# **Sin premisa no hay nada que releer.** Si la máscara tapa toda la premisa, los pesos son 0 y da igual lo que hubiera debajo. Y en 16
# bits las dos capas funcionan: no hay ningún $-10^{10}$ que no quepa.

# %% tags=["skip-execution"]
nothing = torch.zeros(2, 4, dtype=torch.bool)
other = torch.randn(2, 4, 5) * 100
changes = [
    (pair_layer(premise, hypothesis, nothing) - pair_layer(other, hypothesis, nothing)).abs().max(),
    (layer(premise, hypothesis, nothing)[0] - layer(other, hypothesis, nothing)[0]).abs().max(),
]
print("cambio al cambiar una premisa tapada:", [change.item() for change in changes])
print("pesos:", layer(premise, hypothesis, nothing)[1].abs().max().item())
half = [x.half() for x in (premise, hypothesis)]
outputs = layer.half()(*half, *masks)[0], pair_layer.half()(*half, *masks)
print("en 16 bits, finitos:", [bool(x.isfinite().all()) for x in outputs])
assert max(changes) == 0 and all(x.isfinite().all() for x in outputs)

# %% [markdown]
# ## 6. Datos: cuantificadores, negación y clases
#
# Una frase tiene una **forma** (de cuatro), un nombre y un verbo. Los nombres son tres **clases** y nueve **especies**, cada una de una
# clase: un *gato* es un *animal*. Se entiende que hay al menos un individuo de cada especie, y que una clase puede tener además
# otras especies que no se nombran.


# %% tags=["export"]
KINDS = {
    "animal": ["gato", "perro", "lobo"],
    "músico": ["pianista", "violinista", "flautista"],
    "atleta": ["remero", "ciclista", "tenista"],
}
KIND_OF = {name: kind for kind in KINDS for name in KINDS[kind]}
NOUNS = [*KINDS, *KIND_OF]
VERBS = ["come", "corre", "duerme"]
FORMS = {
    "todo": "todo {noun} {verb}",
    "algún": "algún {noun} {verb}",
    "ningún": "ningún {noun} {verb}",
    "algún no": "algún {noun} no {verb}",
}
NEGATION = {"todo": "algún no", "algún no": "todo", "algún": "ningún", "ningún": "algún"}
LABELS = ["implicación", "contradicción", "neutral"]


# %% [markdown]
# ### La etiqueta la decide una regla
#
# Una premisa **implica** una hipótesis si la hipótesis es cierta siempre que lo es la premisa, y la **contradice** si implica su
# negación (*todo gato come* y *algún gato no come* se niegan la una a la otra). Las palabras que hablan de todos, *todo* y *ningún*, se
# pueden aplicar a una clase más pequeña; las que hablan de alguno, a una más grande:
#
# | de… | se sigue… | cuando… |
# |---|---|---|
# | *todo animal come* | *todo gato come*, *algún gato come* | se baja: gato está dentro de animal |
# | *todo gato come* | *algún animal come* | hay gatos, y son animales |
# | *algún gato come* | *algún animal come* | se sube |
#
# Con *ningún* y *algún no* pasa lo mismo. Eso es todo lo que dice `implies`.


# %% tags=["export"]
def within(noun, other):
    """Si todo lo que es `noun` es también `other`."""
    return noun == other or KIND_OF.get(noun) == other


def implies(fact, other):
    """Si de una frase se sigue otra. Una frase es `(forma, nombre, verbo)`."""
    (form, noun, verb), (other_form, other_noun, other_verb) = fact, other
    positive, other_positive = (f in ("todo", "algún") for f in (form, other_form))
    if verb != other_verb or positive != other_positive:
        return False
    up, down = within(noun, other_noun), within(other_noun, noun)
    universal, other_universal = (f in ("todo", "ningún") for f in (form, other_form))
    if universal:
        return down if other_universal else (up or down)
    return up and not other_universal


def label(premise, hypothesis):
    """La posición en `LABELS` de un par: premise, lista de frases compatibles; hypothesis, una."""
    form, noun, verb = hypothesis
    denied = (NEGATION[form], noun, verb)
    if any(implies(fact, hypothesis) for fact in premise):
        return 0
    return 1 if any(implies(fact, denied) for fact in premise) else 2


# %% [markdown]
# Las cuatro hipótesis de la sección 2, con la regla:

# %% tags=["skip-execution"]
given = [
    ("todo", "pianista", "corre"),
    ("ningún", "gato", "duerme"),
    ("algún no", "remero", "come"),
]
for form, noun, verb in (
    ("algún no", "animal", "duerme"),
    ("algún no", "pianista", "corre"),
    ("todo", "remero", "come"),
    ("algún", "músico", "duerme"),
):
    text = FORMS[form].format(noun=noun, verb=verb)
    print(f"{text:24} {LABELS[label(given, (form, noun, verb))]}")

# %% [markdown]
# ¿Es correcta la regla? Se puede comprobar sin fiarse de ella, recorriendo **todos los mundos**. Para un verbo, de cada
# especie solo importa si lo hacen todos sus individuos, ninguno, o unos sí y otros no. Con dos clases de dos especies nombradas y una
# sin nombrar, hay $3^6$ mundos. De la premisa se sigue la hipótesis si esta es cierta en todos los mundos en los que lo es aquella.


# %% tags=["export"]
def all_worlds():
    """Los mundos de gatos, perros, pianistas, flautistas y otras especies de sus dos clases.

    Un mundo dice de cada especie si alguno lo hace y si alguno no: bool `[729, 6, 2]`.
    """
    states = [(True, False), (False, True), (True, True)]  # todos, ninguno, unos sí y otros no
    return torch.tensor(list(itertools.product(states, repeat=6)))


WORLD_SPECIES = {
    "gato": [0], "perro": [1], "animal": [0, 1, 2],
    "pianista": [3], "flautista": [4], "músico": [3, 4, 5],
}  # fmt: skip


def true_in(worlds, form, noun):
    """En qué mundos es cierta una frase: bool `[729]`."""
    does, does_not = worlds[:, WORLD_SPECIES[noun]].any(1).unbind(1)
    return {"todo": ~does_not, "algún": does, "ningún": ~does, "algún no": does_not}[form]


# %% [markdown]
# Probamos todas las premisas de una y de dos frases compatibles, con todas las hipótesis.

# %% tags=["skip-execution"]
worlds = all_worlds()
facts = [(form, noun, "come") for form in FORMS for noun in WORLD_SPECIES]
truth = {fact: true_in(worlds, *fact[:2]) for fact in facts}
counts, mistakes = [0, 0, 0], 0
for premise in itertools.combinations_with_replacement(facts, 2):
    possible = truth[premise[0]] & truth[premise[1]]
    if not possible.any():  # las dos frases no pueden ser ciertas a la vez
        continue
    for hypothesis in facts:
        holds = truth[hypothesis][possible]
        right = 0 if holds.all() else 1 if not holds.any() else 2
        mistakes += label(premise, hypothesis) != right
        counts[right] += 1
print(f"{len(worlds)} mundos; {sum(counts)} pares, {mistakes} desacuerdos con la regla")
print(dict(zip(LABELS, counts)))
assert mistakes == 0

# %% [markdown]
# ### Que ninguna de las dos frases baste
#
# Un modelo puede acertar sin mirar la premisa. En los datos reales pasa: si quienes los escriben contradicen negando, *no* delata la
# contradicción. Aquí lo impide un **cuadrado latino**: de cada tres premisas y tres hipótesis se hacen nueve pares, y cada premisa y
# cada hipótesis aparece una vez con cada etiqueta.
#
# | | hipótesis 1 | hipótesis 2 | hipótesis 3 |
# |---|---|---|---|
# | premisa 1 | implicación | contradicción | neutral |
# | premisa 2 | contradicción | neutral | implicación |
# | premisa 3 | neutral | implicación | contradicción |
#
# Cada premisa tiene tres frases, una por hipótesis y de clases distintas. La que toca a una hipótesis se elige para que dé su etiqueta; si es
# *neutral*, a veces lo es por la lógica (*algún gato come* y *todo gato come*) y a veces porque habla de otro verbo. Las
# tres frases se barajan: **hay que encontrar la que importa**.


# %% tags=["export"]
def held_out(noun, verb):
    """Si una combinación de nombre y verbo se reserva para la prueba."""
    return (NOUNS.index(noun) + VERBS.index(verb)) % 5 == 0


def random_hypotheses(rng, reserved):
    """Tres frases, una por clase, con combinaciones reservadas o sin ellas."""
    verbs = VERBS if reserved else rng.sample(VERBS, 2)
    chosen = []
    for kind in rng.sample(list(KINDS), 3):
        nouns = [kind, kind, *KINDS[kind]]
        pairs = [(n, v) for n in nouns for v in verbs if held_out(n, v) == reserved]
        chosen.append((rng.choice(list(FORMS)), *rng.choice(pairs)))
    return chosen


def random_fact(rng, hypothesis, wanted, verbs, reserved):
    """Una frase que, de premisa, da a `hypothesis` la etiqueta `wanted`."""
    _, noun, verb = hypothesis
    nouns = [other for other in NOUNS if within(other, noun) or within(noun, other)]
    others = [other for other in verbs if other != verb] or [v for v in VERBS if v != verb]
    while True:
        neutral_verb = rng.choice(others) if rng.random() < 0.5 else verb
        new_verb = neutral_verb if wanted == 2 else verb
        fact = (rng.choice(list(FORMS)), rng.choice(nouns), new_verb)
        if label([fact], hypothesis) == wanted and (reserved or not held_out(*fact[1:])):
            return fact


# %% [markdown]
# Y el cuadrado: la frase $j$ de la premisa $i$ se elige para que la hipótesis $j$ tenga su etiqueta, y después se barajan.


# %% tags=["export"]
def random_square(rng, reserved=False):
    """Los nueve pares `(premise, hypothesis, label)` de un cuadrado latino."""
    hypotheses = random_hypotheses(rng, reserved)
    verbs = [verb for _, _, verb in hypotheses]
    step = rng.choice([1, 2])
    pairs = []
    for i in range(3):
        premise = [
            random_fact(rng, hypothesis, (step * i + j) % 3, verbs, reserved)
            for j, hypothesis in enumerate(hypotheses)
        ]
        rng.shuffle(premise)
        pairs += [(premise, h, label(premise, h)) for h in hypotheses]
    return pairs


# %% [markdown]
# Para que se note si un modelo ha aprendido a juntar palabras, y no frases hechas, una de cada cinco combinaciones de nombre y verbo se
# **reserva**: no aparece en ninguna frase de entrenamiento y, en la prueba, todas las hipótesis la llevan. Y los pares, a tensores.


# %% tags=["export"]
PAD = 0
VOCAB = ["·", "todo", "algún", "ningún", "no", *NOUNS, *VERBS]
WORD_ID = {word: i for i, word in enumerate(VOCAB)}


def words_of(fact):
    """Las palabras de una frase."""
    form, noun, verb = fact
    return FORMS[form].format(noun=noun, verb=verb).split()


def to_ids(rows):
    """Listas de palabras → `[B, S]`, con relleno al final."""
    width = max(map(len, rows))
    return torch.tensor([[WORD_ID[w] for w in row] + [PAD] * (width - len(row)) for row in rows])


def make_pairs(squares: int, seed: int, reserved: bool = False):
    """Los pares de unos cuadrados: `premises [9n, S]`, `hypotheses [9n, T]` y `labels [9n]`."""
    rng = random.Random(seed)
    pairs = [pair for _ in range(squares) for pair in random_square(rng, reserved)]
    premises = [[word for fact in premise for word in words_of(fact)] for premise, _, _ in pairs]
    hypotheses = [words_of(hypothesis) for _, hypothesis, _ in pairs]
    return to_ids(premises), to_ids(hypotheses), torch.tensor([answer for *_, answer in pairs])


# %% [markdown]
# Las dos primeras premisas de un cuadrado, con sus hipótesis, y la cuenta de lo prometido: ninguna combinación reservada en el
# entrenamiento, todas en las hipótesis de la prueba, y las etiquetas repartidas por igual.

# %% tags=["skip-execution"]
for premise, hypothesis, answer in random_square(random.Random(1))[:6]:
    text = ", ".join(" ".join(words_of(fact)) for fact in premise)
    print(f"{text} | {' '.join(words_of(hypothesis))} → {LABELS[answer]}")
reserved_pairs = sum(held_out(noun, verb) for noun in NOUNS for verb in VERBS)
rng = random.Random(2)
pairs = [pair for _ in range(300) for pair in random_square(rng)]
leaks = sum(held_out(*fact[1:]) for premise, h, _ in pairs for fact in [*premise, h])
tests = [h for _, h, _ in random_square(random.Random(3), reserved=True)]
print(f"\nreservadas {reserved_pairs} de {len(NOUNS) * len(VERBS)}; en el entrenamiento, {leaks}")
print("etiquetas:", [sum(answer == k for *_, answer in pairs) for k in range(3)])
assert leaks == 0 and all(held_out(*h[1:]) for h in tests)

# %% [markdown]
# Una misma premisa da las tres respuestas, y una misma hipótesis, también: quien mire una sola de las dos acierta **justo** un tercio,
# aprenda lo que aprenda. Es así **por construcción**; si en la sección siguiente saliera otro número, la construcción estaría mal hecha.

# %% [markdown]
# ## 7. Entrenamiento: ¿qué hace falta?
#
# ### Las dos frases
#
# Entrenamos el lector que pone una LSTM bidireccional delante de `TwoWayAttention` de tres maneras: con las dos frases, sin premisa y sin
# hipótesis. A lo que falta le queda solo relleno, y la capa sabe qué hacer con eso.


# %% tags=["export"]
def random_batches(data, size=128):
    """Lotes al azar sin fin de `(premises, hypotheses, answers)`."""
    while True:
        rows = torch.randint(len(data[0]), (size,), device=data[0].device)
        yield [tensor[rows] for tensor in data]


def pair_loss(reader, batch):
    """Entropía cruzada; `batch` es `(premises, hypotheses, answers)`."""
    premises, hypotheses, answers = batch
    return F.nll_loss(reader(premises, hypotheses), answers)


@torch.no_grad()
def accuracy(reader, premises, hypotheses, answers):
    """Fracción de pares bien clasificados."""
    return (reader(premises, hypotheses).argmax(1) == answers).float().mean().item()


def hide(data, which):
    """Los mismos pares, con las premisas (0) o las hipótesis (1) convertidas en relleno."""
    return [torch.zeros_like(x) if i == which else x for i, x in enumerate(data)]


class UniformTwoWay(TwoWayAttention):
    """El control: todas las palabras reales pesan lo mismo."""

    def look(self, query, states, mask):
        return self.mean(states, mask), mask / mask.sum(1, keepdim=True).clamp(min=1)


def make_reader(name):
    """Un lector sin entrenar, por el nombre que lleva en las tablas."""
    V, H = len(VOCAB), 48
    makers = {
        "que resume": lambda: PairReader(TwoWayAttention(H, dropout=0.1), V),
        "atención uniforme": lambda: PairReader(UniformTwoWay(H, dropout=0.1), V),
        "bolsa de palabras": lambda: PairReader(
            TwoWayAttention(H, dropout=0.1), V, recurrent=False
        ),
        "LSTM condicional": lambda: ConditionalReader(None, V),
        "la del artículo": lambda: ConditionalReader(WordByWordAttention(H), V),
        "palabra por palabra": lambda: PairReader(WordByWordClassifier(H), V),
        "en los dos sentidos": lambda: PairReader(WordByWordClassifier(H, two_way=True), V),
    }
    return makers[name]()


def train(name, data, steps, seed=0):
    """Un lector entrenado y su pérdida en cada paso."""
    set_seed(seed)
    reader = make_reader(name).to(data[0].device)
    batches = random_batches(data)
    return reader, fit(reader, batches, pair_loss, steps=steps, lr=0.01, label=name)


# %% [markdown]
# La última línea da al lector ya entrenado la premisa de otro cuadrado.

# %% tags=["skip-execution", "nbval-ignore-output"]
train_set, test_set = (
    [tensor.to(device) for tensor in make_pairs(squares, seed, reserved)]
    for squares, seed, reserved in ((3000, 1, False), (120, 2, True))
)
readers, curves, right = {}, {}, {}
readers["que resume"], curves["que resume"] = train("que resume", train_set, steps=300)
right["que resume"] = accuracy(readers["que resume"], *test_set)
print(f"{'las dos frases':15} acierto {right['que resume']:.3f}")
for which, name in enumerate(("sin premisa", "sin hipótesis")):
    blind, _ = train("que resume", hide(train_set, which), steps=100)
    right[name] = accuracy(blind, *hide(test_set, which))
    print(f"{name:15} acierto {right[name]:.3f}")
premises, hypotheses, answers = test_set
swapped = accuracy(readers["que resume"], premises.roll(9, 0), hypotheses, answers)
print(f"las dos frases, pero la premisa de otro cuadrado: acierto {swapped:.3f}")
assert right["que resume"] > 0.95 and swapped < 0.5
assert all(abs(right[name] - 1 / 3) < 0.01 for name in ("sin premisa", "sin hipótesis"))

# %% [markdown]
# Sin una de las dos frases, un tercio justo, como debía. Con las dos acierta casi siempre, y eso que en la prueba las hipótesis juntan nombres y verbos que nunca
# vio juntos.
#
# ### La atención y el orden
#
# A ese lector, el **que resume**, le quitamos una pieza cada vez; y lo comparamos con los del artículo, que leen la hipótesis a partir de la
# premisa:
#
# | lector | qué tiene |
# |---|---|
# | **que resume** | LSTM bidireccional y `TwoWayAttention`: una búsqueda por frase |
# | **atención uniforme** (control negativo) | lo mismo, sin elegir: todas las palabras pesan igual |
# | **bolsa de palabras** (control negativo) | lo mismo, sin LSTM: elige, pero entre palabras sueltas |
# | **LSTM condicional** (línea base) | lee la premisa y después la hipótesis, sin atención |
# | **la del artículo** | la LSTM condicional y `WordByWordAttention` |
# | **palabra por palabra** | la LSTM bidireccional del que resume, y `WordByWordAttention` |
# | **en los dos sentidos** | lo mismo, y la premisa relee también la hipótesis |

# %% tags=["skip-execution", "nbval-ignore-output"]
STEPS = {
    "atención uniforme": 300,  # los del que resume
    "bolsa de palabras": 300,
    "LSTM condicional": 400,
    "la del artículo": 400,
    "palabra por palabra": 500,
    "en los dos sentidos": 250,
}
print(f"{'que resume':20} acierto {right['que resume']:.3f}   (300 pasos)")
for name, steps in STEPS.items():
    readers[name], curves[name] = train(name, train_set, steps)
    right[name] = accuracy(readers[name], *test_set)
    print(f"{name:20} acierto {right[name]:.3f}   ({steps} pasos)")
controls = ["atención uniforme", "bolsa de palabras", "LSTM condicional"]
best = max(right[name] for name in controls)
assert best < 0.75 and right["que resume"] > right["palabra por palabra"] > best + 0.05
assert min(right["la del artículo"], right["en los dos sentidos"]) > best + 0.05

# %% [markdown]
# Las curvas dicen más que el último número. Mira los primeros pasos: ninguna se mueve. Después, las de los dos lectores que tienen LSTM
# **y** atención caen deprisa; las de la bolsa (atención sin LSTM) y la LSTM condicional (LSTM sin atención) bajan despacio y, en los pasos
# que les damos, se quedan lejos.

# %% tags=["skip-execution", "nbval-ignore-output"]
shown = ["que resume", "palabra por palabra", "LSTM condicional", "bolsa de palabras"]
plot_losses({name: curves[name] for name in shown})
for name in shown:
    print(f"{name:20} pérdida al final {sum(curves[name][-50:]) / 50:.2f}")

# %% [markdown]
# - **Hace falta el orden.** La bolsa de palabras tiene las mismas dos búsquedas, y no puede saber qué cuantificador va con qué nombre.
# - **Hace falta elegir.** La atención uniforme tiene la misma LSTM y los mismos pasos que el que resume, y solo le falta elegir: se queda muy
#   por debajo. También la LSTM condicional, que guarda tres frases en un vector antes de saber cuál le van a pedir.
# - **Releer aprende más despacio.** La del artículo y la que lee palabra por palabra superan a los controles, pero con más pasos que el que
#   resume no lo alcanzan. Dice lo que cuesta entrenarlas en esta tarea, no cuál sería mejor con muchos más.
# - **Qué añaden los dos sentidos, aquí no se ve.** Cada paso cuesta el doble, y por eso ese lector hizo la mitad: su acierto no se puede
#   comparar con el de un solo sentido.
#
# Es **una** semilla de cada lector. Las pruebas del curso repiten dos con tres semillas: el que resume pasa siempre de 0.95, y la bolsa no
# llega nunca a 0.7.
#
# ### El orden, en un solo par
#
# Dos premisas con las mismas palabras: solo cambia de sitio el cuantificador. La hipótesis *todo gato corre* se sigue de la primera y
# contradice la segunda.

# %% tags=["skip-execution", "nbval-ignore-output"]
texts = ["todo gato corre ningún remero corre", "ningún gato corre todo remero corre"]
third = "algún pianista come"
both = to_ids([f"{text} {third}".split() for text in texts]).to(device)
asked = to_ids([["todo", "gato", "corre"]] * 2).to(device)
for name in ("bolsa de palabras", "que resume"):
    with torch.no_grad():
        first, second = readers[name](both, asked).exp().cpu()
    change = (first - second).abs().max().item()
    answers_ = [f"{LABELS[p.argmax()]} ({p.max():.2f})" for p in (first, second)]
    print(f"{name:18} {answers_[0]:21} {answers_[1]:21} diferencia {change:.2f}")
    assert change < 1e-4 if name == "bolsa de palabras" else first.argmax() == 0
assert second.argmax() == 1

# %% [markdown]
# ## 8. Visualización: qué se relee en cada palabra
#
# El mapa de la atención palabra por palabra: una fila por palabra de la hipótesis, que reparte 1 entre las palabras de la premisa. A la
# izquierda, una contradicción con negación; a la derecha, una implicación que sube de *gato* a *animal*. Las líneas blancas separan las
# tres frases de la premisa.


# %% tags=["skip-execution"]
QUANTIFIERS = ["todo", "algún", "ningún"]


def read_pair(premise, hypothesis):
    """El mapa `[T, S]` y las probabilidades `[3]` del lector palabra por palabra."""
    ids = [to_ids([text.split()]).to(device) for text in (premise, hypothesis)]
    with torch.no_grad():
        return maps_of(*ids)[0].cpu(), readers["palabra por palabra"](*ids)[0].exp().cpu()


def maps_of(premise_ids, hypothesis_ids):
    """Los mapas `[B, T, S]` del lector palabra por palabra."""
    reader = readers["palabra por palabra"]
    (source, source_mask), (target, target_mask) = map(reader.read, (premise_ids, hypothesis_ids))
    return reader.attention.attention(source, target, source_mask, target_mask)[1]


def draw_map(ax, weights, premise, hypothesis, title):
    """Un mapa, con las frases de la premisa separadas."""
    image = ax.imshow(weights, vmin=0, vmax=0.6, cmap="cividis", aspect="auto")
    ax.set_xticks(range(len(premise)), premise, rotation=45, ha="right")
    ax.set_yticks(range(len(hypothesis)), hypothesis)
    for j in range(1, len(premise)):
        if premise[j] in QUANTIFIERS:
            ax.axvline(j - 0.5, color="white", linewidth=2)
    ax.set(xlabel="Premisa", ylabel="Hipótesis")
    ax.set_title(title, fontsize=11)
    return image


# %% [markdown]
# El lector es el que lee con la LSTM bidireccional: cada palabra de la hipótesis ya sabe de las demás. Antes de mirar: ¿en qué fila
# esperas que encuentre la frase que importa, en la primera o en la última?

# %% tags=["skip-execution", "portada", "nbval-ignore-output"]
story = "todo pianista corre ningún gato duerme algún remero no come"
figure, axes = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained")
inside = []
for ax, hypothesis, clause in zip(axes, ("todo remero come", "algún animal no duerme"), (2, 1)):
    weights, probabilities = read_pair(story, hypothesis)
    guess = LABELS[probabilities.argmax()]
    title = f"«{hypothesis}»: {guess} ({probabilities.max():.2f})"
    image = draw_map(ax, weights, story.split(), hypothesis.split(), title)
    inside.append(weights[0, 3 * clause : 3 * clause + 3 + (clause == 2)].sum().item())
figure.colorbar(image, ax=axes, label="Peso", shrink=0.9)
show(
    "Dos mapas de hipótesis (filas) por premisa (columnas), con rayas blancas entre las frases de la "
    f"premisa. En la primera fila cae en la frase que importa, la de «remero», {inside[0]:.2f} del "
    f"peso; en el otro mapa, en la de «gato», {inside[1]:.2f}."
)
print("peso de la primera fila en la frase que importa:", [round(total, 2) for total in inside])
assert min(inside) > 0.4

# %% [markdown]
# La que busca es la **primera** fila. A la izquierda, casi todo su peso cae en la frase de *remero*; a la derecha, la de *gato*, que es un
# *animal*, es la que más recibe, aunque no llega a la mitad. Después, el peso se va a otras frases: al leer *animal*, la casilla más clara es
# la de *remero*, que no hace falta para responder. No es, pues, el emparejamiento de la sección 2, *animal* con *gato*: cada posición lleva lo
# que dejó en ella una LSTM bidireccional, que ha leído también lo de alrededor. ¿Pasa en general? La celda mide, en toda la prueba, cuánto
# peso cae en la frase de la premisa que habla de la clase de la hipótesis, según la palabra que se lee.


# %% tags=["skip-execution", "nbval-ignore-output"]
def same_kind_positions(premise_ids, hypothesis_ids):
    """Las posiciones de la frase de la premisa que habla de la clase de la hipótesis: bool `[B, S]`."""
    kinds = torch.zeros(len(VOCAB), dtype=torch.long)
    for number, (kind, names) in enumerate(KINDS.items(), start=1):
        kinds[[WORD_ID[name] for name in (kind, *names)]] = number
    wanted = kinds[hypothesis_ids].amax(1, keepdim=True)
    starts = torch.isin(premise_ids, torch.tensor([WORD_ID[w] for w in QUANTIFIERS]))
    sentence = starts.cumsum(1)  # 1, 2 o 3: de qué frase es cada palabra
    chosen = (sentence * (kinds[premise_ids] == wanted)).amax(1, keepdim=True)
    return (sentence == chosen) & (premise_ids != PAD)


ids = premises.cpu(), hypotheses.cpu()
wanted = same_kind_positions(*ids)
with torch.no_grad():
    maps = maps_of(premises, hypotheses).cpu()
on_target = (maps * wanted[:, None]).sum(-1)  # [B, T]
by_chance = (wanted.sum(1) / (ids[0] != PAD).sum(1)).mean().item()
by_word = {}
for name, chosen in (
    ("cuantificador", QUANTIFIERS),
    ("nombre", NOUNS),
    ("no", ["no"]),
    ("verbo", VERBS),
):
    rows = torch.isin(ids[1], torch.tensor([WORD_ID[word] for word in chosen]))
    by_word[name] = on_target[rows].mean().item()
    print(f"al leer {name:14} {by_word[name]:.2f} del peso, en la frase que importa")
print(f"al azar{'':15} {by_chance:.2f}")
assert (
    by_word["cuantificador"] > by_chance + 0.3 and by_word["cuantificador"] > by_word["verbo"] + 0.2
)

# %% [markdown]
# El cuantificador va siempre delante: al leerlo, casi todo el peso está en la frase que importa; con el nombre baja, y con el verbo ya es
# menos que al azar. Una explicación posible, que esta cuenta no prueba: $r_t$ puede llevar hasta el final lo que encontró al principio, y nada
# en la pérdida pide volver a mirarlo. **Un peso bajo no quiere decir que la palabra no cuente**: puede que ya se haya leído.
#
# ### Prueba tú: cambia la hipótesis y lee despacio
#
# Elige la forma, el nombre y el verbo de la hipótesis, y mueve $t$: las barras son $\alpha_t$, lo que se relee al llegar a esa palabra, y el
# título dice qué responde el lector al **terminar**, y qué dice la regla. Antes de mover nada: si cambias *animal* por *músico*, ¿adónde debería
# ir la barra más alta de $t = 1$? ¿Y si cambias solo el verbo?


# %% tags=["skip-execution"]
def draw_step(form, noun, verb, t):
    """La atención al leer la palabra `t` (desde 1) de una hipótesis, y la respuesta final."""
    hypothesis = words_of((form, noun, verb))
    t = min(t, len(hypothesis))
    weights, probabilities = read_pair(story, " ".join(hypothesis))
    truth = LABELS[label(given, (form, noun, verb))]  # las frases de la sección 6
    _, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
    ax.bar(
        range(weights.size(1)), weights[t - 1], color="#7fa8d1", edgecolor="black", linewidth=0.6
    )
    ax.set_xticks(range(weights.size(1)), story.split(), rotation=45, ha="right")
    reading = " ".join([*hypothesis[: t - 1], f"[{hypothesis[t - 1]}]", *hypothesis[t:]])
    guess = f"{LABELS[probabilities.argmax()]} ({probabilities.max():.2f})"
    ax.set_title(f"«{reading}»\nal terminar, responde {guess}; la regla dice {truth}", fontsize=11)
    ax.set(ylim=(0, 1), ylabel=rf"Peso $\alpha_{t}$", xlabel="Premisa")
    bars = ", ".join(f"{word} {weight:.2f}" for word, weight in zip(story.split(), weights[t - 1]))
    show(
        f"Barras: el peso de cada palabra de la premisa al leer «{hypothesis[t - 1]}»: {bars}. "
        f"Responde {guess}; la regla dice {truth}."
    )


# %% [markdown]
# Primero, un caso: *algún animal no duerme*, al leer *algún* y al leer *duerme*.

# %% tags=["skip-execution", "nbval-ignore-output"]
for t in (1, 4):
    draw_step("algún no", "animal", "duerme", t)

# %% [markdown]
# Y ahora tú. Si el control no aparece, ejecuta el cuaderno entero: hace falta el modelo entrenado.

# %% tags=["skip-execution", "nbval-ignore-output"]
import ipywidgets

control = ipywidgets.interact(
    draw_step,
    form=ipywidgets.Dropdown(options=list(FORMS), value="algún no", description="Forma"),
    noun=ipywidgets.Dropdown(options=NOUNS, value="animal", description="Nombre"),
    verb=ipywidgets.Dropdown(options=VERBS, value="duerme", description="Verbo"),
    t=ipywidgets.IntSlider(value=1, min=1, max=4, description="t"),
)

# %% [markdown]
# ## 9. Caza del error: cero por `nan`
#
# Así se suele promediar lo real: se multiplica por la máscara, que vale 0 en el relleno, y se divide entre las palabras que hay. Parece
# impecable. Pero en aritmética de coma flotante $0 \cdot x$ no siempre es 0: si $x$ es `nan` o infinito, es `nan`. ¿Y quién pone un `nan` en el
# relleno? Cualquiera que haya pasado antes: una softmax de una fila sin nada permitido, un logaritmo de 0, memoria sin inicializar.
#
# Reproduzcamos el error en `TwoWayAttention` cambiando solo la limpieza: multiplicar, en vez de elegir.


# %% tags=["export"]
class MultipliesByMask(TwoWayAttention):
    """Limpia multiplicando: NO aguanta un `nan` en el relleno (véase la caza del error)."""

    def clean(self, states, mask):
        return states * mask[..., None]


# %% [markdown]
# Las dos capas, con los **mismos** pesos, reciben los vectores que la LSTM entrenada da a la prueba. Con ceros en el relleno, que es lo que
# deja `run_lstm`, son iguales. Después, un solo `nan` en el relleno de cada premisa que lo tenga.

# %% tags=["skip-execution", "nbval-ignore-output"]
reader = readers["que resume"]
careless = MultipliesByMask(48, dropout=0.1).to(device).eval()
careless.load_state_dict(reader.attention.state_dict())
with torch.no_grad():
    source, source_mask = reader.read(premises)
    target, target_mask = reader.read(hypotheses)
dirty = source.clone()
dirty[:, -1, 0] = torch.where(source_mask[:, -1], dirty[:, -1, 0], math.nan)
padded = (~source_mask[:, -1]).sum().item()
for name, states in (("ceros", source), ("un nan", dirty)):
    for layer_name, layer in (("multiplicar", careless), ("elegir", reader.attention)):
        log_probs = layer(states, target, source_mask, target_mask)
        broken = log_probs.isnan().any(1).sum().item()
        good = (log_probs.argmax(1) == answers).float().mean().item()
        gradients = torch.autograd.grad(F.nll_loss(log_probs, answers), list(layer.parameters()))
        lost = sum(gradient.isnan().any().item() for gradient in gradients)
        print(f"{name:7} {layer_name:12} salidas nan {broken:4}  acierto {good:.3f}", end="  ")
        print(f"parámetros con gradiente nan: {lost} de {len(gradients)}")
        leaks = (name, layer_name) == ("un nan", "multiplicar")
        assert (broken, lost) == ((padded, len(gradients)) if leaks else (0, 0))
print(f"premisas con relleno: {padded} de {len(premises)}")
assert 0 < padded < len(premises)

# %% [markdown]
# Con ceros, las dos capas son indistinguibles: **ningún entrenamiento limpio delata el error**. Con un solo `nan` en un hueco que nadie
# debía mirar, las premisas con relleno se pierden enteras: el `nan` pasa a la media, de la media a la consulta y de ahí a las tres
# clases. Y el daño no se queda en esas filas: la pérdida de un lote es una media, y con un `nan` en ella lo son los gradientes de **todos** los
# parámetros. Un paso más, y no queda modelo.
#
# El remedio es **elegir**: `masked_fill(~mask, 0)` o `torch.where`, y hacerlo al entrar, antes de cualquier cuenta. Además, el gradiente de lo
# que no se elige es exactamente 0, como se vio en la sección 5. Limpiar después, con `nan_to_num` en la salida, no
# arregla nada: lo que se supiera de esas premisas ya se ha perdido.

# %% [markdown]
# ## 10. Ejercicios
#
# Cada ejercicio tiene celdas que completas tú y celdas de pruebas. Las **pruebas visibles** te dicen si vas bien; al
# calificar se añaden otras, así que superarlas no garantiza la nota completa. La primera línea de esas celdas
# (`# ejercicio: …`, `# pruebas: …`) sirve para reconocerlas: no la borres.
#
# Al calificar se ejecutan las definiciones y los ejercicios, no los entrenamientos de la lección: tus soluciones no
# deben usar variables como `readers` o `test_set`.

# %% [markdown]
# ### Ejercicio 04a · `DotWordByWord` (●●●●○, 60 minutos, 12 puntos)
#
# La capa de la lección puntúa con una red: suma, $\tanh$ y $w$. Escribe la que puntúa con un **producto escalar**, que es como lo hacen
# los modelos que vinieron después: todo lo que se pregunta en el paso $t$ (la palabra que se lee y lo ya releído) forma una
# consulta $q_t$, y se compara con la clave de cada palabra de la premisa.
#
# $$q_t = W^h h_t + W^r r_{t-1}, \qquad e_{tj} = \frac{(W^y y_j) \cdot q_t}{\sqrt{H}}, \qquad
# \alpha_{tj} = \frac{\exp(e_{tj})}{\sum_{j'} \exp(e_{tj'})}$$
#
# $$r_0 = 0, \qquad r_t = \sum_j \alpha_{tj}\, y_j + \tanh(W^t r_{t-1}), \qquad
# h^* = \mathrm{Dropout}\!\left(\tanh(W^p r_N + W^x h_N)\right)$$
#
# | nombre | forma | qué es |
# |---|---|---|
# | `hidden_dim` | H | tamaño de los vectores |
# | `dropout` | | la probabilidad del dropout, solo sobre $h^*$ |
# | `W_y`, `W_h`, `W_r`, `W_t`, `W_p`, `W_x` | `nn.Linear(H, H, bias=False)` | las seis matrices, los únicos parámetros |
# | `premise`, `hypothesis` | `[B, S, H]`, `[B, T, H]` | $y$ y $h$, ya leídas |
# | `premise_mask`, `hypothesis_mask` | bool `[B, S]`, `[B, T]` | True donde hay palabra, con el relleno al final; `None`: no hay |
# | `h_star` | `[B, H]` | $h^*$, con la $N$ de cada hipótesis |
# | `maps` | `[B, T, S]` | $\alpha$; ceros en el relleno, también en las filas de las palabras de relleno |
#
# En el relleno puede haber cualquier cosa, `nan` incluido. Si una premisa no tiene ninguna palabra, sus pesos son 0, $r_t$ es solo lo
# recordado (0, por tanto), y los gradientes son finitos. Cada hipótesis tiene al menos una palabra. Proyecta la premisa una vez, no en cada
# paso. Puedes usar `masked_softmax`, `real_mask` y `last_real`; `WordByWordAttention`, no.


# %% nbgrader={"grade_id": "ej04a_clase", "solution": true} tags=["export"]
# ejercicio: ej04a_clase
class DotWordByWord(nn.Module):
    """Atención palabra por palabra que puntúa con un producto escalar.

    Args:
        hidden_dim: tamaño H de los vectores de las dos secuencias.
        dropout: probabilidad de dropout sobre la salida.

    Atributos obligatorios: `W_y`, `W_h`, `W_r`, `W_t`, `W_p` y `W_x` (véase la tabla).

    Referencia: Rocktäschel et al. (2016), sección 2.4; la puntuación, Vaswani et al. (2017).
    """

    def __init__(self, hidden_dim, dropout=0.0):
        super().__init__()
        ### BEGIN SOLUTION
        self.W_y = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.W_h = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.W_r = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.W_t = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.W_p = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.W_x = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, premise, hypothesis, premise_mask=None, hypothesis_mask=None):
        """Formas: `[B, S, H]`, `[B, T, H]`, máscaras bool → h_star `[B, H]`, maps `[B, T, S]`."""
        ### BEGIN SOLUTION
        if premise_mask is None:
            premise_mask = torch.ones(premise.shape[:2], dtype=torch.bool, device=premise.device)
        if hypothesis_mask is None:
            hypothesis_mask = torch.ones(
                hypothesis.shape[:2], dtype=torch.bool, device=premise.device
            )
        premise = premise.masked_fill(~premise_mask[..., None], 0.0)
        hypothesis = hypothesis.masked_fill(~hypothesis_mask[..., None], 0.0)
        keys = self.W_y(premise)
        memory = torch.zeros_like(hypothesis[:, 0])
        memories, maps = [], []
        for t in range(hypothesis.size(1)):
            query = self.W_h(hypothesis[:, t]) + self.W_r(memory)
            scores = (keys @ query[..., None]).squeeze(-1) / premise.size(-1) ** 0.5
            weights = masked_softmax(scores, premise_mask)
            reread = (weights[:, None] @ premise).squeeze(1)
            memory = reread + torch.tanh(self.W_t(memory))
            memories.append(memory)
            maps.append(weights)
        r_last = last_real(torch.stack(memories, dim=1), hypothesis_mask)
        h_last = last_real(hypothesis, hypothesis_mask)
        h_star = self.dropout(torch.tanh(self.W_p(r_last) + self.W_x(h_last)))
        return h_star, torch.stack(maps, dim=1).masked_fill(~hypothesis_mask[..., None], 0.0)
        ### END SOLUTION


# %% [markdown]
# Mira lo que sale antes de probar nada: una premisa de cuatro palabras, la última de relleno, y una hipótesis de dos. ¿Cuánto debe sumar
# cada fila? ¿Y cuánto debe valer la última columna?

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(0)
example_mask = torch.tensor([[True, True, True, False]])
h_star, maps = DotWordByWord(6)(torch.randn(1, 4, 6), torch.randn(1, 2, 6), example_mask)
print("h_star:", list(h_star.shape), " mapas:", list(maps.shape))
print([[round(weight, 3) for weight in row] for row in maps[0].tolist()])

# %% [markdown]
# **Estructura**: formas, y las seis matrices como únicos parámetros.

# %% nbgrader={"grade_id": "ej04a_estructura", "grade": true, "points": 1.5}
# pruebas: ej04a_estructura
import torch

h_star, maps = DotWordByWord(6)(torch.randn(2, 5, 6), torch.randn(2, 3, 6))
assert tuple(h_star.shape) == (2, 6), f"h_star debería ser [2, 6] y es {list(h_star.shape)}."
assert tuple(maps.shape) == (2, 3, 5), f"maps debería ser [2, 3, 5] y es {list(maps.shape)}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04a_estructura", DotWordByWord)
### END HIDDEN TESTS

# %% [markdown]
# **Pesos**: los de la primera palabra, que no ha releído nada, y los de las demás.

# %% nbgrader={"grade_id": "ej04a_pesos", "grade": true, "points": 3}
# pruebas: ej04a_pesos
import torch

_, maps = DotWordByWord(4)(torch.randn(1, 3, 4), torch.randn(1, 2, 4))
assert torch.allclose(maps.sum(-1), torch.ones(1, 2), atol=1e-5), (
    f"Cada fila de maps reparte 1 entre las palabras de la premisa y suma {maps.sum(-1).tolist()}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04a_pesos", DotWordByWord)
### END HIDDEN TESTS

# %% [markdown]
# **Salida**: $h^*$, sus gradientes y el dropout.

# %% nbgrader={"grade_id": "ej04a_salida", "grade": true, "points": 2.5}
# pruebas: ej04a_salida
import torch

layer = DotWordByWord(4).eval()
premise, hypothesis = torch.randn(1, 1, 4), torch.randn(1, 1, 4)
expected = torch.tanh(layer.W_p(premise[:, 0]) + layer.W_x(hypothesis[:, 0]))
assert torch.allclose(layer(premise, hypothesis)[0], expected, atol=1e-5), (
    "Con una palabra en cada frase, r es y, y h_star debería ser tanh(W_p y + W_x h)."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04a_salida", DotWordByWord)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: en la premisa, en la hipótesis, y con `nan`; una premisa vacía, y 16 bits.

# %% nbgrader={"grade_id": "ej04a_relleno", "grade": true, "points": 5}
# pruebas: ej04a_relleno
import torch

mask = torch.tensor([[True, True, False]])
_, maps = DotWordByWord(4)(torch.randn(1, 3, 4), torch.randn(1, 2, 4), mask)
most = maps[..., 2].abs().max().item()
assert most == 0, f"La palabra de relleno de la premisa recibe {most:.2g} y debería recibir 0."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04a_relleno", DotWordByWord)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: el bucle</summary>
#
# Hace falta un bucle sobre $t$, porque $q_t$ necesita $r_{t-1}$; sobre el lote y sobre $j$, no. Guarda cada $r_t$ y cada $\alpha_t$ en una
# lista y júntalas al final con `torch.stack(…, dim=1)`. Lo que no dependa de $t$ va fuera del bucle.
#
# </details>
#
# <details><summary>Pista 2: el relleno</summary>
#
# Antes de nada, cambia por ceros lo que la máscara tapa en las **dos** secuencias: así un `nan` no llega a ninguna cuenta. Después, la
# máscara de la premisa actúa en las puntuaciones, y la de la hipótesis solo dice cuál es la última palabra y qué filas de `maps` son 0.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | la primera fila bien y las demás no | $r$ no llega a la consulta, o se pone a cero en cada paso |
# | todos los pesos demasiado extremos | falta dividir entre $\sqrt H$ |
# | con un solo ejemplo, todos los pesos valen 1 y cada fila suma $S$ | la softmax va sobre el eje del lote |
# | los pesos bien y $h^*$ no, con frases sin relleno | falta $\tanh(W^t r_{t-1})$, o usa $r_t$ donde va $r_{t-1}$ |
# | $h^*$ cambia al alargar la hipótesis con relleno | tomas `[:, -1]`, y no la última palabra real |
# | las filas suman menos de 1 con relleno | multiplicas por la máscara después de la softmax |
# | `nan` en la salida aunque el peso sea 0 | $0 \cdot$ `nan`: hay que quitar el `nan` antes de multiplicar |
# | `value cannot be converted to type at::Half` | un $-10^{10}$, que no cabe en 16 bits |
#
# </details>

# %% [markdown]
# ### Ejercicio 04a, para terminar · Analiza (●●●○○, 20 minutos, 2 puntos)
#
# Esta pregunta la corrige una persona. Vale por el razonamiento y por los números que aportes, no por la longitud.
#
# **Pregunta.**
#
# 1. Un compañero entrena solo con premisas de **una** frase y concluye que la bolsa de palabras basta para esta tarea. ¿Qué acierto
#    esperas que obtenga, y por qué no vale su conclusión para premisas de tres? Da un par de premisas de tres frases con **las mismas
#    palabras** y distinta etiqueta para una misma hipótesis.
# 2. En el lector que resume, la salida no cambia si se barajan los vectores de la hipótesis. Entonces, ¿cómo distingue «algún gato come» de
#    «algún gato no come»? ¿Y «todo gato come, ningún lobo come» de «ningún gato come, todo lobo come»?
# 3. En una figura, el modelo mira *gato* cuando la hipótesis habla de un *animal*. ¿Demuestra eso que usa la relación entre las dos palabras?
#    Propón un experimento, con su control, que pueda desmentirlo.

# %% [markdown] nbgrader={"grade_id": "ej04a_analisis", "grade": true, "solution": true, "points": 2}
# <!-- ejercicio: ej04a_analisis -->
# ### BEGIN SOLUTION
# (1) Con una sola frase, la bolsa dice cuál es la forma, el nombre y el verbo de cada una: no hay nada que emparejar, y puede acertar
# casi siempre. Con tres frases hay que saber qué cuantificador va con qué nombre, y la bolsa no lo dice: «todo gato come, ningún remero come» y
# «ningún gato come, todo remero come» (más una tercera frase igual en las dos) tienen las mismas palabras, y «todo gato come» se sigue de la
# primera y contradice la segunda. (2) La hipótesis es **una** frase: *no* está en la bolsa o no está, y con eso basta. En la premisa, el orden lo
# ve la LSTM, antes de la atención: el vector de *come* ya sabe qué leyó delante. Si se quita la LSTM, las dos premisas dan lo mismo. (3) No:
# los pesos dicen de dónde sale la mezcla, no qué se hace con ella, y hay más caminos (el estado de la LSTM, otras palabras). Experimento:
# cambiar *gato* por otra especie de la misma clase, que no debería cambiar la respuesta, y por una de otra clase, que debería volverla
# neutral; o tapar esa posición con la máscara y comparar con tapar otra al azar, que es el control. Si tapar *gato* no importa más que
# tapar otra palabra, el mapa no explicaba la respuesta.
# ### END SOLUTION

# %% [markdown]
# ### Ejercicio 04b · `masked_mean` (●●○○○, 35 minutos, 8 puntos)
#
# En la caza del error limpia la capa, y la media ya recibe ceros. Una función suelta no puede contar con eso: los vectores vienen de
# cualquier parte. Escribe la media de las palabras reales de cada secuencia, a prueba de todo:
#
# $$\mathrm{mean}_b = \frac{1}{n_b} \sum_{t\,:\,m_{bt} \ne 0} x_{bt}, \qquad n_b = \#\{t : m_{bt} \ne 0\}$$
#
# | nombre | forma | qué es |
# |---|---|---|
# | `states` | `[B, T, H]` | $x$, de 32 o de 16 bits |
# | `mask` | `[B, T]` | $m$, bool, entera o decimal: es real lo que no es 0 (da igual cuánto valga); el relleno puede estar en cualquier sitio |
# | lo que devuelve | `[B, H]` | la media, del tipo de `states` |
#
# - Lo que haya en el relleno (`nan`, infinito) no llega a la media ni a los gradientes: el del relleno es exactamente 0.
# - Un `nan` en una palabra **real** sí debe verse, en su fila y en su canal: esconderlo sería tapar un error.
# - Una fila sin palabras da ceros, y gradientes finitos.
# - En 16 bits la suma puede no caber aunque quepa la media: el mayor número es 65504.
# - No cambia `states` ni `mask`. Si `mask` no es `[B, T]`, `ValueError`.


# %% nbgrader={"grade_id": "ej04b_funcion", "solution": true} tags=["export"]
# ejercicio: ej04b_funcion
def masked_mean(states, mask):
    """La media de las posiciones reales de cada secuencia.

    Formas: states `[B, T, H]`, mask `[B, T]` (real donde no es 0) → `[B, H]`, del tipo de states.

    Raises:
        ValueError: si `mask` no es `[B, T]`.
    """
    ### BEGIN SOLUTION
    if mask.shape != states.shape[:2]:
        raise ValueError(f"mask es {list(mask.shape)} y debería ser {list(states.shape[:2])}.")
    real = mask != 0
    total = states.masked_fill(~real[..., None], 0.0).sum(1, dtype=torch.float32)
    return (total / real.sum(1, keepdim=True).clamp(min=1)).to(states.dtype)
    ### END SOLUTION


# %% [markdown]
# Mira lo que sale: tres secuencias de un solo canal. La segunda tiene un `nan` en el relleno; la tercera, en una palabra real.

# %% tags=["skip-execution", "nbval-ignore-output"]
example = torch.tensor(
    [[[2.0], [4.0], [9.0]], [[2.0], [4.0], [math.nan]], [[2.0], [math.nan], [9.0]]]
)
example_mask = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0]])
print("medias:", masked_mean(example, example_mask).squeeze(1).tolist())

# %% [markdown]
# **Media**: los valores, con máscaras de cualquier tipo.

# %% nbgrader={"grade_id": "ej04b_media", "grade": true, "points": 2}
# pruebas: ej04b_media
import torch

x = torch.tensor([[[1.0, 10.0], [3.0, 20.0], [8.0, 60.0]]])
found = masked_mean(x, torch.tensor([[True, True, False]]))
assert torch.allclose(found, torch.tensor([[2.0, 15.0]])), (
    f"La media de (1, 10) y (3, 20) es (2, 15) y sale {found.tolist()}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04b_media", masked_mean)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: no llega a la media ni a los gradientes, y lo real sí se ve.

# %% nbgrader={"grade_id": "ej04b_relleno", "grade": true, "points": 3.5}
# pruebas: ej04b_relleno
import math
import torch

x = torch.tensor([[[1.0], [3.0], [math.nan]]])
found = masked_mean(x, torch.tensor([[True, True, False]])).item()
assert found == 2, f"Con un nan en el relleno, la media de 1 y 3 es 2 y sale {found}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04b_relleno", masked_mean)
### END HIDDEN TESTS

# %% [markdown]
# **Bordes**: lo vacío, los 16 bits, y lo que recibe.

# %% nbgrader={"grade_id": "ej04b_bordes", "grade": true, "points": 2.5}
# pruebas: ej04b_bordes
import torch

found = masked_mean(torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool))
assert torch.equal(found, torch.zeros(1, 2)), f"Sin palabras, ceros; sale {found.tolist()}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("04_atencion_two_way", "ej04b_bordes", masked_mean)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: elegir, no multiplicar</summary>
#
# Multiplicar por 0 no borra un `nan`; **elegir**, sí. `torch.where` y `masked_fill` eligen, y su gradiente en lo que no se eligió es
# exactamente 0. Pero tienen que ir **antes** de la suma: después, el `nan` ya está
# mezclado con lo bueno.
#
# </details>
#
# <details><summary>Pista 2: contar y sumar</summary>
#
# Convierte la máscara en bool una sola vez, con `mask != 0`, y úsala para elegir y para contar. `clamp(min=1)` evita el $0/0$ de una
# fila vacía. `sum` admite `dtype`: con él, la suma se hace en otro tipo, y al final se vuelve al de `states`.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | la media sale más pequeña cuanto más relleno hay | divides entre $T$ |
# | `nan` en la media, aunque el relleno esté enmascarado | multiplicas por la máscara |
# | la media bien, y el gradiente es 0 o no llega | sobra un `detach` o un `.data` |
# | un `nan` de una palabra real desaparece | `nan_to_num` o `nanmean`, que no distinguen lo real del relleno |
# | bien con máscaras bool, y mal con las enteras o las decimales | usas sus valores como pesos, o `~` sobre enteros |
# | `inf` en 16 bits | la suma pasa de 65504 antes de dividir |
# | los datos de quien llama cambian | `masked_fill_`, con guion bajo, o una asignación por índices |
#
# </details>

# %% [markdown]
# ## 11. Resumen
#
# - Decidir si una frase se sigue de otra pide emparejarlas. La atención palabra por palabra relee la premisa en cada palabra de la
#   hipótesis, y lleva en $r_t$ lo releído; *two-way* es hacerlo en los dos sentidos con los mismos parámetros.
# - Lo que no cambia de un paso a otro ($W^y y_j$) se calcula una vez, y $r_N$ y $h_N$ son los de la última palabra **real**.
# - Una atención no da orden: si los vectores que recibe no lo llevan, una bolsa de palabras entra y una bolsa de palabras sale.
# - Los datos pueden regalar la respuesta. Un cuadrado latino reparte las etiquetas de modo que ninguna frase sola diga nada, y una regla
#   comprobada contra todos los mundos asegura que son ciertas.
# - $0 \cdot$ `nan` es `nan`. El relleno se **elige** fuera, con `where` o `masked_fill`, y antes de sumar.
#
# **Lo que sigue.** En el cuaderno 05, la coatención mira también en los dos sentidos, pero con una sola matriz de puntuaciones, y señala un
# tramo en vez de elegir una clase.
#
# ### Referencias
#
# - Rocktäschel, T., et al. (2016). *Reasoning about Entailment with Neural Attention*. ICLR.
# - Bowman, S. R., et al. (2015). *A large annotated corpus for learning natural language inference*. EMNLP. (Las tres clases.)
# - Gururangan, S., et al. (2018). *Annotation Artifacts in Natural Language Inference Data*. NAACL. (Acertar sin la premisa.)
# - MacCartney, B. y Manning, C. D. (2009). *An extended model of natural logic*. IWCS. (Subir y bajar entre clases.)
# - Vaswani, A., et al. (2017). *Attention Is All You Need*. NeurIPS. (El producto escalar entre $\sqrt H$.)
