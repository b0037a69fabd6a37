"""Preguntas con opciones, en español de verdad: los lectores de los cuadernos 03 y 08.

    python real_data/cloze_squad_es.py [--seeds 0 1 2] [--pretrain 200]

SQuAD-es-dist da un texto, una pregunta y de 3 a 5 tramos del texto, de los que uno responde. Cada
opción recibe la atención de sus palabras: la media en cada aparición, y la suma de todas; la
pérdida compara las opciones entre sí. Antes, `--pretrain` pasos con SQuAD-es, sin los párrafos que
se parecen a los de aquí: las opciones de una pregunta son las respuestas a todas las de su párrafo.
La época se elige con los datos de validación. La lectura de los datos, lo que recibe cada opción y
las reglas sin aprender son las del cuaderno 08.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType

import torch
from data import SQUAD_ES, SQUAD_ES_DIST, context_vectors, fetch, load
from torch.nn import functional as F

EMBEDDING, HIDDEN, DROPOUT = 48, 32, 0.1
BATCH, RATE, EPOCHS = 32, 5e-3, 3
LONGEST = 200  # palabras: los párrafos más largos no se usan para el entrenamiento previo
ALIKE = 0.5  # parte de las palabras que comparten dos textos para tomarlos por el mismo


def alike(words: set[str], others: set[str]) -> bool:
    """Si dos textos comparten tantas palabras que son el mismo."""
    small, large = sorted((len(words), len(others)))
    return small > ALIKE * large and len(words & others) > ALIKE * len(words | others)


def read_paragraphs(nb: ModuleType, path: Path, held: list[tuple]) -> list[tuple]:
    """Las preguntas de SQuAD-es, con las respuestas de su párrafo por opciones.

    Se saltan los párrafos largos, los que se parecen a alguno de `held` y los de una sola opción.
    """
    known = [set(document) for document, *_ in held]
    examples = []
    for paragraph in (p for a in json.loads(path.read_text())["data"] for p in a["paragraphs"]):
        document, _ = nb.words_of(paragraph["context"])
        words = set(document)
        if len(document) > LONGEST or any(alike(words, other) for other in known):
            continue
        asked = {}
        for question in paragraph["qas"]:
            answer, _ = nb.words_of(question["answers"][0]["text"])
            places = nb.occurrences(document, answer) if answer else []
            if places:
                asked.setdefault(tuple(places), nb.words_of(question["question"])[0])
        choices = sorted(asked)
        if len(choices) > 1:
            examples += [(document, asked[c], choices, i) for i, c in enumerate(choices)]
    return examples


def read_data(nb: ModuleType) -> tuple[dict[str, list], list]:
    """Las tres partes de SQuAD-es-dist, y las preguntas de SQuAD-es que no se les parecen."""
    parts = {split: nb.read_choices(fetch(source)) for split, source in SQUAD_ES_DIST.items()}
    held = [example for examples in parts.values() for example in examples]
    return parts, read_paragraphs(nb, fetch(SQUAD_ES), held)


def without_asking(examples: list[tuple]) -> list[tuple]:
    """Los mismos ejemplos, con la misma pregunta para todos."""
    return [(document, ["qué"], *rest) for document, _, *rest in examples]


def share(answers: Iterable[float]) -> float:
    """El acierto (%) de unas respuestas."""
    values = list(answers)
    return 100 * sum(values) / len(values)


def longest(example: tuple) -> int:
    sizes = [places[0][1] - places[0][0] for places in example[2]]
    return sizes.index(max(sizes))


def rules(nb: ModuleType, examples: list[tuple]) -> dict[str, float]:
    """Lo que aciertan (%) las reglas que no aprenden."""
    votes, equal = nb.NearWords(), nb.NearWordsEqualVotes()
    return {
        "al azar": share(1 / len(choices) for _, _, choices, _ in examples),
        "la opción más larga": share(longest(e) == e[-1] for e in examples),
        "la primera en el texto": share(right == 0 for *_, right in examples),
        "la más cerca de la pregunta": share(nb.near_question(e) == e[-1] for e in examples),
        "08 sin aprender": share(nb.choose(votes, e)[0] == e[-1] for e in examples),
        "08 sin aprender, votos iguales": share(nb.choose(equal, e)[0] == e[-1] for e in examples),
    }


def word_vectors(parts: dict, before: list, word_id: dict[str, int]) -> torch.Tensor:
    """Vectores hechos con los textos de los que se aprende; al azar, los de las demás palabras."""
    texts = {tuple(document) for document, *_ in [*before, *parts["training"]]}
    ids = ([word_id[word] for word in document] for document in sorted(texts))
    vectors = context_vectors(ids, len(word_id) + 1, EMBEDDING)
    unseen = vectors.norm(dim=1) < 1e-6
    vectors[unseen] = 0.5 * torch.randn(int(unseen.sum()), EMBEDDING)
    vectors[0] = 0
    return vectors


def fix_vectors(embedding: torch.nn.Embedding, vectors: torch.Tensor) -> None:
    embedding.weight.requires_grad_(False).copy_(vectors)


def sum_reader(vectors: torch.Tensor) -> tuple[torch.nn.Module, Callable]:
    """El lector del cuaderno 03, y la función que da sus pesos."""
    nb = load("03_sum_reader")
    reader = nb.SumReader(len(vectors), EMBEDDING, HIDDEN, DROPOUT)
    fix_vectors(reader.embedding, vectors)

    def attend(documents: torch.Tensor, questions: torch.Tensor) -> torch.Tensor:
        lengths = nb.lengths_of(documents), nb.lengths_of(questions)
        return reader.read(documents, questions, *lengths)[1]

    return reader, attend


def aoa_reader(vectors: torch.Tensor) -> tuple[torch.nn.Module, Callable]:
    """El lector del cuaderno 08, y la función que da sus pesos."""
    nb = load("08_atencion_sobre_atencion")
    attention = nb.AttentionOverAttention(EMBEDDING, HIDDEN, dropout=DROPOUT)
    reader = nb.ClozeReader(attention, EMBEDDING, len(vectors))
    fix_vectors(reader.word, vectors)

    def attend(documents: torch.Tensor, questions: torch.Tensor) -> torch.Tensor:
        return reader.attention(*reader.inputs(documents, questions))[1]

    return reader, attend


class Task:
    """Lo que no cambia de un lector a otro: cómo se hacen los lotes y cómo se puntúa."""

    def __init__(self, nb: ModuleType, word_id: dict[str, int], device: torch.device):
        self.nb, self.word_id, self.device = nb, word_id, device

    def batches(self, examples: list[tuple]) -> Iterator[list[torch.Tensor]]:
        """Los lotes de una vuelta, de textos de longitud parecida, en un orden al azar."""
        ordered = sorted(examples, key=lambda example: len(example[0]))
        groups = [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]
        for group in random.sample(groups, len(groups)):
            yield [t.to(self.device) for t in self.nb.choice_tensors(group, self.word_id)]

    def endless(self, examples: list[tuple]) -> Iterator[list[torch.Tensor]]:
        while True:
            yield from self.batches(examples)

    def scores(self, attend: Callable, batch: list[torch.Tensor]) -> torch.Tensor:
        documents, questions, choices, _ = batch
        return self.nb.choice_scores(attend(documents, questions), choices)

    def train(self, reader: torch.nn.Module, attend: Callable, optimizer, batches) -> None:
        reader.train()
        for batch in batches:
            loss = F.cross_entropy(self.scores(attend, batch), batch[-1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reader.eval()

    @torch.no_grad()
    def accuracy(self, attend: Callable, examples: list[tuple]) -> float:
        """El acierto (%) en unos ejemplos."""
        right: list[float] = []
        for batch in self.batches(examples):
            right += (self.scores(attend, batch).argmax(1) == batch[-1]).tolist()
        return share(right)

    def measure(
        self, reader: torch.nn.Module, attend: Callable, parts: dict, before: list, steps: int
    ) -> tuple[float, float]:
        """Entrena un lector: el acierto en validación de su mejor época, y en la prueba."""
        optimizer = torch.optim.AdamW([p for p in reader.parameters() if p.requires_grad], RATE)
        if steps:
            self.train(reader, attend, optimizer, islice(self.endless(before), steps))
        found = []
        for _ in range(EPOCHS):
            self.train(reader, attend, optimizer, self.batches(parts["training"]))
            found.append([self.accuracy(attend, parts[part]) for part in ("dev", "test")])
        dev, test = max(found, key=lambda pair: pair[0])  # la primera de las mejores épocas
        return dev, test


def report(label: str, dev: Iterable[float], test: Iterable[float]) -> None:
    """Una línea: la media y, si hay varias semillas, de la peor a la mejor."""
    cells = []
    for values in (list(dev), list(test)):
        spread = f" ({min(values):.1f} a {max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{sum(values) / len(values):5.1f}{spread}")
    print(f"{label:<32} {cells[0]:<22} {cells[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pretrain", type=int, default=200, help="pasos con SQuAD-es")
    args = parser.parse_args()
    nb = load("08_atencion_sobre_atencion")
    torch.set_num_threads(1)  # más hilos apenas lo aceleran: las recurrentes son estrechas
    device = nb.pick_device()
    parts, before = read_data(nb)
    sizes = ", ".join(f"{len(examples)} de {split}" for split, examples in parts.items())
    print(f"{sizes}; {len(before)} de SQuAD-es; en {device}")
    print(f"{'acierto (%)':<32} {'validación':<22} prueba")
    dev, test = (rules(nb, parts[part]) for part in ("dev", "test"))
    for label in dev:
        report(label, [dev[label]], [test[label]])

    word_id = nb.word_numbers([e for examples in (*parts.values(), before) for e in examples])
    nb.set_seed(0)
    vectors = word_vectors(parts, before, word_id)
    task = Task(nb, word_id, device)
    blind = {part: without_asking(examples) for part, examples in parts.items()}
    found: dict[str, list] = {}
    for seed in args.seeds:
        for label, build, data, first in (
            ("08 sin pregunta", aoa_reader, blind, without_asking(before)),
            ("03, suma de atención", sum_reader, parts, before),
            ("08, atención sobre atención", aoa_reader, parts, before),
        ):
            nb.set_seed(seed)
            reader, attend = build(vectors)
            reader.to(device)
            figures = task.measure(reader, attend, data, first, args.pretrain)
            found.setdefault(label, []).append(figures)
            report(f"  {label}, semilla {seed}", *([value] for value in figures))
    for label, pairs in found.items():
        report(label, *zip(*pairs, strict=True))
    error = 100 * (0.25 / len(parts["test"])) ** 0.5
    print(f"error típico de un acierto del 50 % con {len(parts['test'])} preguntas: {error:.1f}")
    print(f"{time.process_time() / 60:.1f} minutos de CPU")


if __name__ == "__main__":
    main()
