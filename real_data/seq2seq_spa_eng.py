"""El traductor del cuaderno 01 con frases de verdad: de inglés a español, y BLEU.

    python real_data/seq2seq_spa_eng.py [--minutes 8] [--steps 2500] [--seed 0]

Frases cortas de Tatoeba, en minúsculas y con los signos aparte. Las de prueba no comparten ni una
frase inglesa con las de entrenamiento, y valen todas las traducciones que tengan en el archivo.
El entrenamiento acaba con los pasos o con el tiempo, lo que llegue antes.
"""

import argparse
import time
from itertools import takewhile, zip_longest
from types import ModuleType

import torch
from data import SPA_ENG, fetch, load
from sacrebleu import corpus_bleu

EMBEDDING, HIDDEN = 128, 256
LONGEST = 8  # palabras y signos de la frase inglesa
TESTED = 1000
BATCH = 64


def translations(nb: ModuleType, model: torch.nn.Module, rows: list, known: dict) -> list[str]:
    """Lo que escribe el modelo para cada frase, con la decodificación voraz."""
    written = []
    for begin in range(0, len(rows), BATCH):
        src, src_lengths = nb.pad_rows(rows[begin : begin + BATCH])
        found, _ = nb.translate(model, src, src_lengths, max_len=3 * LONGEST)
        written += [" ".join(sentence) for sentence in nb.to_words(found, known)]
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8, help="tiempo para aprender, como mucho")
    parser.add_argument("--steps", type=int, default=2500, help="pasos, como mucho")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    nb = load("01_atencion_global")
    device = nb.pick_device()
    train, test = nb.read_translations(fetch(SPA_ENG), LONGEST, TESTED, args.seed)
    learned = [(source, target) for source, targets in train for target in targets]
    english = nb.number_words(source for source, _ in train)
    spanish = nb.number_words(target for _, target in learned)
    print(f"{len(learned)} parejas para aprender y {len(test)} frases de prueba, en {device};")
    print(f"vocabularios: {len(english)} y {len(spanish)} palabras")

    nb.set_seed(args.seed)
    sizes = len(english) + nb.UNKNOWN + 1, len(spanish) + nb.UNKNOWN + 1
    model = nb.build_translator(nb.Attention, EMBEDDING, HIDDEN, sizes).to(device)
    begin = time.perf_counter()
    sources, targets = zip(*learned, strict=True)
    rows = nb.to_rows(sources, english), nb.to_rows(targets, spanish, (nb.START, nb.END))
    endless = nb.similar_batches(*rows, BATCH, args.seed)
    groups = takewhile(lambda _: time.perf_counter() < begin + 60 * args.minutes, endless)
    losses = nb.fit(
        model, groups, nb.translation_loss, steps=args.steps, lr=3e-3, label="traductor"
    )
    minutes = (time.perf_counter() - begin) / 60
    print(f"{len(losses)} pasos en {minutes:.1f} minutos; pérdida final {losses[-1]:.2f}")

    written = translations(nb, model, nb.to_rows([source for source, _ in test], english), spanish)
    golds = [[" ".join(target) for target in targets] for _, targets in test]
    streams = [list(stream) for stream in zip_longest(*golds)]  # una columna por traducción
    print(corpus_bleu(written, streams, tokenize="none", force=True))
    for (source, _), text, gold in list(zip(test, written, golds, strict=True))[:8]:
        print(f"  {' '.join(source)}  →  {text}   ({gold[0]})")


if __name__ == "__main__":
    main()
