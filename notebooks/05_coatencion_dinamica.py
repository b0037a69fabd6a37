# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Redes dinámicas de coatención
#
# | | |
# |---|---|
# | **Al terminar podrás** | calcular a mano las dos atenciones de una misma matriz y lo que pasa de la una a la otra; escribir un codificador de coatención con centinelas cuyo relleno no se cuela; escribir un decodificador que corrige su propia respuesta, con capas *maxout*; medir si esas correcciones sirven de algo |
# | **Tiempo** | 75 minutos de lección y 120 de ejercicios |
# | **Dificultad** | ●●●●○ |
# | **Antes conviene saber** | atención y máscaras (cuaderno 06, o 01); LSTM bidireccional; bucle de entrenamiento de PyTorch |
# | **Artículo** | Xiong, Zhong y Socher, *Dynamic Coattention Networks for Question Answering* (2017), sección 2 |
#
# Una pregunta sobre un texto se responde a menudo con un **tramo** del texto: de una palabra a otra. Este mecanismo junta dos ideas. La
# **coatención**: el documento y la pregunta se leen el uno al otro, y lo que la pregunta leyó vuelve al documento. Y el decodificador
# **dinámico**: da una respuesta, la vuelve a mirar y, si no le convence, la cambia.

# %% [markdown]
# ## 1. Preparación
#
# Primero, lo que el cuaderno importa. Solo hace falta lo que Colab ya trae.

# %% tags=["export"]
import json
import math
import random
import re
import sys
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from apoyo import XQUAD_ES, fit, ink, pick_device, plot_losses, real_data, set_seed, show
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# %% [markdown]
# Y ahora la semilla y el dispositivo: si hay GPU, se usa. En la CPU basta un hilo: los tensores de este cuaderno son pequeños.

# %% tags=["nbval-ignore-output"]
set_seed(5)
torch.set_num_threads(1)
device = pick_device()
print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__} en {device}")

# %% [markdown]
# ## 2. Intuición: leer dos veces, y responder dos veces
#
# > Ana compró un kilo de pan. Luis compró tres cajas grandes de miel.
# >
# > ¿Qué compró Luis?
#
# Hay **dos tramos plausibles**, *un kilo de pan* y *tres cajas grandes de miel*: son respuestas del mismo tipo, detrás del mismo verbo. Solo la
# pregunta decide. Para un modelo que señala por separado dónde empieza y dónde acaba la respuesta hay, además, dos respuestas
# disparatadas: empezar en una y acabar en la otra.
#
# **Leer dos veces.** La palabra *miel* no está al lado de *Luis* y no sabe que le preguntan por él. Con la coatención, primero la
# pregunta lee el documento (*Luis* encuentra su frase), y luego el documento lee la pregunta **y lo que esta encontró**.
#
# **Responder dos veces.** Si el primer intento fue *un kilo de pan*, o *un … miel*, el segundo puede partir de él y enmendarlo. Para
# Xiong et al., una respuesta convincente y equivocada es un *máximo local* de las puntuaciones; aquí diremos **óptimo local**.
#
# ### A mano
#
# Un documento de tres palabras, *Ana · compró · pan*, y una pregunta de dos, *qué · Ana*. Para que salgan fracciones, elijamos una
# matriz de afinidades $L$ con logaritmos de enteros: así la softmax solo tiene que dividir.
#
# | $e^{L}$ | qué | Ana |
# |---|---|---|
# | Ana | 1 | 3 |
# | compró | 2 | 1 |
# | pan | 1 | 1 |
#
# - **Por columnas**, $A^Q$: qué lee del documento cada palabra de la pregunta. *Qué* lee $(\tfrac14, \tfrac24, \tfrac14)$ y *Ana*,
#   $(\tfrac35, \tfrac15, \tfrac15)$.
# - **Por filas**, $A^D$: qué lee de la pregunta cada palabra del documento. A *pan* le tocan por igual: $(\tfrac12, \tfrac12)$.
# - **De ida y vuelta**: lo que *pan* recibe de *Ana*, la del documento, pasando por la pregunta, es
#   $\tfrac12 \cdot \tfrac14 + \tfrac12 \cdot \tfrac35 = 0.425$. De *compró* recibe $\tfrac12 \cdot \tfrac24 + \tfrac12 \cdot \tfrac15 = 0.35$, y de sí
#   misma, $0.225$. Suman 1: es otro reparto, **del documento sobre sí mismo**, y lo decide la pregunta.
#
# La celda repite la cuenta.

# %% tags=["skip-execution"]
L = torch.tensor([[1.0, 3.0], [2.0, 1.0], [1.0, 1.0]]).log()  # 3 palabras × 2
A_Q = L.softmax(dim=0)  # por columnas: la pregunta lee el documento
A_D = L.softmax(dim=1)  # por filas: el documento lee la pregunta
round_trip = A_D @ A_Q.T  # 3 × 3: el documento se lee a través de la pregunta
for word, row in zip(["Ana", "compró", "pan"], round_trip.tolist()):
    print(f"{word:>7} recibe", [round(weight, 3) for weight in row], f"suma {sum(row):.3f}")
assert torch.allclose(round_trip[2], torch.tensor([0.425, 0.35, 0.225]), atol=1e-6)

# %% [markdown]
# Compara la fila de *pan* con la que tendría si la pregunta fuera solo *qué*, la columna $(\tfrac14, \tfrac24, \tfrac14)$: preguntar por Ana
# ha hecho que *pan* mire más a *Ana*.

# %% [markdown]
# ## 3. Formulación
#
# ### El codificador
#
# El documento tiene $T$ palabras y la pregunta, $J$. **La misma** LSTM (de una sola dirección) lee los dos: salen los estados $d_1, \dots, d_T$
# y $q'_1, \dots, q'_J$, de $H$ números. A cada lista se le añade un **centinela**, un vector aprendido al que se puede atender cuando
# nada viene al caso: $d_\varnothing$ y $q'_\varnothing$. Puestos en columnas forman $D$, de $T + 1$ columnas, y $Q'$, de $J + 1$. La
# pregunta pasa además por una capa, que le permite vivir en otro espacio:
#
# $$Q = \tanh(W^{Q} Q' + b^{Q}), \qquad L = D^\top Q$$
#
# $$A^Q = \mathrm{softmax}_{\text{documento}}(L), \qquad A^D = \mathrm{softmax}_{\text{pregunta}}(L)$$
#
# $$C^Q_j = \sum_t A^Q_{tj}\, D_t, \qquad C^D_t = \sum_j A^D_{tj}\, [\,Q_j;\, C^Q_j\,]$$
#
# $C^Q_j$ es lo que la palabra $j$ de la pregunta leyó en el documento. $C^D_t$ es lo que la palabra $t$ del documento lee en la pregunta, y lleva
# dentro lo que esta leyó. Quitado el centinela del documento, una BiLSTM lo junta todo: $U = \mathrm{BiLSTM}([\,D;\, C^D\,])$.
#
# ### El decodificador
#
# Tiene un estado $h$, de una LSTM, y una estimación de dónde empieza y acaba la respuesta, $s$ y $e$. En cada iteración $i$ mira lo que
# hay en esos dos sitios y vuelve a puntuar **todas** las posiciones $t$:
#
# $$h_i = \mathrm{LSTM}(h_{i-1}, [\,u_{s_{i-1}};\, u_{e_{i-1}}\,]), \qquad r = \tanh(W^{D} [\,h_i;\, u_{s_{i-1}};\, u_{e_{i-1}}\,])$$
#
# $$m^{(1)}_t = \max(W^{(1)} [\,u_t;\, r\,] + b^{(1)}), \qquad m^{(2)}_t = \max(W^{(2)} m^{(1)}_t + b^{(2)}), \qquad
# \alpha_t = \max(W^{(3)} [\,m^{(1)}_t;\, m^{(2)}_t\,] + b^{(3)})$$
#
# $$s_i = \arg\max_t \alpha_t, \qquad e_i = \arg\max_t \beta_t$$
#
# Cada $\max$ es una capa **maxout**: calcula $p$ versiones de cada número y se queda con la mayor (no hay otra función de activación). A la
# última capa le llega también $m^{(1)}$, por un atajo. $\beta$ se calcula igual, con **otros** parámetros y, como $\alpha$, con las
# estimaciones de la iteración anterior. Se para cuando ni $s$ ni $e$ cambian, o a las cuatro iteraciones. La pérdida suma, en todas las
# iteraciones, la entropía cruzada del principio y la del fin.
#
# | en la fórmula | en el código | forma |
# |---|---|---|
# | palabras | `document`, `question` | `[B, T]`, `[B, J]` |
# | cuántas palabras son reales | `doc_lengths`, `ques_lengths` | `[B]` |
# | $D$, $Q$ (con centinela, el último) | `D`, `Q` | `[B, T+1, H]`, `[B, J+1, H]` |
# | $L$, $A^Q$, $A^D$ | `L`, `A_Q`, `A_D` | `[B, T+1, J+1]` (fila: documento; columna: pregunta) |
# | $C^Q$, $C^D$ | `C_Q`, `C_D` | `[B, J+1, H]`, `[B, T+1, 2H]` |
# | $U$ | `U` | `[B, T, 2H]` |
# | $h_i$ | `state[0]` | `[B, H]` |
# | $p$ | `pool_size` | |
# | $\alpha$, $\beta$ | `start_scores`, `end_scores` | `[B, T]`, con $-\infty$ en el relleno |
# | $s_i$, $e_i$ | `start`, `end` | `[B]` |
#
# En un lote, $T$ y $J$ son los anchos comunes: los documentos y las preguntas se rellenan al final hasta ellos, y las sumas recorren solo lo real.

# %% [markdown]
# ## 4. Implementación de referencia
#
# ### Qué es palabra, y qué relleno
#
# Lo dicen las longitudes, y nadie más. Una longitud imposible se rechaza aquí, con un mensaje.


# %% tags=["export"]
def real_positions(x, lengths):
    """Qué posiciones de `x [B, S, …]` son palabras: bool `[B, S]`.

    Args:
        lengths: `[B]`, entre 0 y S; None si no hay relleno.

    Raises:
        ValueError: si las longitudes no son `[B]` o alguna no está entre 0 y S.
    """
    B, S = x.shape[:2]
    if lengths is None:
        return torch.ones(B, S, dtype=torch.bool, device=x.device)
    lengths = torch.as_tensor(lengths, device=x.device)
    if tuple(lengths.shape) != (B,):
        raise ValueError(f"Las longitudes deben ser [{B}] y son {list(lengths.shape)}.")
    if ((lengths < 0) | (lengths > S)).any():
        raise ValueError(f"Las longitudes deben estar entre 0 y {S}; son {lengths.tolist()}.")
    return torch.arange(S, device=x.device) < lengths[:, None]


def masked_softmax(scores, mask, dim):
    """Softmax sobre lo que permite la máscara; donde no permite nada, ceros.

    Formas: scores, y mask (bool, True donde se puede mirar) iguales o que encajen por broadcasting.

    Returns:
        Pesos de la forma de `scores`, que suman 1 en el eje `dim`, o 0 si no hay nada permitido.
    """
    empty = ~mask.any(dim, keepdim=True)
    return scores.masked_fill(~(mask | empty), -math.inf).softmax(dim).masked_fill(~mask, 0.0)


# %% [markdown]
# La LSTM no debe leer el relleno. `pack_padded_sequence` le da a cada secuencia solo sus palabras; `total_length` devuelve el ancho del
# tensor aunque ninguna secuencia lo llene.


# %% tags=["export"]
def encode_sequences(lstm, x, mask):
    """Las salidas de una LSTM `batch_first` que no ve el relleno del final.

    Formas: x `[B, S, E]`, mask bool `[B, S]` → `[B, S, D]`, con ceros en el relleno.
    """
    lengths = mask.sum(1).clamp(min=1).cpu()  # no admite longitud 0: la máscara lo anulará
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    out, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.size(1))
    return out.masked_fill(~mask[..., None], 0.0)


def lstm_layer(input_dim, hidden_dim, num_layers=1, dropout=0.0, bidirectional=False):
    """Una LSTM `batch_first`; el dropout entre capas, solo si hay varias."""
    between = dropout if num_layers > 1 else 0.0
    return nn.LSTM(
        input_dim,
        hidden_dim,
        num_layers,
        batch_first=True,
        dropout=between,
        bidirectional=bidirectional,
    )


# %% [markdown]
# ### La coatención
#
# El centinela tiene que ser atendible en todos los ejemplos, sea cual sea su longitud. Lo más sencillo es ponerlo en una columna más,
# siempre la última, con su propia máscara: a la softmax le da igual que haya relleno en medio.


# %% tags=["export"]
class SentinelCoattention(nn.Module):
    """La coatención del artículo, con centinelas, de unos estados ya leídos.

    Args:
        hidden_dim: tamaño H de los estados.

    Referencia: Xiong et al. (2017), secciones 2.1 y 2.2.
    """

    def __init__(self, hidden_dim):
        super().__init__()
        self.doc_sentinel = nn.Parameter(torch.randn(hidden_dim) * 0.1)
        self.ques_sentinel = nn.Parameter(torch.randn(hidden_dim) * 0.1)
        self.question_projection = nn.Linear(hidden_dim, hidden_dim)

    def with_sentinel(self, states, mask, sentinel):
        """Añade la columna del centinela, que siempre es real: `[B, S+1, H]` y `[B, S+1]`."""
        states = states.masked_fill(~mask[..., None], 0.0)  # ni un nan del relleno pasa de aquí
        column = sentinel.expand(len(states), 1, -1)
        return torch.cat([states, column], 1), F.pad(mask, (0, 1), value=True)

    def weights(self, L, real):
        """Las dos softmax: `A_Q`, sobre el documento, y `A_D`, sobre la pregunta."""
        return masked_softmax(L, real, dim=1), masked_softmax(L, real, dim=2)

    def forward(self, doc_states, ques_states, doc_mask, ques_mask):
        """Formas: `[B, T, H]`, `[B, J, H]`, máscaras bool `[B, T]` y `[B, J]`.

        Returns:
            `[D; C^D]` sin el centinela `[B, T, 3H]`, y los mapas `A_Q` y `A_D` `[B, T+1, J+1]`.
        """
        D, doc_mask = self.with_sentinel(doc_states, doc_mask, self.doc_sentinel)
        Q, ques_mask = self.with_sentinel(ques_states, ques_mask, self.ques_sentinel)
        Q = torch.tanh(self.question_projection(Q))
        L = D @ Q.transpose(1, 2)  # [B, T+1, J+1]
        A_Q, A_D = self.weights(L, doc_mask[:, :, None] & ques_mask[:, None, :])
        C_Q = A_Q.transpose(1, 2) @ D  # [B, J+1, H]
        C_D = A_D @ torch.cat([Q, C_Q], dim=-1)  # [B, T+1, 2H]
        return torch.cat([D, C_D], dim=-1)[:, :-1], A_Q, A_D


# %% [markdown]
# El codificador entero: la LSTM compartida, la coatención y la BiLSTM que la recoge.


# %% tags=["export"]
class CoattentionEncoder(nn.Module):
    """De vectores de palabras a `U`.

    Args:
        input_dim: tamaño E de los vectores; hidden_dim: H.
        num_layers: capas de la LSTM compartida.
        dropout: en las entradas de las dos LSTM.
        coattention_class: la coatención; los experimentos la cambian.

    Referencia: Xiong et al. (2017), secciones 2.1 y 2.2.
    """

    def __init__(
        self,
        input_dim,
        hidden_dim,
        num_layers=1,
        dropout=0.3,
        coattention_class=SentinelCoattention,
    ):
        super().__init__()
        self.shared_lstm = lstm_layer(input_dim, hidden_dim, num_layers, dropout)
        self.coattention = coattention_class(hidden_dim)
        self.fusion = lstm_layer(3 * hidden_dim, hidden_dim, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, document, question, doc_mask, ques_mask):
        """Formas: `[B, T, E]`, `[B, J, E]`, máscaras bool → U `[B, T, 2H]`, A_Q, A_D `[B, T+1, J+1]`."""
        doc_states = encode_sequences(self.shared_lstm, self.dropout(document), doc_mask)
        ques_states = encode_sequences(self.shared_lstm, self.dropout(question), ques_mask)
        fused, A_Q, A_D = self.coattention(doc_states, ques_states, doc_mask, ques_mask)
        return encode_sequences(self.fusion, self.dropout(fused), doc_mask), A_Q, A_D


# %% [markdown]
# ### El decodificador dinámico
#
# Primero, la red que puntúa. `maxout` guarda juntas las $p$ versiones de cada número y se queda con la mayor.


# %% tags=["export"]
class HighwayMaxout(nn.Module):
    """Puntúa cada posición según lo que hay en ella y en la estimación actual.

    Args:
        hidden_dim: H; pool_size: p, las versiones de cada número.

    Referencia: Xiong et al. (2017), sección 2.3.
    """

    def __init__(self, hidden_dim, pool_size=4):
        super().__init__()
        self.pool_size = pool_size
        self.mix = nn.Linear(5 * hidden_dim, hidden_dim, bias=False)
        self.first = nn.Linear(3 * hidden_dim, hidden_dim * pool_size)
        self.second = nn.Linear(hidden_dim, hidden_dim * pool_size)
        self.third = nn.Linear(2 * hidden_dim, pool_size)

    def maxout(self, layer, x):
        """`[…, I]` → `[…, O]`, con una capa de `O · p` salidas."""
        return layer(x).unflatten(-1, (-1, self.pool_size)).amax(-1)

    def forward(self, U, h, u_start, u_end):
        """Formas: U `[B, T, 2H]`, h `[B, H]`, u_start y u_end `[B, 2H]` → `[B, T]`."""
        r = torch.tanh(self.mix(torch.cat([h, u_start, u_end], dim=-1)))
        r = r[:, None].expand(-1, U.size(1), -1)  # la misma para todas las posiciones
        m1 = self.maxout(self.first, torch.cat([U, r], dim=-1))  # [B, T, H]
        m2 = self.maxout(self.second, m1)
        return self.maxout(self.third, torch.cat([m1, m2], dim=-1)).squeeze(-1)


# %% [markdown]
# Y el bucle. Cada ejemplo del lote se detiene cuando su estimación no cambia: conserva su tramo aunque los demás sigan, y sus
# puntuaciones siguientes no cuentan (`active` lo dice).


# %% tags=["export"]
class Step(NamedTuple):
    """Una iteración del decodificador."""

    start_scores: torch.Tensor  # [B, T], -inf en el relleno
    end_scores: torch.Tensor
    start: torch.Tensor  # [B]
    end: torch.Tensor
    active: torch.Tensor  # bool [B]: los que no se habían detenido antes


class DynamicDecoder(nn.Module):
    """Señala un tramo y lo corrige hasta que no cambia.

    Args:
        hidden_dim: H; pool_size: p; max_iterations: las iteraciones, como mucho.

    Referencia: Xiong et al. (2017), sección 2.3.
    """

    def __init__(self, hidden_dim, pool_size=4, max_iterations=4):
        super().__init__()
        self.max_iterations = max_iterations
        self.cell = nn.LSTMCell(4 * hidden_dim, hidden_dim)
        self.start_scorer = HighwayMaxout(hidden_dim, pool_size)
        self.end_scorer = HighwayMaxout(hidden_dim, pool_size)

    def score(self, U, mask, state, start, end):
        """Una iteración: las puntuaciones del principio y del fin `[B, T]`, y el estado nuevo."""
        rows = torch.arange(len(U), device=U.device)
        u_start, u_end = U[rows, start], U[rows, end]  # [B, 2H]
        state = self.cell(torch.cat([u_start, u_end], dim=-1), state)
        scores = [
            scorer(U, state[0], u_start, u_end).masked_fill(~mask, -math.inf)
            for scorer in (self.start_scorer, self.end_scorer)
        ]
        return *scores, state

    def forward(self, U, mask, start, end):
        """Formas: U `[B, T, 2H]`, mask bool `[B, T]`; start, end `[B]`: la estimación inicial.

        Returns:
            Lista de `Step`, de 1 a `max_iterations`.
        """
        state, steps = None, []
        active = torch.ones_like(start, dtype=torch.bool)
        while len(steps) < self.max_iterations and active.any():
            start_scores, end_scores, state = self.score(U, mask, state, start, end)
            new_start = torch.where(active, start_scores.argmax(1), start)
            new_end = torch.where(active, end_scores.argmax(1), end)
            steps.append(Step(start_scores, end_scores, new_start, new_end, active))
            active = active & ((new_start != start) | (new_end != end))
            start, end = new_start, new_end
        return steps


# %% [markdown]
# Para comparar, un decodificador de **un solo intento**: dos capas lineales, sin estado ni estimación. Devuelve lo mismo.


# %% tags=["export"]
class OneShotDecoder(nn.Module):
    """Señala el principio y el fin de una vez, con una capa lineal para cada uno.

    Args:
        hidden_dim: H.
    """

    def __init__(self, hidden_dim):
        super().__init__()
        self.start_layer = nn.Linear(2 * hidden_dim, 1)
        self.end_layer = nn.Linear(2 * hidden_dim, 1)

    def forward(self, U, mask, start, end):
        """Formas: las de `DynamicDecoder`; la estimación inicial no se usa. Un solo `Step`."""
        start_scores, end_scores = (
            layer(U).squeeze(-1).masked_fill(~mask, -math.inf)
            for layer in (self.start_layer, self.end_layer)
        )
        everyone = torch.ones_like(start, dtype=torch.bool)
        return [
            Step(start_scores, end_scores, start_scores.argmax(1), end_scores.argmax(1), everyone)
        ]


# %% [markdown]
# El lector de tramos: embedding, codificador y decodificador. La fila del relleno del embedding es cero, y se queda así.


# %% tags=["export"]
class SpanReader(nn.Module):
    """Responde con un tramo del documento.

    Args:
        vocab_size: palabras del vocabulario, con el relleno en la 0.
        embedding_dim, hidden_dim: E y H.
        decoder: módulo `(U, mask, start, end) -> [Step]`; None, un `DynamicDecoder`.
        coattention_class, dropout: los de `CoattentionEncoder`.

    Referencia: Xiong et al. (2017).
    """

    def __init__(
        self,
        vocab_size,
        embedding_dim,
        hidden_dim,
        decoder=None,
        coattention_class=SentinelCoattention,
        dropout=0.0,
    ):
        super().__init__()
        self.word = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.encoder = CoattentionEncoder(
            embedding_dim, hidden_dim, dropout=dropout, coattention_class=coattention_class
        )
        self.decoder = decoder or DynamicDecoder(hidden_dim)

    def masks(self, document, question, doc_lengths, ques_lengths):
        """Qué posiciones son palabras: bool `[B, T]` y `[B, J]`."""
        return real_positions(document, doc_lengths), real_positions(question, ques_lengths)

    def encode(self, document, question, doc_lengths, ques_lengths):
        """U, la máscara del documento, `A_Q` y `A_D`."""
        masks = self.masks(document, question, doc_lengths, ques_lengths)
        U, A_Q, A_D = self.encoder(self.word(document), self.word(question), *masks)
        return U, masks[0], A_Q, A_D

    def forward(self, document, question, doc_lengths, ques_lengths, start=None, end=None):
        """Formas: `[B, T]`, `[B, J]`, longitudes `[B]`; start y end `[B]`: de dónde se parte.

        Args:
            start, end: la estimación inicial; None, la primera palabra.

        Returns:
            Lista de `Step`.

        Raises:
            ValueError: si las longitudes no son `[B]` o se salen de la secuencia.
        """
        U, mask, *_ = self.encode(document, question, doc_lengths, ques_lengths)
        first = torch.zeros(len(U), dtype=torch.long, device=U.device)
        return self.decoder(
            U, mask, first if start is None else start, first if end is None else end
        )


# %% [markdown]
# ### Para clasificar
#
# A veces no hay tramo que señalar, sino una clase que elegir: ¿el texto afirma, niega o no dice lo que se pregunta? Basta la coatención, con
# lo que recibe cada palabra resumido en un vector: la media de las palabras reales. El decodificador sobra: sin tramo no hay estimación que
# corregir.


# %% tags=["export"]
class Coattention(nn.Module):
    """La coatención de dos secuencias ya leídas, resumida en un vector.

    Args:
        hidden_dim: tamaño H de los estados; dropout: sobre el resumen.

    Referencia: Xiong et al. (2017), sección 2.2; el resumen es de este curso.
    """

    def __init__(self, hidden_dim, dropout=0.3):
        super().__init__()
        self.coattention = SentinelCoattention(hidden_dim)
        self.fuse = nn.Linear(3 * hidden_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source_states, target_states, source_mask=None, target_mask=None):
        """Formas: `[B, S, H]`, `[B, T, H]`, máscaras (True o 1: palabra) `[B, S]`, `[B, T]` → `[B, H]`.

        Returns:
            El resumen de `source`; si no tiene ninguna palabra, ceros.
        """
        masks = [
            real_positions(states, None) if mask is None else mask.bool()
            for states, mask in ((source_states, source_mask), (target_states, target_mask))
        ]
        fused, *_ = self.coattention(source_states, target_states, *masks)
        words = torch.tanh(self.fuse(fused)) * masks[0][..., None]
        return self.dropout(words.sum(1) / masks[0].sum(1, keepdim=True).clamp(min=1))


# %% [markdown]
# Y la red que clasifica un documento con una pregunta.


# %% tags=["export"]
class DynamicCoattentionNetwork(nn.Module):
    """Clasifica un documento según una pregunta.

    Args:
        vocab_size: palabras del vocabulario, con el relleno en la 0.
        embedding_dim, hidden_dim: E y H; num_classes: C.
        num_layers: capas de la LSTM compartida; dropout: en sus entradas y sobre el resumen.

    Referencia: Xiong et al. (2017), secciones 2.1 y 2.2; la clasificación es de este curso.
    """

    def __init__(
        self, vocab_size, embedding_dim, hidden_dim, num_classes=3, num_layers=1, dropout=0.3
    ):
        super().__init__()
        self.word = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.shared_lstm = lstm_layer(embedding_dim, hidden_dim, num_layers, dropout)
        self.coattention = Coattention(hidden_dim, dropout)
        self.classify = nn.Linear(hidden_dim, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, document, question, doc_lengths, ques_lengths):
        """Formas: `[B, T]`, `[B, J]`, longitudes `[B]` → log-probabilidades `[B, C]`.

        Raises:
            ValueError: si las longitudes no son `[B]` o se salen de la secuencia.
        """
        masks = real_positions(document, doc_lengths), real_positions(question, ques_lengths)
        states = [
            encode_sequences(self.shared_lstm, self.dropout(self.word(ids)), mask)
            for ids, mask in zip((document, question), masks)
        ]
        return self.classify(self.coattention(*states, *masks)).log_softmax(-1)


# %% [markdown]
# ## 5. Comprobaciones
#
# **Es la fórmula.** Comparamos la coatención con las ecuaciones escritas con bucles, ejemplo a ejemplo y sin relleno que quitar: cada
# documento y cada pregunta, recortados a sus palabras, con su centinela detrás.

# %% tags=["skip-execution"]
torch.manual_seed(0)
layer = SentinelCoattention(hidden_dim=4)
doc_states, ques_states = torch.randn(3, 6, 4), torch.randn(3, 4, 4)
doc_mask = torch.arange(6) < torch.tensor([[6], [4], [2]])
ques_mask = torch.arange(4) < torch.tensor([[2], [4], [1]])
with torch.no_grad():
    fused, A_Q, A_D = layer(doc_states, ques_states, doc_mask, ques_mask)
    for b in range(3):
        D = [*doc_states[b, doc_mask[b]], layer.doc_sentinel]
        Q = [*ques_states[b, ques_mask[b]], layer.ques_sentinel]
        Q = [torch.tanh(layer.question_projection(q)) for q in Q]
        exp = [[math.exp(d @ q) for q in Q] for d in D]
        columns = [sum(row[j] for row in exp) for j in range(len(Q))]
        C_Q = [sum(exp[t][j] / columns[j] * D[t] for t in range(len(D))) for j in range(len(Q))]
        for t in range(len(D) - 1):
            parts = [e / sum(exp[t]) * torch.cat([q, c]) for e, q, c in zip(exp[t], Q, C_Q)]
            assert torch.allclose(fused[b, t], torch.cat([D[t], sum(parts)]), atol=1e-5)
print("igual que los bucles")
print("A_Q, sumas por columnas (ejemplo 0):", [round(s, 3) for s in A_Q[0].sum(0).tolist()])
print("A_D, sumas por filas    (ejemplo 2):", [round(s, 3) for s in A_D[2].sum(1).tolist()])

# %% [markdown]
# Las columnas y las filas reales suman 1, y las del relleno, 0. La última es la del centinela, que cuenta siempre.
#
# **El relleno no influye.** Cambiamos los números de palabra del relleno, en el documento y en la pregunta, y estiramos el lote: ningún
# documento llega ahora al ancho del tensor. Ni las puntuaciones ni los tramos se mueven.

# %% tags=["skip-execution"]
small = SpanReader(vocab_size=20, embedding_dim=6, hidden_dim=4).eval()
document, question = torch.randint(1, 20, (3, 6)), torch.randint(1, 20, (3, 4))
lengths = torch.tensor([6, 4, 2]), torch.tensor([2, 4, 1])
longer_document = torch.cat([document, torch.randint(0, 20, (3, 3))], dim=1)
longer_question = torch.cat([question, torch.randint(0, 20, (3, 2))], dim=1)
for b, (n, m) in enumerate(zip(*(length.tolist() for length in lengths))):
    longer_document[b, n:] = torch.randint(0, 20, (9 - n,))
    longer_question[b, m:] = torch.randint(0, 20, (6 - m,))
with torch.no_grad():
    before = small(document, question, *lengths)
    after = small(longer_document, longer_question, *lengths)
assert len(before) == len(after)
for old, new in zip(before, after):
    assert torch.equal(old.start, new.start) and torch.equal(old.end, new.end)
    for short, wide in ((old.start_scores, new.start_scores), (old.end_scores, new.end_scores)):
        assert torch.allclose(short, wide[:, :6], atol=1e-6)
        assert wide[:, 6:].eq(-math.inf).all()
print(
    "segundo ejemplo, desde la palabra 3:",
    [round(x, 2) for x in after[0].start_scores[1, 3:].tolist()],
)

# %% [markdown]
# **Quien termina conserva su tramo.** El lote entero sigue mientras quede un ejemplo activo; cada uno da lo mismo solo que acompañado.

# %% tags=["skip-execution"]
torch.manual_seed(4)
decoder = DynamicDecoder(hidden_dim=4, max_iterations=8).eval()
U, mask = torch.randn(6, 7, 8) * 3, torch.ones(6, 7, dtype=torch.bool)
zero = torch.zeros(6, dtype=torch.long)
with torch.no_grad():
    together = decoder(U, mask, zero, zero)
    alone = [decoder(U[b : b + 1], mask[:1], zero[:1], zero[:1]) for b in range(6)]
for b, steps in enumerate(alone):
    assert steps[-1].start == together[-1].start[b] and steps[-1].end == together[-1].end[b]
print("iteraciones de cada uno, solo:", [len(steps) for steps in alone], " juntos:", len(together))
assert len(together) == max(len(steps) for steps in alone) > min(len(steps) for steps in alone)

# %% [markdown]
# **Maxout.** Con dos versiones, de pesos 1 y −1, es el valor absoluto: la capa aprende su propia función de activación.

# %% tags=["skip-execution"]
scorer = HighwayMaxout(hidden_dim=1, pool_size=2)
pair = nn.Linear(1, 2, bias=False)
pair.weight.data = torch.tensor([[1.0], [-1.0]])
values = torch.tensor([[-3.0], [0.5], [2.0]])
with torch.no_grad():
    print(values.flatten().tolist(), "→", scorer.maxout(pair, values).flatten().tolist())
    assert torch.equal(scorer.maxout(pair, values), values.abs())

# %% [markdown]
# **Lo vacío está definido, y clasificar funciona igual.** Con un documento o una pregunta sin palabras quedan los centinelas: todo es finito,
# también los gradientes.

# %% tags=["skip-execution"]
classifier = DynamicCoattentionNetwork(vocab_size=20, embedding_dim=6, hidden_dim=4)
log_probabilities = classifier(document, question, torch.tensor([5, 0, 3]), torch.tensor([4, 4, 0]))
log_probabilities[:, 0].sum().backward()
print("forma:", list(log_probabilities.shape))
assert log_probabilities.isfinite().all()
assert torch.allclose(log_probabilities.exp().sum(1), torch.ones(3), atol=1e-6)
assert all(parameter.grad.isfinite().all() for parameter in classifier.parameters())
assert (
    classifier.word.weight[0].abs().sum() == 0 and classifier.word.weight.grad[0].abs().sum() == 0
)

# %% [markdown]
# ## 6. Datos: dos respuestas plausibles
#
# Cada texto cuenta lo que compraron dos personas, con **la misma plantilla**: dos tramos del mismo tipo, de una a cinco palabras, y en sitios
# que cambian. Hay dos clases de preguntas: *¿qué compró Luis?*, cuya pista está **antes** de la respuesta, y *¿qué hay de miel?*, cuya pista es su
# **última palabra**. El tramo equivocado es un buen candidato a óptimo local: tiene sentido, y hasta la pregunta casi encaja.


# %% tags=["export"]
PEOPLE = ["Ana", "Luis", "Marta", "Pedro", "Lucía", "Diego"]
THINGS = ["pan", "miel", "queso", "arroz", "café", "vino"]
AMOUNTS = ["{t}", "bastante {t}", "un kilo de {t}", "dos cajas de {t}", "tres cajas grandes de {t}"]
OTHER_WORDS = [
    "bastante", "un", "kilo", "de", "dos", "cajas", "tres", "grandes",
    "ayer", "compró", ".", "qué", "hay",
]  # fmt: skip
PAD = 0
VOCAB = ["·", *PEOPLE, *THINGS, *OTHER_WORDS]
VOCAB_SIZE = len(VOCAB)
WORD_ID = {word: i for i, word in enumerate(VOCAB)}


def random_story(rng):
    """Un texto, una pregunta, el tramo que la contesta y el otro tramo plausible."""
    people, things = rng.sample(PEOPLE, 2), rng.sample(THINGS, 2)
    words, spans = [], []
    for person, thing in zip(people, things):
        words += [*rng.choice(["", "ayer"]).split(), person, "compró"]
        bought = rng.choice(AMOUNTS).format(t=thing).split()
        spans.append((len(words), len(words) + len(bought) - 1))
        words += [*bought, "."]
    asked = rng.randrange(2)
    question = rng.choice([f"qué compró {people[asked]}", f"qué hay de {things[asked]}"])
    return words, question.split(), spans[asked], spans[1 - asked]


# %% [markdown]
# Los textos se guardan en tensores, con relleno (`PAD`) al final y con sus longitudes.


# %% tags=["export"]
class Stories(NamedTuple):
    """Textos con su pregunta; los tramos, de su primera a su última palabra."""

    document: torch.Tensor  # [N, T]
    question: torch.Tensor  # [N, J]
    doc_lengths: torch.Tensor  # [N]
    ques_lengths: torch.Tensor
    answer: torch.Tensor  # [N, 2]
    other: torch.Tensor  # [N, 2]: el otro tramo plausible


def to_ids(rows):
    """Listas de palabras → `[B, S]`, con relleno al final, y sus longitudes `[B]`."""
    width = max(map(len, rows))
    ids = [[WORD_ID[w] for w in row] + [PAD] * (width - len(row)) for row in rows]
    return torch.tensor(ids), torch.tensor([len(row) for row in rows])


def make_stories(count, seed):
    """`count` textos hechos con esa semilla."""
    rng = random.Random(seed)
    words, questions, answers, others = zip(*(random_story(rng) for _ in range(count)))
    (document, doc_lengths), (question, ques_lengths) = to_ids(words), to_ids(questions)
    spans = torch.tensor(answers), torch.tensor(others)
    return Stories(document, question, doc_lengths, ques_lengths, *spans)


# %% [markdown]
# Tres ejemplos, con los dos tramos:

# %% tags=["skip-execution"]
rng = random.Random(1)
for _ in range(3):
    words, asked, (start, end), (s, e) = random_story(rng)
    print(" ".join(words))
    right, tempting = " ".join(words[start : end + 1]), " ".join(words[s : e + 1])
    print(f"    {' '.join(asked)} → «{right}»; tentación: «{tempting}»", end="\n\n")

# %% [markdown]
# ### Pérdida y medida
#
# La pérdida suma las dos entropías cruzadas de todas las iteraciones; la de un ejemplo que ya se detuvo no cuenta. Al entrenar se parte de
# **un tramo al azar**: así el lector aprende a no fiarse de la estimación inicial, y luego podremos ponerle la que queramos.


# %% tags=["export"]
def random_ends(lengths):
    """Una estimación inicial al azar: principio y fin `[B]`, cada uno por su lado."""
    return [(torch.rand(len(lengths), device=lengths.device) * lengths).long() for _ in range(2)]


def span_loss(reader, batch):
    """La entropía cruzada de los dos extremos, sumada en todas las iteraciones; de media."""
    total = 0.0
    for step in reader(*batch[:4], *random_ends(batch.doc_lengths)):
        for scores, wanted in ((step.start_scores, batch.answer[:, 0]), (step.end_scores, batch.answer[:, 1])):  # fmt: skip
            loss = F.cross_entropy(scores, wanted, reduction="none")
            total = total + (loss * step.active).mean()
    return total


def random_batches(data, size=64):
    """Lotes al azar, sin fin."""
    while True:
        rows = torch.randint(len(data.document), (size,), device=data.document.device)
        yield Stories(*(tensor[rows] for tensor in data))


@torch.no_grad()
def estimates(reader, data, initial):
    """El tramo tras cada iteración, desde la 0 (`initial`, dos `[N]`): lista de cinco `[N, 2]`."""
    steps = reader(*data[:4], *initial)
    spans = [torch.stack([step.start, step.end], dim=1) for step in steps]
    spans += [spans[-1]] * (4 - len(spans))  # todos se habían detenido
    return [torch.stack(list(initial), dim=1), *spans]


def exact(spans, answer):
    """Qué tramos `[N, 2]` coinciden con la respuesta en los dos extremos: bool `[N]`."""
    return (spans == answer).all(1)


# %% [markdown]
# ## 7. Entrenamiento: ¿qué pieza hace el trabajo?
#
# ### Iterar, ¿sirve?
#
# El mismo codificador con tres decodificadores y los mismos pasos de entrenamiento:
#
# | nombre | qué es |
# |---|---|
# | **dinámico** | el del artículo, hasta cuatro iteraciones |
# | **una iteración** | la misma red que puntúa, sin volver a intentarlo |
# | **un intento** (línea base) | una capa lineal para el principio y otra para el fin |
#
# Antes de ejecutarla, apuesta: ¿en qué iteración acertará el dinámico?


# %% tags=["skip-execution", "nbval-ignore-output"]
STEPS, HIDDEN = 230, 32


def train_reader(
    name, decoder, coattention_class=SentinelCoattention, data=None, steps=STEPS, seed=0
):
    """Un lector entrenado con esa semilla, y su pérdida en cada paso."""
    set_seed(seed)
    reader = SpanReader(VOCAB_SIZE, 32, HIDDEN, decoder(), coattention_class).to(device)
    batches = random_batches(data or train_set)
    losses = fit(reader, batches, span_loss, steps=steps, lr=0.02, label=name)
    return reader, losses


def first_words(data):
    """Partir de la primera palabra."""
    return [torch.zeros_like(data.doc_lengths)] * 2


train_set, test_set = (
    Stories(*(tensor.to(device) for tensor in make_stories(count, seed)))
    for count, seed in ((4000, 1), (600, 2))
)
decoders = {
    "dinámico": lambda: DynamicDecoder(HIDDEN, pool_size=2),
    "una iteración": lambda: DynamicDecoder(HIDDEN, pool_size=2, max_iterations=1),
    "un intento": lambda: OneShotDecoder(HIDDEN),
}
readers, curves, right = {}, {}, {}
for name, decoder in decoders.items():
    readers[name], curves[name] = train_reader(name, decoder)
    final = estimates(readers[name], test_set, first_words(test_set))[-1]
    right[name] = exact(final, test_set.answer).float().mean().item()
    print(f"{name:14} acierto {right[name]:.3f}")
assert min(right["dinámico"], right["una iteración"]) > 0.95
assert 0.5 < right["un intento"] <= right["una iteración"]

# %% [markdown]
# Los dos lectores con maxout lo aciertan casi todo. En la ejecución publicada, el de un intento se queda atrás (en una GPU los lotes son otros, y
# el resultado puede cambiar). ¿Es peor el decodificador, o ha sido la semilla? Entrénalo con otra.

# %% tags=["skip-execution", "nbval-ignore-output"]
retried, _ = train_reader("un intento", decoders["un intento"], seed=1)
final = estimates(retried, test_set, first_words(test_set))[-1]
print(f"un intento, semilla 1: acierto {exact(final, test_set.answer).float().mean():.3f}")

# %% [markdown]
# Si una semilla lo cambia tanto, de esa fila no se puede sacar que el decodificador sea peor. Y el que itera no gana al que tiene la misma red y **una sola
# iteración**, que también está en el techo. Iterar no hace falta para aprender esta tarea.
#
# Las curvas del dinámico y de los otros no se comparan entre sí: la suya suma hasta cuatro iteraciones.

# %% tags=["skip-execution", "nbval-ignore-output"]
plot_losses(curves)
last = {name: sum(losses[-25:]) / 25 for name, losses in curves.items()}
print("pérdida al final:", {name: round(loss, 2) for name, loss in last.items()})
assert all(loss < 0.6 * sum(curves[name][20:45]) / 25 for name, loss in last.items())

# %% [markdown]
# ### ¿Qué corrige cada iteración?
#
# Pongamos al lector dinámico en aprietos: que parta de la primera palabra, de un tramo al azar, de **la otra respuesta** (el óptimo local) o de
# la buena. La columna 0 es la estimación inicial; las demás, el acierto tras cada iteración. A la derecha, en los 600 textos de prueba,
# cuántos pasan de mal a bien y de bien a mal **entre la iteración 1 y la última**, y en cuántos el tramo final **depende de dónde se partió** (no
# es el mismo que partiendo de la primera palabra).


# %% tags=["skip-execution", "nbval-ignore-output"]
def starting_points(data):
    """Cuatro estimaciones iniciales de cada texto."""
    torch.manual_seed(0)
    return {
        "primera palabra": first_words(data),
        "al azar": random_ends(data.doc_lengths),
        "la otra respuesta": data.other.unbind(1),
        "la respuesta": data.answer.unbind(1),
    }


def follow(reader, data):
    """Acierto por iteración desde cada punto de partida, y qué se corrigió o estropeó."""
    table, finals = {}, []
    for name, initial in starting_points(data).items():
        spans = estimates(reader, data, initial)
        right = [exact(span, data.answer) for span in spans]
        finals.append(spans[-1])
        moved = int((~exact(finals[0], spans[-1])).sum())
        fixed, broken = int((~right[1] & right[-1]).sum()), int((right[1] & ~right[-1]).sum())
        table[name] = [r.float().mean().item() for r in right], fixed, broken, moved
    return table


followed = follow(readers["dinámico"], test_set)
print(f"{'se parte de':18}    0      1      2      3      4    mal→bien  bien→mal  depende")
for name, (accuracy, fixed, broken, moved) in followed.items():
    print(f"{name:18}", " ".join(f"{a:.3f} " for a in accuracy), f"{fixed:7} {broken:9} {moved:8}")
    assert min(accuracy[1:]) > 0.95 and max(fixed, broken, moved) < 12

# %% [markdown]
# Al lector **no lo engaña** que se le dé la otra respuesta: acierta igual, y ya en la primera iteración. (En la primera fila, «depende» es 0 por
# definición.) Como está en el techo, no le queda casi nada que corregir, y de esta tabla no se puede sacar que iterar sirva. Repitámosla con un lector **a medio
# entrenar**, que todavía se equivoca.

# %% tags=["skip-execution", "nbval-ignore-output"]
novice, _ = train_reader("a medio entrenar", decoders["dinámico"], steps=70)
print(f"{'se parte de':18}    0      1      2      3      4    mal→bien  bien→mal  depende")
for name, (accuracy, fixed, broken, moved) in follow(novice, test_set).items():
    print(f"{name:18}", " ".join(f"{a:.3f} " for a in accuracy), f"{fixed:7} {broken:9} {moved:8}")
    mistakes = (1 - accuracy[1]) * len(test_set.answer)
    assert accuracy[1] < 0.95 and max(fixed, broken, moved) < 0.25 * mistakes

# %% [markdown]
# Ahora hay de sobra que corregir, y las iteraciones siguientes no arreglan nada, o casi nada. La columna «depende» da una pista: el tramo
# final es el mismo se parta de donde se parta. Este lector **no hace caso a su estimación anterior**. Tiene sentido: lo hemos entrenado
# partiendo de tramos al azar, que no informan, y lo que él mismo señaló sale de $U$, que ya tiene delante. En esta tarea corta, y entrenado
# así (con una semilla), la segunda iteración apenas sirve más que para ver que nada cambia, y parar. Xiong et al. sí encuentran que varias iteraciones mejoran a
# una, con textos reales y mucho más largos.
#
# ### ¿Y la coatención?
#
# Ahora dejamos quieto el decodificador (el de una iteración) y estropeamos lo demás, con menos pasos para no esperar:
#
# | condición | qué cambia |
# |---|---|
# | **completa** | nada |
# | **uniforme** | $A^Q$ y $A^D$ reparten por igual: no hay atención |
# | **ejes cambiados** | $A^Q$ suma 1 sobre la pregunta, y $A^D$, sobre el documento |
# | **sin centinelas** | nadie puede atender a la nada |
# | **sin pregunta** | siempre la misma: hay que adivinar (60 pasos en vez de 130: no hay más que aprender) |


# %% tags=["export"]
class UniformCoattention(SentinelCoattention):
    """Sin atención: todos los pesos son iguales."""

    def weights(self, L, real):
        return super().weights(torch.zeros_like(L), real)


class SwappedCoattention(SentinelCoattention):
    """Cada softmax, sobre el eje de la otra: NO es coatención."""

    def weights(self, L, real):
        A_Q, A_D = super().weights(L, real)
        return A_D, A_Q


class NoSentinel(SentinelCoattention):
    """La columna del centinela existe, pero está prohibida."""

    def with_sentinel(self, states, mask, sentinel):
        states, mask = super().with_sentinel(states, mask, sentinel)
        mask = mask.clone()
        mask[:, -1] = False
        return states, mask


def without_question(data):
    """Los mismos textos, con la pregunta «qué»."""
    asked = torch.full_like(data.question[:, :1], WORD_ID["qué"])
    return data._replace(question=asked, ques_lengths=torch.ones_like(data.ques_lengths))


# %% [markdown]
# Además del acierto, cuántas respuestas son **disparatadas**: empiezan en uno de los dos tramos plausibles y acaban en el otro.

# %% tags=["skip-execution", "nbval-ignore-output"]
conditions = {
    "completa": (SentinelCoattention, 130),
    "uniforme": (UniformCoattention, 130),
    "ejes cambiados": (SwappedCoattention, 130),
    "sin centinelas": (NoSentinel, 130),
    "sin pregunta": (SentinelCoattention, 60),
}
measured = {}
for name, (coattention_class, steps) in conditions.items():
    train, test = train_set, test_set
    if name == "sin pregunta":
        train, test = without_question(train), without_question(test)
    reader, _ = train_reader(name, decoders["una iteración"], coattention_class, train, steps)
    final = estimates(reader, test, first_words(test))[-1]
    mixed = torch.stack([test.answer[:, 0], test.other[:, 1]], dim=1)
    crossed = exact(final, mixed) | exact(
        final, torch.stack([test.other[:, 0], test.answer[:, 1]], 1)
    )
    measured[name] = exact(final, test.answer).float().mean().item()
    print(f"{name:15} acierto {measured[name]:.3f}   disparatadas {crossed.float().mean():.3f}")
assert measured["completa"] > measured["uniforme"] and measured["sin pregunta"] < 0.5
assert min(measured["ejes cambiados"], measured["sin centinelas"]) > 0.8

# %% [markdown]
# Sin pregunta se acierta cerca de $1/4$, y no $1/2$: los dos extremos se eligen por separado, a cara o cruz, y cerca de la mitad de las respuestas
# son disparatadas. Con atención uniforme el acierto baja, en estos 130 pasos y con esta semilla: no se sabe si con más pasos, u otra semilla,
# lo aprendería (la BiLSTM también recibe la pregunta, aunque promediada). Y las otras dos filas son una advertencia: con los **ejes
# cambiados** o **sin centinelas** se aprende casi igual (otra vez con una semilla, y cerca del techo). Aquí los centinelas no hacen falta, porque
# todas las palabras tienen a qué atender; y un error de ejes no lo delata el acierto, sino la comprobación de la sección 5: columnas de
# $A^Q$ que suman 1.

# %% [markdown]
# ## 8. Visualización: leer y responder
#
# ### Los dos mapas
#
# En $A^Q$ suma 1 cada **columna** (una palabra de la pregunta reparte su atención por el documento) y en $A^D$, cada **fila** (una palabra
# del documento la reparte por la pregunta). Al final de cada eje, el centinela: ∅. El lector es el dinámico.


# %% tags=["skip-execution"]
def as_story(text, asked):
    """Un texto y una pregunta, como lote de uno: palabras, ids y longitudes."""
    rows = [text.split()], [asked.split()]
    (document, doc_lengths), (question, ques_lengths) = (to_ids(row) for row in rows)
    inputs = document, question, doc_lengths, ques_lengths
    return rows[0][0], rows[1][0], [tensor.to(device) for tensor in inputs]


def draw_map(ax, weights, words, asked, title):
    image = ax.imshow(weights, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    ax.set_xticks(range(len(asked) + 1), [*asked, "∅"])
    ax.set_yticks(range(len(words) + 1), [*words, "∅"])
    ax.set(title=title, xlabel="Pregunta")
    return image


TEXT = "Ana compró un kilo de pan . ayer Luis compró tres cajas grandes de miel ."
words, asked, inputs = as_story(TEXT, "qué compró Luis")
with torch.no_grad():
    _, _, A_Q, A_D = readers["dinámico"].encode(*inputs)
figure, axes = plt.subplots(1, 2, figsize=(9, 5.4), layout="constrained")
draw_map(axes[0], A_Q[0].cpu(), words, asked, "$A^Q$: cada columna suma 1")
image = draw_map(axes[1], A_D[0].cpu(), words, asked, "$A^D$: cada fila suma 1")
axes[0].set_ylabel("Documento")
figure.colorbar(image, ax=axes, label="Peso")
to_luis = [A_D[0, span, 2].mean().item() for span in (slice(0, 7), slice(7, 16))]
show(
    "Dos mapas del documento (filas) por la pregunta (columnas). En A^Q, la columna «Luis» mira sobre "
    f"todo a «{[*words, '∅'][A_Q[0, :, 2].argmax()]}». En A^D, esa columna vale de media "
    f"{to_luis[0]:.2f} en las palabras de la primera frase y {to_luis[1]:.2f} en las de la segunda."
)
print("A^D, peso medio en «Luis»: primera frase {:.2f}, segunda {:.2f}".format(*to_luis))
assert to_luis[0] < to_luis[1]

# %% [markdown]
# Busca en la columna *Luis* de $A^Q$ qué palabras del documento mira, y en la de $A^D$ qué frase lo mira más de media: la suya, aunque alguna
# palabra de la otra también lo mire. Si la casilla más clara cae en la respuesta (en *miel*, por ejemplo), no la tomes por una explicación:
# nada obliga a que caiga ahí, porque la pérdida premia que acierte el decodificador, no que los mapas se lean bien.
#
# ### La respuesta, iteración a iteración
#
# Una fila por iteración, y una columna por palabra. Arriba, la estimación inicial, que aquí es **la otra respuesta**: *un kilo de pan*. Debajo, el
# reparto de cada iteración sobre las palabras del texto; ▼ marca el extremo elegido.


# %% tags=["skip-execution"]
@torch.no_grad()
def distributions(reader, inputs, start, end):
    """Los repartos del principio y del fin `[I+1, T]`; la fila 0 es la estimación inicial."""
    T = inputs[0].size(1)
    ends = [torch.tensor([position], device=device) for position in (start, end)]
    rows = [[F.one_hot(position[0], T).float().cpu()] for position in ends]
    for step in reader(*inputs, *ends):
        for kept, scores in zip(rows, (step.start_scores, step.end_scores)):
            kept.append(scores[0].softmax(-1).cpu())
    return [torch.stack(kept) for kept in rows]


def draw_iterations(axes, rows, words):
    """Los dos mapas de atención, con una marca en el extremo de cada fila."""
    for ax, probabilities, name in zip(axes, rows, ("Principio", "Fin")):
        image = ax.imshow(probabilities, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for i, position in enumerate(probabilities.argmax(1).tolist()):
            color = ink(probabilities[i, position])
            ax.text(position, i, "▼", ha="center", va="center", color=color)
        ax.set_yticks(range(len(probabilities)), ["inicial", *range(1, len(probabilities))])
        ax.set(title=name, ylabel="Iteración")
        ax.set_xticks(range(len(words)), words, rotation=45, ha="right")
    return image


def describe(rows, words):
    """Qué dicen esos mapas: el tramo que elige cada fila."""
    ends = zip(*(row.argmax(1).tolist() for row in rows))
    spans = ", ".join(f"«{words[start]} … {words[end]}»" for start, end in ends)
    return (
        "Dos mapas de iteraciones (filas) por palabras del texto (columnas): el principio y el fin. "
        f"El tramo elegido en cada fila, desde la inicial: {spans}."
    )


# %% [markdown]
# Fíjate en que los **dos** extremos saltan de un tramo al otro, y en que la última fila repite la anterior: por eso se para.

# %% tags=["skip-execution", "portada", "nbval-ignore-output"]
rows = distributions(readers["dinámico"], inputs, 2, 5)
figure, axes = plt.subplots(2, 1, figsize=(9, 4.8), layout="constrained")
image = draw_iterations(axes, rows, words)
figure.colorbar(image, ax=axes, label="Probabilidad")
figure.suptitle("¿Qué compró Luis? Se parte de «un kilo de pan»")
show(describe(rows, words))
chosen = [row[-1].argmax().item() for row in rows]
print("respuesta:", " ".join(words[chosen[0] : chosen[1] + 1]))
assert chosen == [10, 14]

# %% [markdown]
# ### Prueba tú: ¿de dónde no sabe volver?
#
# Elige de qué tramo se parte (uno disparatado, si quieres: el fin antes que el principio), la pregunta y hasta qué iteración dibujar. Prueba con
# preguntas de las que el texto no dice nada: *qué compró Marta*. Con ellas no hay respuesta buena; ¿sigue dando igual de dónde se parta?
# (Si el control no aparece, ejecuta el cuaderno entero: hace falta el modelo entrenado.)

# %% tags=["skip-execution", "nbval-ignore-output"]
import ipywidgets


def explore(question, start, end, iteration):
    words, _, inputs = as_story(TEXT, question)
    rows = distributions(readers["dinámico"], inputs, start, end)
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.4), layout="constrained")
    drawn = [row[: iteration + 1] for row in rows]
    draw_iterations(axes, drawn, words)
    show(describe(drawn, words))
    if iteration >= len(rows[0]):
        print(f"Se detuvo en la iteración {len(rows[0]) - 1}: la estimación ya no cambiaba.")


position = {"min": 0, "max": len(words) - 1}
questions = [
    "qué compró Luis",
    "qué compró Ana",
    "qué hay de miel",
    "qué hay de pan",
    "qué compró Marta",
]
control = ipywidgets.interact(
    explore,
    question=ipywidgets.Dropdown(options=questions, description="Pregunta"),
    start=ipywidgets.IntSlider(value=2, **position, description="Principio"),
    end=ipywidgets.IntSlider(value=5, **position, description="Fin"),
    iteration=ipywidgets.IntSlider(value=1, min=0, max=4, description="Iteración"),
)

# %% [markdown]
# ## 9. Caza del error: la máscara que adivina
#
# Hay implementaciones que reciben las longitudes y no las usan para la máscara: la deducen de los números de palabra, «es relleno lo que vale
# 0». Con lotes bien rellenados da lo mismo. Deja de darlo en dos casos: si hay relleno que no vale 0 (un lote recortado de un búfer más grande,
# con restos de otro texto), o si hay palabras de verdad que valen 0. Reproduce el primero cambiando solo `masks`, en el lector ya entrenado.


# %% tags=["export"]
class GuessingReader(SpanReader):
    """Deduce la máscara de los números de palabra: NO lo hagas (véase la caza del error)."""

    def masks(self, document, question, doc_lengths, ques_lengths):
        return document != PAD, question != PAD


def with_leftovers(data):
    """Los mismos textos, en un búfer del doble de ancho con restos: detrás de cada uno, el anterior."""
    T = data.document.size(1)
    wide = F.pad(data.document, (0, T))
    for b, n in enumerate(data.doc_lengths.tolist()):
        wide[b, n : n + T] = data.document[b - 1]
    return data._replace(document=wide)


# %% [markdown]
# Las dos versiones tienen los mismos parámetros. Medimos el acierto, el peso que $A^Q$ pone en el relleno (de media en las palabras de la
# pregunta) y cuántas respuestas caen en él, con relleno limpio y con restos.

# %% tags=["skip-execution", "nbval-ignore-output"]
guessing = GuessingReader(VOCAB_SIZE, 32, HIDDEN, decoders["dinámico"]()).to(device).eval()
guessing.load_state_dict(readers["dinámico"].state_dict())
dirty = with_leftovers(test_set)
lost, leaked = {}, {}
print(f"{'':25} acierto  peso en el relleno  respuestas en el relleno")
for name, reader in (("longitudes", readers["dinámico"]), ("números de palabra", guessing)):
    for kind, data in (("limpio", test_set), ("restos", dirty)):
        span = estimates(reader, data, first_words(data))[-1]
        with torch.no_grad():
            A_Q = reader.encode(*data[:4])[2][:, :-1, :-1]  # sin centinelas
        padding = ~real_positions(data.document, data.doc_lengths)
        question_words = real_positions(data.question, data.ques_lengths)
        weight = (A_Q * padding[..., None]).sum(1)[question_words].mean().item()
        outside = (span >= data.doc_lengths[:, None]).any(1).float().mean().item()
        right = exact(span, data.answer).float().mean().item()
        lost[name, kind], leaked[name, kind] = right, weight
        print(f"{name:18} {kind} {right:7.3f} {weight:19.3f} {outside:25.3f}")
assert lost["longitudes", "limpio"] == lost["longitudes", "restos"]
assert lost["números de palabra", "limpio"] == lost["longitudes", "limpio"]
assert lost["números de palabra", "restos"] < lost["longitudes", "restos"] - 0.02
assert leaked["números de palabra", "restos"] > 0.05 and leaked["longitudes", "restos"] == 0

# %% [markdown]
# Con relleno limpio, las dos versiones son la misma. Con restos, la que adivina lee palabras que no son del texto, les presta atención y llega a
# responder con ellas. **Ningún acierto medido con lotes limpios puede delatarlo.** El remedio está en la sección 4: las máscaras salen de las
# longitudes, en `real_positions`, y de ningún otro sitio.
#
# La implementación de la que parte este curso tenía además otro error instructivo: un decodificador «dinámico» que era una LSTM sobre una
# secuencia de **una** palabra. Su estado anterior es siempre cero, así que los pesos que lo leen no reciben gradiente. La celda lo compara
# con la LSTM de nuestro decodificador.

# %% tags=["skip-execution"]
torch.manual_seed(0)
one_step = nn.LSTM(8, 4, batch_first=True)
one_step(torch.randn(3, 1, 8))[0].sum().backward()
decoder = DynamicDecoder(hidden_dim=2)
U = torch.randn(3, 5, 4)
steps = decoder(U, torch.ones(3, 5, dtype=torch.bool), *torch.zeros(2, 3).long())
sum(step.start_scores.pow(2).sum() for step in steps).backward()
unused = one_step.weight_hh_l0.grad.abs().max().item()
used = decoder.cell.weight_hh.grad.abs().max().item()
print(f"gradiente de weight_hh: secuencia de una palabra {unused}; decodificador, {used:.3f}")
assert unused == 0 and used > 0 and len(steps) > 1

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
# ### Ejercicio 05a · `DeepCoattention` (●●●●○, 50 minutos, 9 puntos)
#
# En la lección, el documento y la pregunta se leen el uno al otro una vez. Un artículo posterior de los mismos autores (DCN+, 2018) lo
# repite: en la segunda ronda, cada lado entra con lo que leyó en la primera. Escribe una capa que haga las rondas que se le pidan, sin las
# BiLSTM que DCN+ pone entre ronda y ronda. Con $D_1 = D$ y $Q_1 = Q$ (los de la sección 3, con centinela), la ronda $k$ calcula
#
# $$L_k = D_k^\top Q_k, \qquad A^Q_k = \mathrm{softmax}_{\text{documento}}(L_k), \qquad A^D_k = \mathrm{softmax}_{\text{pregunta}}(L_k)$$
#
# $$C^Q_k = D_k A^Q_k, \qquad S_k = Q_k (A^D_k)^\top, \qquad C_k = C^Q_k (A^D_k)^\top, \qquad D_{k+1} = S_k, \quad Q_{k+1} = C^Q_k$$
#
# y la salida es $[\,D;\, S_1;\, C_1;\, S_2;\, C_2;\, \dots]$, sin el centinela del documento. Con una ronda es $[\,D;\, C^D\,]$, lo que la lección da a
# la BiLSTM: $C^D = [\,S_1;\, C_1\,]$. Las máscaras las pones tú. Puedes llamar a `masked_softmax`; a
# `SentinelCoattention`, no.
#
# | nombre | forma | qué es |
# |---|---|---|
# | `hidden_dim`, `rounds` | H, R | tamaño de los estados, y rondas |
# | `doc_sentinel`, `ques_sentinel` | `nn.Parameter` `[H]` | $d_\varnothing$ y $q'_\varnothing$ |
# | `question_projection` | `nn.Linear(H, H)` | $W^Q$ y $b^Q$; el centinela de la pregunta también pasa por ella |
# | `doc_states`, `ques_states` | `[B, T, H]`, `[B, J, H]` | los estados de la LSTM, sin centinela |
# | `doc_mask`, `ques_mask` | bool `[B, T]`, `[B, J]` | True donde hay palabra; `None`: no hay relleno |
# | salida | `[B, T, (1 + 2R)·H]` | en el relleno, cualquier número finito (ni `nan` ni infinito) |
#
# Todas las rondas usan los mismos parámetros, que solo intervienen antes de la primera. Una pregunta vacía no es un error: queda su
# centinela.


# %% nbgrader={"grade_id": "ej05a_clase", "solution": true} tags=["export"]
# ejercicio: ej05a_clase
class DeepCoattention(nn.Module):
    """Coatención con centinelas, en varias rondas.

    Args:
        hidden_dim: tamaño H de los estados; rounds: cuántas rondas.

    Atributos obligatorios: `doc_sentinel`, `ques_sentinel` y `question_projection` (véase la tabla).

    Referencia: Xiong et al. (2017), sección 2.2; las rondas, de Xiong et al. (2018).
    """

    def __init__(self, hidden_dim, rounds=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.rounds = rounds
        self.doc_sentinel = nn.Parameter(torch.randn(hidden_dim) * 0.1)
        self.ques_sentinel = nn.Parameter(torch.randn(hidden_dim) * 0.1)
        self.question_projection = nn.Linear(hidden_dim, hidden_dim)
        ### END SOLUTION

    def forward(self, doc_states, ques_states, doc_mask=None, ques_mask=None):
        """Formas: `[B, T, H]`, `[B, J, H]`, máscaras bool → `[B, T, (1 + 2R)·H]`."""
        ### BEGIN SOLUTION
        B = len(doc_states)
        if doc_mask is None:
            doc_mask = doc_states.new_ones(doc_states.shape[:2], dtype=torch.bool)
        if ques_mask is None:
            ques_mask = ques_states.new_ones(ques_states.shape[:2], dtype=torch.bool)
        doc_mask, ques_mask = (
            F.pad(doc_mask, (0, 1), value=True),
            F.pad(ques_mask, (0, 1), value=True),
        )
        real = doc_mask[:, :, None] & ques_mask[:, None, :]
        D = torch.cat([doc_states, self.doc_sentinel.expand(B, 1, -1)], dim=1)  # [B, T+1, H]
        Q = torch.cat([ques_states, self.ques_sentinel.expand(B, 1, -1)], dim=1)
        Q = torch.tanh(self.question_projection(Q))  # [B, J+1, H]
        blocks = [D]
        for _ in range(self.rounds):
            scores = D @ Q.transpose(1, 2)  # [B, T+1, J+1]
            A_Q = masked_softmax(scores, real, dim=1)
            A_D = masked_softmax(scores, real, dim=2)
            C_Q = A_Q.transpose(1, 2) @ D  # [B, J+1, H]
            S, C = A_D @ Q, A_D @ C_Q  # [B, T+1, H]
            blocks += [S, C]
            D, Q = S, C_Q
        return torch.cat(blocks, dim=-1)[:, :-1]
        ### END SOLUTION


# %% [markdown]
# Antes de probar nada, mira cuánto se parecen entre sí las palabras de un documento en cada bloque (coseno medio entre parejas). ¿Qué le
# hace cada ronda a la variedad? ¿Por qué pondría DCN+ una BiLSTM entre las rondas?

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(0)
deep = DeepCoattention(hidden_dim=16, rounds=3)
with torch.no_grad():
    out = deep(torch.randn(1, 8, 16), torch.randn(1, 4, 16))[0]
for name, block in zip(["D", "S1", "C1", "S2", "C2", "S3", "C3"], out.split(16, dim=-1)):
    alike = F.cosine_similarity(block[:, None], block[None], dim=-1)
    print(f"{name:2}  coseno medio {(alike.sum() - 8) / 56:.2f}")

# %% [markdown]
# **Una ronda**: formas, parámetros, y $[\,D;\, C^D\,]$.

# %% nbgrader={"grade_id": "ej05a_ronda", "grade": true, "points": 3.5}
# pruebas: ej05a_ronda
import torch

layer = DeepCoattention(hidden_dim=4, rounds=1)
doc_states = torch.randn(2, 5, 4)
out = layer(doc_states, torch.randn(2, 3, 4))
assert tuple(out.shape) == (2, 5, 12), f"La salida debería ser [2, 5, 12] y es {list(out.shape)}."
assert torch.allclose(out[..., :4], doc_states), "El primer bloque es D, sin cambios."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("05_coatencion_dinamica", "ej05a_ronda", DeepCoattention)
### END HIDDEN TESTS

# %% [markdown]
# **Relleno**: no influye en ningún lado, y los centinelas están siempre.

# %% nbgrader={"grade_id": "ej05a_relleno", "grade": true, "points": 3.5}
# pruebas: ej05a_relleno
import torch

layer = DeepCoattention(hidden_dim=4)
doc_states, ques_states = torch.randn(1, 5, 4), torch.randn(1, 3, 4)
mask = torch.tensor([[True, True, True, False, False]])
padded = layer(doc_states, ques_states, mask)[:, :3]
alone = layer(doc_states[:, :3], ques_states)
assert torch.allclose(padded, alone, atol=1e-5), (
    f"Con dos palabras de relleno, la salida cambia {(padded - alone).abs().max():.2g}."
)
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("05_coatencion_dinamica", "ej05a_relleno", DeepCoattention)
### END HIDDEN TESTS

# %% [markdown]
# **Varias rondas**: cada una parte de lo que dejó la anterior.

# %% nbgrader={"grade_id": "ej05a_rondas", "grade": true, "points": 2}
# pruebas: ej05a_rondas
import torch

layer = DeepCoattention(hidden_dim=4, rounds=2)
out = layer(torch.randn(2, 5, 4), torch.randn(2, 3, 4))
assert tuple(out.shape) == (2, 5, 20), f"La salida debería ser [2, 5, 20] y es {list(out.shape)}."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("05_coatencion_dinamica", "ej05a_rondas", DeepCoattention)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: el centinela y las máscaras</summary>
#
# `self.doc_sentinel.expand(B, 1, -1)` repite el centinela en todo el lote, y `torch.cat(…, dim=1)` lo pone al final. La máscara crece igual:
# `F.pad(mask, (0, 1), value=True)`. Una posición de $L$ vale si valen su fila **y** su columna. Las filas y columnas de relleno quedan
# prohibidas enteras: `masked_softmax` les da ceros; `softmax` a secas, `nan`.
#
# </details>
#
# <details><summary>Pista 2: una ronda con productos de matrices</summary>
#
# Con las palabras en filas (en la fórmula van en columnas), `L = D @ Q.transpose(1, 2)` es `[B, T+1, J+1]`. Lo que lee la pregunta lleva la traspuesta de su mapa,
# `A_Q.transpose(1, 2) @ D`; lo que lee el documento, no: `A_D @ Q` y `A_D @ C_Q`. Guarda los bloques en una lista y júntalos al final, quitando
# la última posición.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | `S1` bien y `C1` mal | la softmax de `A_Q` va sobre el eje de la pregunta, o `C` lee `Q` en lugar de `C_Q` |
# | `S1` y `C1` mal sin relleno | falta la tanh, o se la das también al documento, o el centinela no pasa por ella |
# | `mat1 and mat2` o `Expected size` en un producto | `C_Q` no usa la traspuesta de `A_Q` |
# | `nan` cuando hay relleno | una softmax sobre una fila o columna prohibida entera; y 0 · `nan` es `nan` |
# | todo bien hasta que hay relleno | la máscara no cuenta con el centinela, va después de la softmax o tapa un solo lado |
# | sobra una posición | el centinela del documento no se quita al final |
# | la segunda ronda repite la primera | no cambias `D` y `Q` al acabar la ronda |
# | la segunda ronda se tuerce un poco | quitas el centinela, o vuelves a aplicar la tanh, entre ronda y ronda |
# | `value cannot be converted` en 16 bits | un −1e10 en lo prohibido: usa `-math.inf` |
#
# </details>

# %% [markdown]
# ### Ejercicio 05b · Un paso del decodificador (●●●●○, 55 minutos, 9 puntos)
#
# En el artículo, el principio y el fin nuevos se eligen a la vez, los dos con las estimaciones anteriores. Escribe un paso **encadenado**: el
# fin se puntúa sabiendo ya cuál es el principio nuevo. Y escribe tú la red que puntúa.
#
# $$h_i = \mathrm{LSTM}(h_{i-1}, [\,u_{s_{i-1}};\, u_{e_{i-1}}\,])$$
#
# $$\alpha = \mathrm{puntuar}_s(U, h_i, u_{s_{i-1}}, u_{e_{i-1}}), \quad s_i = \arg\max_t \alpha_t, \qquad
# \beta = \mathrm{puntuar}_e(U, h_i, u_{s_i}, u_{e_{i-1}}), \quad e_i = \arg\max_t \beta_t$$
#
# Puntuar es lo de la sección 3, con $r = \tanh(W^D[\,h;\, u_s;\, u_e\,])$ y tres capas maxout. Aquí las salidas de cada capa se ordenan **por
# versiones**: primero todos los números de la versión 0, luego todos los de la versión 1… (en la lección van juntas las $p$ versiones de
# cada número).
#
# | nombre | forma | qué es |
# |---|---|---|
# | `hidden_dim`, `pool_size` | H, p | |
# | `mix` | `nn.Linear(5H, H, bias=False)` | $W^D$ |
# | `first` | `nn.Linear(3H, p·H)` | $W^{(1)}$, $b^{(1)}$; recibe $[\,u_t;\, r\,]$ |
# | `second` | `nn.Linear(H, p·H)` | $W^{(2)}$, $b^{(2)}$ |
# | `third` | `nn.Linear(2H, p)` | $W^{(3)}$, $b^{(3)}$; recibe $[\,m^{(1)}_t;\, m^{(2)}_t\,]$ |
# | `U`, `h` | `[B, T, 2H]`, `[B, H]` | |
# | `u_start`, `u_end` | `[B, 2H]` | $u_s$ y $u_e$ |
# | salida | `[B, T]` | una puntuación por posición, sin máscara |


# %% nbgrader={"grade_id": "ej05b_puntuar", "solution": true} tags=["export"]
# ejercicio: ej05b_puntuar
class MaxoutScorer(nn.Module):
    """Puntúa cada posición con tres capas maxout.

    Args:
        hidden_dim: H; pool_size: p, las versiones de cada número.

    Atributos obligatorios: `mix`, `first`, `second` y `third` (véase la tabla).

    Referencia: Xiong et al. (2017), sección 2.3.
    """

    def __init__(self, hidden_dim, pool_size=4):
        super().__init__()
        ### BEGIN SOLUTION
        self.pool_size = pool_size
        self.mix = nn.Linear(5 * hidden_dim, hidden_dim, bias=False)
        self.first = nn.Linear(3 * hidden_dim, pool_size * hidden_dim)
        self.second = nn.Linear(hidden_dim, pool_size * hidden_dim)
        self.third = nn.Linear(2 * hidden_dim, pool_size)
        ### END SOLUTION

    def forward(self, U, h, u_start, u_end):
        """Formas: `[B, T, 2H]`, `[B, H]`, `[B, 2H]`, `[B, 2H]` → `[B, T]`."""

        ### BEGIN SOLUTION
        def largest(values):
            return values.unflatten(-1, (self.pool_size, -1)).amax(-2)

        r = torch.tanh(self.mix(torch.cat([h, u_start, u_end], dim=-1)))
        r = r[:, None].expand(-1, U.size(1), -1)
        m1 = largest(self.first(torch.cat([U, r], dim=-1)))
        m2 = largest(self.second(m1))
        return largest(self.third(torch.cat([m1, m2], dim=-1))).squeeze(-1)
        ### END SOLUTION


# %% [markdown]
# Una capa maxout puede inventarse su función de activación. Con $p = 2$ y pesos $1$ y $-1$, ¿qué función es la de la izquierda? ¿Y la de la
# derecha, con los pesos $0$ y $1$? La celda las dibuja, sin usar tu código: sirven para saber qué esperar de él.

# %% tags=["skip-execution"]
x = torch.linspace(-2, 2, 81)
_, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
for ax, slopes in zip(axes, ((1.0, -1.0), (0.0, 1.0))):
    versions = x[:, None] * torch.tensor(slopes)
    for k, style in enumerate(("--", ":")):
        ax.plot(x, versions[:, k], style, color="#555555", label=f"versión {k}: {slopes[k]:+.0f}·x")
    ax.plot(x, versions.amax(-1), color="#0b5394", linewidth=2.5, label="la mayor")
    ax.set(xlabel="x", title=f"pesos {slopes[0]:+.0f} y {slopes[1]:+.0f}", ylim=(-2.2, 4.4))
    ax.legend(frameon=False, fontsize=9, loc="upper center")
axes[0].set_ylabel("Salida")
show(
    "Dos gráficos con dos rectas, a trazos y de puntos, y en línea gruesa la mayor de las dos para cada "
    "x. Con los pesos +1 y -1, la gruesa es una V con el vértice en 0; con 0 y +1, es plana hasta 0 y "
    "después sube."
)

# %% [markdown]
# **La red que puntúa**: formas, la mayor de las versiones, y la fórmula entera.

# %% nbgrader={"grade_id": "ej05b_maxout", "grade": true, "points": 3.5}
# pruebas: ej05b_maxout
import torch

scorer = MaxoutScorer(hidden_dim=4, pool_size=3)
scores = scorer(torch.randn(2, 5, 8), torch.randn(2, 4), torch.randn(2, 8), torch.randn(2, 8))
assert tuple(scores.shape) == (2, 5), f"Deberían salir [2, 5] y salen {list(scores.shape)}."
assert scorer.first.out_features == 12, f"first tiene {scorer.first.out_features} salidas, no 12."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("05_coatencion_dinamica", "ej05b_maxout", MaxoutScorer)
### END HIDDEN TESTS

# %% [markdown]
# Ahora, el paso, con tu `MaxoutScorer`. El principio y el fin tienen cada uno el suyo.
#
# | nombre | forma | qué es |
# |---|---|---|
# | `cell` | `nn.LSTMCell(4H, H)` | la LSTM; su estado es la pareja `(h, c)`, o `None` en la primera iteración |
# | `start_scorer`, `end_scorer` | `MaxoutScorer(H, p)` | $\mathrm{puntuar}_s$ y $\mathrm{puntuar}_e$ |
# | `mask` | bool `[B, T]` | True donde hay palabra; hay al menos una en cada ejemplo |
# | `start`, `end` | enteros `[B]` | $s_{i-1}$ y $e_{i-1}$ |
# | salida | `start_scores`, `end_scores` `[B, T]`; `start`, `end` `[B]`; `state` | $\alpha$ y $\beta$, con $-\infty$ en el relleno; $s_i$ y $e_i$; $(h_i, c_i)$ |


# %% nbgrader={"grade_id": "ej05b_clase", "solution": true} tags=["export"]
# ejercicio: ej05b_clase
class ChainedStep(nn.Module):
    """Un paso del decodificador en el que el fin ya conoce el principio nuevo.

    Args:
        hidden_dim: H; pool_size: p.

    Atributos obligatorios: `cell`, `start_scorer` y `end_scorer` (véase la tabla).

    Referencia: Xiong et al. (2017), sección 2.3; el encadenado es de este curso.
    """

    def __init__(self, hidden_dim, pool_size=4):
        super().__init__()
        ### BEGIN SOLUTION
        self.cell = nn.LSTMCell(4 * hidden_dim, hidden_dim)
        self.start_scorer = MaxoutScorer(hidden_dim, pool_size)
        self.end_scorer = MaxoutScorer(hidden_dim, pool_size)
        ### END SOLUTION

    def forward(self, U, mask, state, start, end):
        """Formas: `[B, T, 2H]`, `[B, T]`, `(h, c)` o None, `[B]`, `[B]` → las de la tabla."""
        ### BEGIN SOLUTION
        rows = torch.arange(len(U), device=U.device)
        u_start, u_end = U[rows, start], U[rows, end]
        state = self.cell(torch.cat([u_start, u_end], dim=-1), state)
        start_scores = self.start_scorer(U, state[0], u_start, u_end)
        start_scores = start_scores.masked_fill(~mask, -math.inf)
        new_start = start_scores.argmax(1)
        end_scores = self.end_scorer(U, state[0], U[rows, new_start], u_end)
        end_scores = end_scores.masked_fill(~mask, -math.inf)
        return start_scores, end_scores, new_start, end_scores.argmax(1), state
        ### END SOLUTION


# %% [markdown]
# Mira cuatro pasos seguidos, sin entrenar, en un lote de tres ejemplos: ¿alguno llega a repetir su tramo y se para? ¿Sale alguna vez una
# posición de relleno? (El segundo ejemplo tiene 4 palabras y el tercero, 2.)

# %% tags=["skip-execution", "nbval-ignore-output"]
set_seed(3)
step, state = ChainedStep(hidden_dim=8), None
tiny_mask = torch.arange(6) < torch.tensor([[6], [4], [2]])
tiny_U, start, end = torch.randn(3, 6, 16) * 2, torch.zeros(3).long(), torch.zeros(3).long()
for i in range(1, 5):
    _, _, start, end, state = step(tiny_U, tiny_mask, state, start, end)
    print(f"iteración {i}: tramos", list(zip(start.tolist(), end.tolist())))

# %% [markdown]
# **El paso**: el estado, las puntuaciones de los dos extremos, el relleno y el gradiente. (Se comparan con las de tu propio
# `MaxoutScorer`: un fallo en su fórmula no se paga dos veces. Pero ha de tener los parámetros de la tabla, y devolver `[B, T]`.)

# %% nbgrader={"grade_id": "ej05b_paso", "grade": true, "points": 5.5}
# pruebas: ej05b_paso
import torch

step = ChainedStep(hidden_dim=4, pool_size=2)
U, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True, True, False, False, False]])
start_scores, end_scores, start, end, state = step(
    U, mask, None, torch.tensor([1, 0]), torch.tensor([4, 1])
)
assert tuple(start_scores.shape) == tuple(end_scores.shape) == (2, 5), (
    "Las puntuaciones son [B, T]."
)
assert tuple(start.shape) == tuple(end.shape) == (2,), "El principio y el fin nuevos son [B]."
assert len(state) == 2 and tuple(state[0].shape) == (2, 4), "El estado es la pareja (h, c)."
### BEGIN HIDDEN TESTS
from autograder.checks import grade

grade("05_coatencion_dinamica", "ej05b_paso", ChainedStep)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Pista 1: maxout</summary>
#
# `layer(x)` da `[…, p·O]`. Con las versiones delante, `.unflatten(-1, (p, -1))` lo convierte en `[…, p, O]`, y el máximo va sobre el eje de las
# versiones, el penúltimo. La última capa tiene $O = 1$. No hay ReLU ni tanh, salvo en $r$.
#
# </details>
#
# <details><summary>Pista 2: tomar una fila de cada ejemplo</summary>
#
# `U[torch.arange(B), start]` toma, de cada ejemplo, la fila que dice `start`: sale `[B, 2H]`. `U[:, start]` es otra cosa, `[B, B, 2H]`. Enmascara
# las puntuaciones **antes** del `argmax`; y para el fin vuelve a tomar la fila del principio, ahora con el nuevo.
#
# </details>
#
# <details><summary>Errores frecuentes</summary>
#
# | si ves… | suele ser… |
# |---|---|
# | la puntuación es menor de lo esperado | una media en lugar del máximo |
# | «La mayor de las versiones» bien y la fórmula mal | las versiones, ordenadas como en la lección; el máximo, sobre los números; o falta el atajo de $m^{(1)}$ |
# | el principio bien y el fin mal | el fin usa el principio anterior, o los parámetros del principio |
# | el fin cambia al cambiar el relleno | eliges el principio antes de enmascarar |
# | el estado no cambia entre iteraciones | devuelves el que recibiste, o no se lo das a la celda |
# | las puntuaciones solo fallan con $B > 1$ | mezclas ejemplos al tomar las filas |
#
# </details>

# %% [markdown]
# ### Ejercicio 05b, para terminar · Analiza (●●●○○, 15 minutos, 2 puntos)
#
# Esta pregunta la corrige una persona. Vale por el razonamiento y por los números que aportes, no por la longitud.
#
# **Pregunta.** En la primera tabla de la sección 7, con la semilla 0 y tal como se publicó, el lector dinámico acierta más que el de un solo
# intento. (Si en tu máquina empatan, razona sobre los números publicados.)
#
# 1. ¿Se debe a que corrige sus respuestas? Mira el acierto de cada iteración y el del decodificador de una sola iteración, y di qué
#    demuestra cada número y qué no.
# 2. Propón una tarea, o un cambio en esta, en la que un extremo de la respuesta sepa algo que el otro no puede saber, de modo que iterar
#    (o encadenar, como en 05b) sí pueda ayudar. ¿Con qué control lo comprobarías?

# %% [markdown] nbgrader={"grade_id": "ej05b_analisis", "grade": true, "solution": true, "points": 2}
# <!-- ejercicio: ej05b_analisis -->
# ### BEGIN SOLUTION
# (1) No se ve que se deba a eso: el acierto es casi el mismo en la primera iteración que en la última (también a medio entrenar), así que las
# correcciones apenas cambian nada en los ejemplos de prueba; y el tramo final no depende del inicial: el lector no usa su estimación. Los dos decodificadores difieren en más cosas: la red que puntúa (maxout de tres capas frente a una capa lineal) y
# la pérdida, que suma varias iteraciones. El decodificador de una sola iteración lleva la misma red
# que puntúa y acierta lo mismo: iterar no hace falta. Además es una sola semilla: con otra, el de un intento también llega al techo, así que la
# diferencia puede deberse a la suerte del entrenamiento; y que no se vea ventaja en una tarea tan fácil no demuestra que no la haya en otras.
# (2) Una en la que $u_t$ no lo vea todo: documentos largos, o un codificador con ventana (convoluciones en vez de las dos LSTM, y $C^D$ sin la
# parte que vuelve del documento, $C^Q$), con la pista al lado de un extremo y lejos del otro. El extremo que la ve se acierta en la primera iteración, y el otro
# podría corregirse en la segunda. Controles: el decodificador de una iteración; y dar en cada iteración un tramo al azar en lugar de la
# estimación anterior, que conserva los parámetros y quita la información.
# ### END SOLUTION

# %% [markdown]
# ## 11. Resumen
#
# - La coatención saca dos repartos de una sola matriz: la pregunta lee el documento ($A^Q$), y el documento lee la pregunta ($A^D$) **y lo que
#   esta leyó** ($C^D$): el documento se lee a sí mismo a través de la pregunta.
# - Los centinelas son un sitio al que atender cuando nada viene al caso. Tienen que estar siempre permitidos, haya el relleno que haya.
# - El decodificador dinámico puntúa todas las posiciones sabiendo qué tramo señaló antes, y se detiene cuando no cambia.
# - En esta tarea no lo engaña ninguna de las estimaciones iniciales probadas, ni siquiera la otra respuesta plausible: acierta en la primera
#   iteración, porque apenas las usa. Una red con una sola iteración acierta lo mismo: aquí no se ve que ayude iterar, y eso solo se sabe
#   midiendo cada iteración.
# - Qué es palabra y qué es relleno lo dicen las longitudes, no los números de las palabras.
#
# **Lo que sigue.** El cuaderno 06 quita las redes recurrentes: una secuencia se atiende a sí misma. Y el 09, BiDAF, vuelve a los tramos con otra
# forma de juntar las dos direcciones.
#
# ### Referencias
#
# - Xiong, C., Zhong, V. y Socher, R. (2017). *Dynamic Coattention Networks for Question Answering*. ICLR.
# - Xiong, C., Zhong, V. y Socher, R. (2018). *DCN+: Mixed Objective and Deep Residual Coattention for Question Answering*. ICLR. (Las rondas.)
# - Lu, J., et al. (2016). *Hierarchical Question-Image Co-Attention for Visual Question Answering*. NeurIPS. (El nombre de coatención.)
# - Goodfellow, I., et al. (2013). *Maxout Networks*. ICML. (Quedarse con la mayor de varias versiones.)
# - Srivastava, R. K., Greff, K. y Schmidhuber, J. (2015). *Highway Networks*. arXiv:1505.00387. (Los atajos.)

# %% [markdown]
# ## 12. Opcional: con datos de verdad
#
# **XQuAD** (CC BY-SA 4.0) son 1190 preguntas sobre 240 párrafos de Wikipedia, traducidos a mano al español; la respuesta es un tramo del párrafo. Los textos
# de la lección tienen dos tramos plausibles, de una a cinco palabras, y la pista de la pregunta está pegada a la respuesta. ¿Y los de verdad? Esta
# sección no entrena: cuenta. Como tramos plausibles de un párrafo se toman las respuestas a **todas** sus preguntas, y como pistas, las palabras de la
# pregunta de más de tres letras.


# %% tags=["skip-execution"]
def words_of(text):
    return re.findall(r"\w+", text.lower())


def locate(words, answer):
    """El primer tramo `(principio, fin)` que dice `answer`, con el fin incluido; None si no está."""
    last = len(answer) - 1
    starts = (i for i in range(len(words) - last) if words[i : i + last + 1] == answer)
    return next(((i, i + last) for i in starts), None)


def read_paragraphs(path):
    """Los párrafos: sus palabras y, de cada pregunta que se puede señalar, `(question, span)`."""
    with open(path, encoding="utf-8") as file:
        articles = json.load(file)["data"]
    for paragraph in (p for article in articles for p in article["paragraphs"]):
        words = words_of(paragraph["context"])
        asked = [
            (words_of(qa["question"]), locate(words, words_of(qa["answers"][0]["text"])))
            for qa in paragraph["qas"]
        ]
        yield words, [(question, span) for question, span in asked if span]


def to_clue(words, question, span):
    """A cuántas palabras del tramo está la pista más cercana; infinito si no hay ninguna."""
    clues = [i for i, word in enumerate(words) if len(word) > 3 and word in question]
    return min((max(span[0] - i, i - span[1], 0) for i in clues), default=math.inf)


# %% [markdown]
# Las cuentas. La última línea elige, entre los tramos plausibles de su párrafo, el que tiene una pista más cerca (los empates, a suertes); a su lado, elegir
# uno cualquiera.

# %% tags=["skip-execution", "nbval-ignore-output"]
xquad = real_data(XQUAD_ES)
if xquad:
    rows = []  # por pregunta: palabras de la respuesta, distancia, tramos plausibles y los más cercanos
    for words, asked in read_paragraphs(xquad):
        spans = {span for _, span in asked}
        for question, span in asked:
            far = {other: to_clue(words, question, other) for other in spans}
            nearest = [other for other in spans if far[other] == min(far.values())]
            hit = (span in nearest) / len(nearest)
            tempted = any(far[other] <= far[span] for other in spans - {span})
            rows.append((span[1] - span[0] + 1, far[span], len(spans), tempted, hit))
    sizes, distances, plausible, tempted, hits = zip(*rows)
    total = len(rows)
    long = sum(size > 5 for size in sizes) / total
    print(f"{total} preguntas; tramos plausibles en su párrafo, {sum(plausible) / total:.1f}")
    print(f"respuestas de más de cinco palabras: {long:.2f}; la más larga, {max(sizes)}")
    print(
        f"distancia mediana de la respuesta a una pista: {sorted(distances)[total // 2]} palabras"
    )
    lost = sum(distance > 10 for distance in distances) / total
    print(f"sin ninguna pista a diez palabras o menos: {lost:.2f}")
    print(f"otro tramo plausible tiene una pista igual de cerca, o más: {sum(tempted) / total:.2f}")
    chance = sum(1 / count for count in plausible) / total
    print(f"elegir el de la pista más cercana: {sum(hits) / total:.2f}; al azar: {chance:.2f}")
    assert 0.1 < long < 0.25 and 0.05 < lost < 0.2 and 0.5 < sum(tempted) / total < 0.8
    assert chance + 0.1 < sum(hits) / total < 0.7

# %% [markdown]
# Lo que se mantiene: la respuesta suele tener una pista al lado, y hay otros tramos tan plausibles que **solo la pregunta decide**. Lo que cambia es el
# tamaño. No son dos tramos, sino unos cinco por párrafo; en dos de cada tres preguntas, otro tiene una pista igual de cerca, o más; y en una
# de cada nueve no hay ninguna a diez palabras de la respuesta: hay que relacionar sitios alejados del texto. Fijarse solo en la cercanía acierta más
# que el azar, y falla más de la mitad de las veces, aun cuando se le dan hechos los tramos. El lector de la lección tendría que
# encontrarlos, y los hay de más de treinta palabras.
#
# No hemos entrenado la red de este cuaderno con texto de verdad, así que no sabemos si iterar la ayudaría, como dicen Xiong et al. El programa que
# aprende a señalar tramos, con las preguntas de SQuAD-es, es el de BiDAF: `python real_data/bidaf_xquad.py`.
