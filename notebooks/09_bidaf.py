# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · BiDAF: la atención que fluye en los dos sentidos

# %% [markdown]
# ## 1. Preparación
#
# Primero, lo que el cuaderno importa. Solo hace falta lo que Colab ya trae.

# %% tags=["export"]
import json
import math
import os
import random
import re
import string
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from apoyo import fit, pick_device, plot_losses, set_seed
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# %% [markdown]
# ## 4. Implementación de referencia
#
# ### Qué es palabra y qué es relleno
#
# Las máscaras llegan de muchas maneras: booleanas, con ceros y unos, en decimales. Aquí todas acaban en lo mismo. Y lo que no tiene
# respuesta posible, un contexto o una pregunta sin palabras, se rechaza con una frase, antes de que se convierta en `nan`.


# %% tags=["export"]
def word_mask(mask, x, what):
    """Qué posiciones de `x [B, S, …]` son palabras: bool `[B, S]`.

    Args:
        mask: `[B, S]`, bool o números (0 es relleno); None si no hay relleno.
        what: cómo llamar a `x` en los errores («el contexto»).

    Raises:
        ValueError: si la máscara no es `[B, S]` o en algún ejemplo no queda ninguna palabra.
    """
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    mask = torch.as_tensor(mask, device=x.device) != 0
    if mask.shape != x.shape[:2]:
        raise ValueError(f"La máscara de {what} es {list(mask.shape)}, no {list(x.shape[:2])}.")
    empty = (~mask.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"No hay ninguna palabra en {what} de los ejemplos {empty} del lote.")
    return mask


# %% [markdown]
# ### Leer sin que el relleno se cuele
#
# La misma función del cuaderno 08, con una exigencia más: el relleno va al final, porque `pack_padded_sequence` solo sabe de longitudes.


# %% tags=["export"]
def encode_sequences(rnn, x, mask):
    """Las salidas de una red recurrente `batch_first` que no ve el relleno del final.

    Formas: x `[B, S, E]`, mask bool `[B, S]` → `[B, S, D]`, con ceros en el relleno.

    Raises:
        ValueError: si hay relleno antes de alguna palabra.
    """
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ValueError("El relleno debe ir al final de cada secuencia.")
    packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
    out, _ = rnn(packed)
    return pad_packed_sequence(out, batch_first=True, total_length=x.size(1))[0]


# %% [markdown]
# El artículo lee con LSTM; aquí se puede elegir, y por defecto son GRU, que tienen menos parámetros.


# %% tags=["export"]
def recurrent(kind, input_dim, hidden_dim, num_layers=1, dropout=0.0):
    """Una red recurrente bidireccional: `[B, S, input_dim]` → `[B, S, 2·hidden_dim]`.

    Args:
        kind: `"gru"` o `"lstm"`.
        dropout: el de entre capas; con una sola no hay dónde ponerlo.

    Raises:
        ValueError: si `kind` es otra cosa.
    """
    if kind not in ("gru", "lstm"):
        raise ValueError(f"rnn debe ser «gru» o «lstm», no «{kind}».")
    return (nn.GRU if kind == "gru" else nn.LSTM)(
        input_dim,
        hidden_dim,
        num_layers,
        batch_first=True,
        bidirectional=True,
        dropout=dropout if num_layers > 1 else 0.0,
    )


# %% [markdown]
# ### El flujo de atención
#
# La similitud del artículo, $w^\top[c; q; c \circ q]$, no necesita construir el vector $[c; q; c \circ q]$ de cada pareja, que ocuparía
# $B \times T \times Q \times 6d$ números. Si se parte $w$ en tres, cada trozo se calcula por su lado y el último es un producto de
# matrices.


# %% tags=["export"]
class AttentionFlow(nn.Module):
    """El flujo de atención de BiDAF, en los dos sentidos.

    Args:
        hidden_dim: d; las palabras llegan con 2d números.

    Referencia: Seo et al. (2017), sección 2, «Attention Flow Layer».
    """

    def __init__(self, hidden_dim):
        super().__init__()
        self.W_c = nn.Linear(2 * hidden_dim, 1, bias=False)
        self.W_q = nn.Linear(2 * hidden_dim, 1, bias=False)
        self.W_cq = nn.Linear(2 * hidden_dim, 1, bias=False)
        nn.init.ones_(self.W_cq.weight)  # S empieza siendo casi c · q: dos palabras iguales, alto

    def similarity(self, context, question):
        """S: context `[B, T, 2d]`, question `[B, Q, 2d]` → `[B, T, Q]`."""
        products = (context * self.W_cq.weight) @ question.transpose(1, 2)
        return self.W_c(context) + self.W_q(question).transpose(1, 2) + products

    def weights(self, S, context_mask, question_mask):
        """Los dos repartos: S `[B, T, Q]` → C2Q `[B, T, Q]` y Q2C `[B, T]`."""
        S = S.masked_fill(~question_mask[:, None], float("-inf"))
        best = S.amax(2).masked_fill(~context_mask, float("-inf"))
        return S.softmax(2), best.softmax(1)

    def forward(self, context, question, context_mask=None, question_mask=None):
        """Cada palabra del contexto, con lo que le dice la pregunta.

        Formas:
            context: `[B, T, 2d]`; question: `[B, Q, 2d]`; máscaras: `[B, T]` y `[B, Q]`, bool o
            números (0 es relleno); None, si no hay.

        Returns:
            G `[B, T, 8d]`, con ceros en el relleno.

        Raises:
            ValueError: si el contexto o la pregunta de algún ejemplo no tienen palabras.
        """
        context_mask = word_mask(context_mask, context, "el contexto")
        question_mask = word_mask(question_mask, question, "la pregunta")
        context = context.masked_fill(~context_mask[..., None], 0.0)  # 0 · nan sería nan
        question = question.masked_fill(~question_mask[..., None], 0.0)
        c2q, q2c = self.weights(self.similarity(context, question), context_mask, question_mask)
        attended = c2q @ question  # [B, T, 2d]
        summary = q2c[:, None] @ context  # [B, 1, 2d]
        G = torch.cat([context, attended, context * attended, context * summary], dim=-1)
        return G.masked_fill(~context_mask[..., None], 0.0)


# %% [markdown]
# ### Modelar y señalar
#
# Dos capas recurrentes leen $G$, y cada extremo de la respuesta se señala con una puntuación por palabra. El dropout va donde el
# artículo lo pone: antes de cada capa recurrente y antes de las dos lineales del final.


# %% tags=["export"]
class ModelingLayer(nn.Module):
    """Lee el contexto ya enriquecido con la pregunta.

    Args:
        hidden_dim: d; num_layers: capas; dropout: antes de cada capa; rnn: `"gru"` o `"lstm"`.

    Referencia: Seo et al. (2017), sección 2, «Modeling Layer».
    """

    def __init__(self, hidden_dim, num_layers=2, dropout=0.2, *, rnn="gru"):
        super().__init__()
        self.rnn = recurrent(rnn, 8 * hidden_dim, hidden_dim, num_layers, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, G, mask=None):
        """Formas: G `[B, T, 8d]`, mask `[B, T]` → M `[B, T, 2d]`, con ceros en el relleno."""
        return encode_sequences(self.rnn, self.dropout(G), word_mask(mask, G, "el contexto"))


class OutputLayer(nn.Module):
    """Puntúa dónde empieza y dónde acaba la respuesta: p¹ con [G; M] y p² con [G; M²].

    Args:
        hidden_dim: d; dropout: antes de la recurrente y de las lineales; rnn: `"gru"` o `"lstm"`.

    Referencia: Seo et al. (2017), sección 2, «Output Layer».
    """

    def __init__(self, hidden_dim, dropout=0.2, *, rnn="gru"):
        super().__init__()
        self.rnn = recurrent(rnn, 2 * hidden_dim, hidden_dim)
        self.start = nn.Linear(10 * hidden_dim, 1)
        self.end = nn.Linear(10 * hidden_dim, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, G, M, mask=None):
        """Formas: G `[B, T, 8d]`, M `[B, T, 2d]`, mask `[B, T]` → dos `[B, T]`.

        Returns:
            Puntuaciones (sin softmax) de principio y de fin; menos infinito en el relleno.
        """
        mask = word_mask(mask, G, "el contexto")
        M2 = encode_sequences(self.rnn, self.dropout(M), mask)
        start = self.start(self.dropout(torch.cat([G, M], dim=-1))).squeeze(-1)
        end = self.end(self.dropout(torch.cat([G, M2], dim=-1))).squeeze(-1)
        return start.masked_fill(~mask, float("-inf")), end.masked_fill(~mask, float("-inf"))


# %% [markdown]
# ### De letras a palabras
#
# Una convolución pasa por las letras de cada palabra y se queda con lo más fuerte que encuentra cada filtro. El relleno del final no
# compite: cada filtro mira solo las posiciones con letra.


# %% tags=["export"]
class CharacterCNN(nn.Module):
    """Un vector por palabra, a partir de sus letras.

    Args:
        char_vocab_size: letras (la 0 es el relleno); char_dim: tamaño de sus embeddings.
        output_dim: número de filtros; width: letras que mira cada uno, impar.

    Referencia: Kim (2014); Seo et al. (2017), «Character Embedding Layer».
    """

    def __init__(self, char_vocab_size, char_dim, output_dim, width=5):
        super().__init__()
        self.embedding = nn.Embedding(char_vocab_size, char_dim, padding_idx=0)
        self.conv = nn.Conv1d(char_dim, output_dim, width, padding=width // 2)

    def forward(self, chars):
        """Formas: chars `[B, S, L]` → `[B, S, output_dim]`; sin letras, ceros."""
        letters = chars.flatten(0, 1)  # [B·S, L]
        found = torch.relu(self.conv(self.embedding(letters).transpose(1, 2)))
        found = found.masked_fill((letters == 0)[:, None], 0.0)
        return found.amax(2).unflatten(0, chars.shape[:2])


# %% [markdown]
# La red *highway* decide, canal a canal, cuánto transformar y cuánto dejar pasar.


# %% tags=["export"]
class Highway(nn.Module):
    """`t ∘ ReLU(W x) + (1 − t) ∘ x`, con `t = σ(W_t x)`, en cada capa.

    Args:
        size: tamaño de los vectores; num_layers: capas.

    Referencia: Srivastava et al. (2015).
    """

    def __init__(self, size, num_layers=2):
        super().__init__()
        self.transforms = nn.ModuleList(nn.Linear(size, size) for _ in range(num_layers))
        self.gates = nn.ModuleList(nn.Linear(size, size) for _ in range(num_layers))

    def forward(self, x):
        """Formas: x `[…, size]` → `[…, size]`."""
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            t = torch.sigmoid(gate(x))
            x = t * torch.relu(transform(x)) + (1 - t) * x
        return x


# %% [markdown]
# ### El modelo entero
#
# `forward` son tres pasos con nombre: `read` (leer), `attend` (atender) y `model` (modelar); y al final, señalar. Así, en los
# experimentos y en los ejercicios se cambia uno y nada más.


# %% tags=["export"]
class BiDAF(nn.Module):
    """Señala en un contexto el tramo que responde a una pregunta.

    Args:
        word_dim, char_dim: tamaños de los embeddings de palabra y de letra; char_dim es también lo
            que ocupan las letras de una palabra.
        hidden_dim: d, tamaño de cada sentido de las redes recurrentes.
        vocab_size, char_vocab_size: palabras y letras; la 0 es el relleno.
        embedding_matrix: `[vocab_size, word_dim]`, embeddings ya entrenados; se copian tal cual.
        dropout: antes de cada capa recurrente y de las dos lineales del final.
        rnn: `"gru"` o `"lstm"`, la del artículo.
        highway: si la red highway del artículo pasa por los embeddings.
        modeling_layers: capas que leen G; el artículo usa dos.

    Referencia: Seo et al. (2017), sección 2.
    """

    def __init__(
        self,
        word_dim,
        char_dim,
        hidden_dim,
        vocab_size,
        char_vocab_size,
        embedding_matrix=None,
        *,
        dropout=0.2,
        rnn="gru",
        highway=False,
        modeling_layers=2,
    ):
        super().__init__()
        self.word_embedding = nn.Embedding(vocab_size, word_dim, padding_idx=0)
        if embedding_matrix is not None:
            self.load_embeddings(embedding_matrix)
        self.char_dim = char_dim
        self.char_encoder = CharacterCNN(char_vocab_size, char_dim, char_dim)
        self.highway = Highway(word_dim + char_dim) if highway else nn.Identity()
        self.contextual = recurrent(rnn, word_dim + char_dim, hidden_dim)
        self.attention_flow = AttentionFlow(hidden_dim)
        self.modeling_layer = ModelingLayer(hidden_dim, modeling_layers, dropout, rnn=rnn)
        self.output_layer = OutputLayer(hidden_dim, dropout, rnn=rnn)
        self.dropout = nn.Dropout(dropout)

    def load_embeddings(self, matrix):
        """Copia unos embeddings de palabra `[vocab_size, word_dim]`, fila de relleno incluida.

        Raises:
            ValueError: si la matriz no tiene esa forma.
        """
        matrix, weight = torch.as_tensor(matrix), self.word_embedding.weight
        if matrix.shape != weight.shape:
            wanted = list(weight.shape)
            raise ValueError(f"embedding_matrix es {list(matrix.shape)} y debería ser {wanted}.")
        with torch.no_grad():
            weight.copy_(matrix)

    def embed(self, words, chars=None):
        """Palabras y letras juntas: `[B, S]`, `[B, S, L]` → `[B, S, word_dim + char_dim]`.

        Sin letras, su parte son ceros.
        """
        vectors = self.word_embedding(words)
        if chars is None:
            spelled = vectors.new_zeros(*words.shape, self.char_dim)
        else:
            spelled = self.char_encoder(chars)
        return self.highway(torch.cat([vectors, spelled], dim=-1))

    def read(self, words, chars=None, what="el contexto"):
        """Lee una secuencia: `[B, S]` → vectores `[B, S, 2d]` y su máscara `[B, S]`."""
        mask = word_mask(words != 0, words, what)
        return encode_sequences(self.contextual, self.dropout(self.embed(words, chars)), mask), mask

    def attend(self, C, Q, context_mask, question_mask):
        """Contexto y pregunta leídos → G `[B, T, 8d]`."""
        return self.attention_flow(C, Q, context_mask, question_mask)

    def model(self, G, context_mask):
        """G `[B, T, 8d]` → M `[B, T, 2d]`."""
        return self.modeling_layer(G, context_mask)

    def forward(self, context, query, context_char=None, query_char=None):
        """Puntúa cada palabra como principio y como fin de la respuesta.

        Formas:
            context `[B, T]`, query `[B, Q]`: palabras, con ceros de relleno al final;
            context_char `[B, T, L]`, query_char `[B, Q, L]`: sus letras; las dos o ninguna.

        Returns:
            `start` y `end`, `[B, T]`, sin softmax; menos infinito en el relleno.

        Raises:
            ValueError: si falta la mitad de las letras, si algún contexto o pregunta no tiene
                palabras, o si hay relleno antes de una palabra.
        """
        if (context_char is None) != (query_char is None):
            raise ValueError("Da las letras del contexto y de la pregunta, o ninguna.")
        C, context_mask = self.read(context, context_char, "el contexto")
        Q, question_mask = self.read(query, query_char, "la pregunta")
        G = self.attend(C, Q, context_mask, question_mask)
        return self.output_layer(G, self.model(G, context_mask), context_mask)


# %% [markdown]
# ## 6. Datos
#
# ### Palabras con dirección
#
# Una respuesta es un tramo del texto; el modelo señala palabras. Hace falta pasar de unas a otro sin perder ni una letra: cada palabra
# lleva su principio y su fin en el texto.


# %% tags=["export"]
NUMBER = r"\d+(?:[.,:]\d+)*"
WORD = r"[^\W\d_][\w\u0300-\u036f]*(?:['’][^\W\d_]+)*"
TOKEN = re.compile(rf"{NUMBER}|{WORD}|\w|[^\w\s]")


def tokenize(text):
    """Las palabras y los signos de un texto, y dónde está cada uno: `(tokens, offsets)`.

    «del» y «al» son una palabra; «3,5» y «1.200», también; «¿» y «-» van aparte. Para cada `i`,
    `text[offsets[i][0]:offsets[i][1]] == tokens[i]`.
    """
    found = [(m.group(), m.span()) for m in TOKEN.finditer(text)]
    return [token for token, _ in found], [span for _, span in found]


# %% [markdown]
# Un ejemplo guarda el texto, sus palabras con dirección, la pregunta, las respuestas que se dan por buenas y el tramo de palabras de
# la primera. Los datos de verdad traen a veces la dirección equivocada; entonces se busca la respuesta en el texto, lo más cerca posible.


# %% tags=["export"]
@dataclass(frozen=True)
class QAExample:
    """Una pregunta sobre un contexto: la respuesta son las palabras de `start` a `end`, incluidas."""

    context: str
    context_tokens: list[str]
    offsets: list[tuple[int, int]]
    question_tokens: list[str]
    answers: list[str]
    start: int
    end: int

    def text(self, start, end):
        """El trozo del contexto que va de la palabra `start` a la palabra `end`."""
        return self.context[self.offsets[start][0] : self.offsets[end][1]]


def locate(context, answer, start):
    """Dónde está `answer`: en `start` o, si no, lo más cerca posible; None si no está."""
    if context.startswith(answer, start):
        return start
    places = [m.start() for m in re.finditer(f"(?={re.escape(answer)})", context)]
    return min(places, key=lambda place: abs(place - start), default=None)


def make_example(context, question, answers):
    """El ejemplo, con el tramo de la primera respuesta que está en el contexto; None si ninguna.

    Args:
        answers: parejas `(texto, posición de su primer carácter)`.
    """
    written = [(text, start) for text, start in answers if text]
    places = ((locate(context, text, start), len(text)) for text, start in written)
    place, length = next((found for found in places if found[0] is not None), (None, 0))
    if place is None:
        return None
    tokens, offsets = tokenize(context)
    inside = [i for i, (a, b) in enumerate(offsets) if a < place + length and place < b]
    gold = [text for text, _ in written]
    return QAExample(context, tokens, offsets, tokenize(question)[0], gold, inside[0], inside[-1])


# %% [markdown]
# Con eso, leer un archivo en el formato de SQuAD es recorrerlo.


# %% tags=["export"]
def read_squad(path, counts=None):
    """Los ejemplos de un archivo en formato SQuAD.

    Args:
        counts: si se da, un `Counter` donde apuntar de cuántas preguntas la respuesta estaba en su
            sitio («exactas»), de cuántas se ha encontrado en otro («recolocadas») y cuántas se
            descartan porque no la tienen o no está («descartadas»).
    """
    counts = Counter() if counts is None else counts
    examples = []
    with open(path, encoding="utf-8") as file:
        data = json.load(file)["data"]
    for paragraph in (p for article in data for p in article["paragraphs"]):
        context = paragraph["context"]
        for qa in paragraph["qas"]:
            answers = [(a["text"], a["answer_start"]) for a in qa["answers"]]
            example = make_example(context, qa["question"], answers)
            if example is None:
                counts["descartadas"] += 1
                continue
            exact = any(text and context.startswith(text, start) for text, start in answers)
            counts["exactas" if exact else "recolocadas"] += 1
            examples.append(example)
    return examples


# %% [markdown]
# ### Una tarea en la que la pregunta decide
#
# Cada texto dice de tres personas lo mismo: qué llevó cada una, adónde fue o cuándo llegó. Y cada pregunta nombra a las tres.


# %% tags=["export"]
PEOPLE = ["Ana", "Luis", "Marta", "Pedro", "Lucía", "Diego", "Elena", "Hugo", "Rosa", "Iván"]
KINDS = {
    "qué": {
        "verbs": ["llevó", "compró", "pidió"],
        "questions": ["qué llevó", "qué compró", "qué cosa pidió"],
        "answers": [
            "pan", "miel", "queso", "dos libros", "una tarta", "tres velas", "el reloj azul",
            "un mapa viejo", "la llave nueva", "una caja de té", "un saco de sal", "el pan de ayer",
        ],
    },
    "dónde": {
        "verbs": ["fue a", "viajó a", "llegó a"],
        "questions": ["adónde fue", "a qué lugar viajó", "a qué sitio llegó"],
        "answers": [
            "casa", "Lima", "Quito", "la fuente", "la sierra", "una isla", "la plaza mayor",
            "la otra orilla", "las minas viejas", "la casa del río", "la huerta de arriba", "Toledo",
        ],
    },
    "cuándo": {
        "verbs": ["salió", "volvió", "partió"],
        "questions": ["cuándo salió", "cuándo volvió", "en qué momento partió"],
        "answers": [
            "ayer", "hoy", "el lunes", "el jueves", "de noche", "al amanecer", "a las tres",
            "en mayo", "antes de comer", "después de la cena", "el martes", "a media tarde",
        ],
    },
}  # fmt: skip
ASIDES = ["Llovía en la plaza.", "Era domingo.", "Nadie dijo nada.", "Hacía frío en la sierra."]
QUESTIONS = [
    "¿{Q} {p}, y no {a} ni {b}?",
    "No pregunto por {a} ni por {b}: ¿{q} {p}?",
    "{a} y {b} quieren saber: ¿{q} {p}?",
    "¿{Q} {p}?, preguntan {a} y {b}.",
]


# %% [markdown]
# Con esas piezas, un texto y su pregunta. La respuesta y su sitio se saben por construcción.


# %% tags=["export"]
def random_story(rng, people=PEOPLE):
    """Un texto, una pregunta, y la respuesta con la posición de su primer carácter."""
    names = rng.sample(people, 3)
    kind = rng.choice(list(KINDS.values()))
    answers = rng.sample(kind["answers"], 3)
    facts = [
        f"{name} {rng.choice(kind['verbs'])} {answer}." for name, answer in zip(names, answers)
    ]
    asked = facts[0]
    sentences = facts + ([rng.choice(ASIDES)] if rng.random() < 0.5 else [])
    rng.shuffle(sentences)
    context, q = " ".join(sentences), rng.choice(kind["questions"])
    question = rng.choice(QUESTIONS).format(
        q=q, Q=q.capitalize(), p=names[0], a=names[1], b=names[2]
    )
    start = context.index(asked) + len(asked) - len(answers[0]) - 1
    return context, question, answers[0], start


def make_stories(count, seed, people=PEOPLE):
    """`count` ejemplos simulados, siempre los mismos con la misma semilla."""
    rng = random.Random(seed)
    stories = (random_story(rng, people) for _ in range(count))
    return [make_example(context, question, [answer]) for context, question, *answer in stories]


# %% [markdown]
# Nombres que nadie ha visto, hechos de sílabas:


# %% tags=["export"]
def make_names(count, seed):
    """`count` nombres inventados, distintos entre sí."""
    rng = random.Random(seed)
    names = set()
    while len(names) < count:
        syllables = [rng.choice("bcdfglmnprstv") + rng.choice("aeiou") for _ in range(3)]
        names.add("".join(syllables).capitalize())
    return sorted(names, key=lambda name: rng.random())


# %% [markdown]
# De palabras a números. La 0 es el relleno y la 1, cualquier palabra que no esté en el vocabulario.


# %% tags=["export"]
PAD, UNKNOWN = 0, 1
CHARS = string.ascii_letters + string.digits + string.punctuation + "áéíóúüñÁÉÍÓÚÜÑ¿¡«»—…"
CHAR_ID = {char: i for i, char in enumerate(CHARS, start=2)}
CHAR_VOCAB_SIZE = len(CHARS) + 2


def build_vocabulary(examples, min_count=1):
    """Un número para cada palabra que aparece al menos `min_count` veces, en minúsculas."""
    counts = Counter(
        token.lower() for e in examples for token in [*e.context_tokens, *e.question_tokens]
    )
    kept = sorted(token for token, times in counts.items() if times >= min_count)
    return {token: i for i, token in enumerate(kept, start=2)}


def word_ids(rows, vocabulary):
    """Listas de palabras → `[B, S]`, con relleno al final."""
    width = max(map(len, rows))
    ids = [[vocabulary.get(token.lower(), UNKNOWN) for token in row] for row in rows]
    return torch.tensor([row + [PAD] * (width - len(row)) for row in ids])


def char_ids(rows, length=12):
    """Las primeras letras de cada palabra: `[B, S, length]`, con relleno al final."""
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, length, dtype=torch.long)
    for row, tokens in zip(ids, rows):
        for cell, token in zip(row, tokens):
            found = [CHAR_ID.get(char, UNKNOWN) for char in token[:length]]
            cell[: len(found)] = torch.tensor(found)
    return ids


# %% [markdown]
# Un conjunto de ejemplos, en tensores.


# %% tags=["export"]
def to_tensors(examples, vocabulary):
    """Los seis tensores de unos ejemplos, en un diccionario.

    Returns:
        `context [N, T]`, `query [N, Q]`, `context_char [N, T, L]`, `query_char [N, Q, L]`, y los
        extremos de la respuesta, `start` y `end`, `[N]`.
    """
    contexts = [e.context_tokens for e in examples]
    questions = [e.question_tokens for e in examples]
    return {
        "context": word_ids(contexts, vocabulary),
        "query": word_ids(questions, vocabulary),
        "context_char": char_ids(contexts),
        "query_char": char_ids(questions),
        "start": torch.tensor([e.start for e in examples]),
        "end": torch.tensor([e.end for e in examples]),
    }


INPUTS = ("context", "query", "context_char", "query_char")


def span_loss(model, batch):
    """La pérdida del artículo: `-ln p¹(principio) - ln p²(fin)`, de media."""
    start, end = model(*(batch[name] for name in INPUTS))
    return F.cross_entropy(start, batch["start"]) + F.cross_entropy(end, batch["end"])


def random_batches(data, size=32):
    """Lotes al azar, sin fin; cada uno, tan ancho como su contexto más largo."""
    while True:
        rows = torch.randint(len(data["start"]), (size,), device=data["start"].device)
        yield trimmed({name: tensor[rows] for name, tensor in data.items()})


def trimmed(batch):
    """El lote sin las columnas que son todo relleno."""
    widths = {name: int((batch[name] != PAD).any(0).sum()) for name in ("context", "query")}
    return {
        name: tensor[:, : widths[name.removesuffix("_char")]] if tensor.dim() > 1 else tensor
        for name, tensor in batch.items()
    }


# %% [markdown]
# ## 10. Ejercicios
#
# ### Ejercicio 4c


# %% tags=["export"]
def decode_span(start, end, mask=None, max_length=15):
    """El tramo con la suma de puntuaciones más alta de entre los posibles.

    Formas: start, end `[B, T]`; mask `[B, T]`, bool o números → `starts [B]`, `ends [B]`, con
    `starts <= ends < starts + max_length`.
    """
    mask = word_mask(mask, start, "el contexto")
    scores = start[:, :, None] + end[:, None, :]  # [B, T, T]: fila, principio; columna, fin
    allowed = torch.ones_like(scores, dtype=torch.bool).triu().tril(max_length - 1)
    allowed = allowed & mask[:, :, None] & mask[:, None, :]
    best = scores.masked_fill(~allowed, float("-inf")).flatten(1).argmax(1)
    return best // start.size(1), best % start.size(1)


# %% [markdown]
# Métricas


# %% tags=["export"]
ARTICLES = {"en": "a|an|the", "es": "el|la|los|las|un|una|unos|unas"}


def normalize_answer(text, language="es"):
    """El texto sin lo que no cuenta: mayúsculas, signos, artículos y espacios de más.

    Args:
        language: `"es"`, o `"en"` para las reglas exactas del programa oficial de SQuAD.

    Raises:
        ValueError: si el idioma es otro.
    """
    if language not in ARTICLES:
        raise ValueError(f"El idioma debe ser «es» o «en», no «{language}».")
    if language == "es":
        text = unicodedata.normalize("NFC", text)
    kept = (char for char in text.lower() if not is_punctuation(char, language))
    return " ".join(re.sub(rf"\b({ARTICLES[language]})\b", " ", "".join(kept)).split())


def is_punctuation(char, language):
    """Si un carácter es un signo de puntuación según las reglas de un idioma."""
    return char in string.punctuation or (
        language == "es" and unicodedata.category(char).startswith("P")
    )


def exact_match(prediction, gold_answers, language="es"):
    """1.0 si la respuesta es una de las buenas, normalizadas; si no, 0.0."""
    found = normalize_answer(prediction, language)
    return float(any(found == normalize_answer(gold, language) for gold in gold_answers))


def f1_score(prediction, gold_answers, language="es"):
    """El F1 de las palabras comunes con la respuesta buena que más se parezca."""
    found = normalize_answer(prediction, language).split()
    golds = [normalize_answer(gold, language).split() for gold in gold_answers]
    return max(overlap(found, gold) for gold in golds)


def overlap(found, gold):
    """F1 de dos listas de palabras; si alguna está vacía, 1.0 si lo están las dos."""
    if not found or not gold:
        return float(found == gold)
    common = sum((Counter(found) & Counter(gold)).values())
    return 2 * common / (len(found) + len(gold))
