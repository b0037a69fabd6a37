"""El traductor del cuaderno 01 con frases de verdad: de inglés a español, y BLEU.

    python real_data/seq2seq_spa_eng.py [--minutes 8] [--steps 2500] [--seed 0]

Frases cortas de Tatoeba, en minúsculas y con los signos aparte. Las de prueba no comparten ni una
frase inglesa con las de entrenamiento, y valen todas las traducciones que tengan en el archivo.
El entrenamiento acaba con los pasos o con el tiempo, lo que llegue antes.
"""

import argparse
import random
import re
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from types import ModuleType

import torch
from data import SPA_ENG, fetch, load
from sacrebleu import corpus_bleu
from torch.nn.utils.rnn import pad_sequence

EMBEDDING, HIDDEN = 128, 256
LONGEST = 8  # palabras y signos de la frase inglesa
TESTED = 1000
BATCH = 64
UNKNOWN = 3  # tras el relleno, el inicio y el fin

Pair = tuple[list[str], list[list[str]]]  # una frase inglesa y sus traducciones


def words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?|[^\w\s]", text.lower())


def read_pairs(seed: int) -> tuple[list[Pair], list[Pair]]:
    """Las parejas que se aprenden y las de prueba, sin frases inglesas en común."""
    found = defaultdict(list)
    with zipfile.ZipFile(fetch(SPA_ENG)) as archive:
        text = archive.read("spa-eng/spa.txt").decode()
    for line in text.splitlines():
        english, spanish = line.split("\t")[:2]
        source = words(english)
        if len(source) <= LONGEST:
            found[" ".join(source)].append(words(spanish))
    pairs = [(source.split(), targets) for source, targets in found.items()]
    random.Random(seed).shuffle(pairs)
    return pairs[TESTED:], pairs[:TESTED]


def vocabulary(sentences: Iterator[list[str]], first: int) -> dict[str, int]:
    """Un número desde `first` para cada palabra que aparece al menos dos veces."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return {word: i for i, word in enumerate((w for w, n in counts.items() if n > 1), start=first)}


def to_rows(sentences: list[list[str]], known: dict[str, int], ends: tuple = ()) -> list:
    """Cada frase, en números; con `ends`, entre sus dos señales."""
    rows = [[known.get(word, UNKNOWN) for word in sentence] for sentence in sentences]
    return [torch.tensor([ends[0], *row, ends[1]] if ends else row) for row in rows]


def batches(sources: list, targets: list, deadline: float, seed: int) -> Iterator[tuple]:
    """Lotes de longitud parecida, hasta que se acabe el tiempo."""
    rng = random.Random(seed)
    order = sorted(range(len(sources)), key=lambda i: (len(sources[i]), len(targets[i])))
    while time.perf_counter() < deadline:
        first = rng.randrange(len(order) - BATCH + 1)
        rows = order[first : first + BATCH]
        src, trg = (pad_sequence([group[i] for i in rows]) for group in (sources, targets))
        yield src, torch.tensor([len(sources[i]) for i in rows]), trg


def translations(nb: ModuleType, model: torch.nn.Module, rows: list, known: dict) -> list[str]:
    """Lo que escribe el modelo para cada frase, con la decodificación voraz."""
    names = {number: word for word, number in known.items()} | {UNKNOWN: "…"}
    written = []
    for begin in range(0, len(rows), BATCH):
        some = rows[begin : begin + BATCH]
        lengths = torch.tensor([len(row) for row in some])
        found, _ = nb.translate(model, pad_sequence(some), lengths, max_len=3 * LONGEST)
        written += [" ".join(names[i] for i in row if i in names) for row in found.T.tolist()]
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8, help="tiempo para aprender, como mucho")
    parser.add_argument("--steps", type=int, default=2500, help="pasos, como mucho")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    nb = load("01_atencion_global")
    device = nb.pick_device()
    train, test = read_pairs(args.seed)
    learned = [(source, target) for source, targets in train for target in targets]
    english = vocabulary((source for source, _ in train), first=UNKNOWN + 1)
    spanish = vocabulary((target for _, target in learned), first=UNKNOWN + 1)
    print(f"{len(learned)} parejas para aprender y {len(test)} frases de prueba, en {device};")
    print(f"vocabularios: {len(english)} y {len(spanish)} palabras")

    nb.set_seed(args.seed)
    sizes = len(english) + UNKNOWN + 1, len(spanish) + UNKNOWN + 1
    model = nb.build_translator(nb.Attention, EMBEDDING, HIDDEN, sizes).to(device)
    begin = time.perf_counter()
    groups = batches(
        to_rows([source for source, _ in learned], english),
        to_rows([target for _, target in learned], spanish, (nb.START, nb.END)),
        begin + 60 * args.minutes,
        args.seed,
    )
    losses = nb.fit(
        model, groups, nb.translation_loss, steps=args.steps, lr=3e-3, label="traductor"
    )
    minutes = (time.perf_counter() - begin) / 60
    print(f"{len(losses)} pasos en {minutes:.1f} minutos; pérdida final {losses[-1]:.2f}")

    written = translations(nb, model, to_rows([source for source, _ in test], english), spanish)
    golds = [[" ".join(target) for target in targets] for _, targets in test]
    streams = [list(stream) for stream in zip_longest(*golds)]  # una columna por traducción
    print(corpus_bleu(written, streams, tokenize="none", force=True))
    for (source, _), text, gold in list(zip(test, written, golds, strict=True))[:8]:
        print(f"  {' '.join(source)}  →  {text}   ({gold[0]})")


if __name__ == "__main__":
    main()
