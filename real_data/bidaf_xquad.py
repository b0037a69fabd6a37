"""BiDAF con español de verdad: aprende de SQuAD-es y se mide con XQuAD.

    python real_data/bidaf_xquad.py [--steps 1000] [--seed 0]

SQuAD-es es una traducción automática de las preguntas de SQuAD; XQuAD, una humana de una parte de
las mismas, que aquí se quita del entrenamiento. Los modelos y las medidas son los del cuaderno 09.
"""

import argparse
import random
import time
from types import ModuleType

import torch
from data import SQUAD_ES, XQUAD_ES, context_vectors, fetch, load

EMBEDDING, CHARACTERS, HIDDEN = 100, 32, 64
LONGEST = 250  # palabras: los contextos más largos (1 de cada 20) no se usan para entrenar
BATCH = 32


def read_data(nb: ModuleType) -> tuple[list, list]:
    """Los ejemplos de entrenamiento (SQuAD-es sin los párrafos de XQuAD) y los de prueba."""
    test = fetch(XQUAD_ES)
    training = nb.read_squad(fetch(SQUAD_ES), skip=nb.question_ids(test))
    return training, nb.read_squad(test)


def batches(nb: ModuleType, data: dict, rng: random.Random):
    """Lotes sin fin, de contextos igual de largos: sin relleno se lee mucho más deprisa.

    Los de un lote se llevan una o dos palabras: se cortan por el más corto, y se quita el ejemplo
    cuya respuesta quedaría fuera.
    """
    lengths = (data["context"] != nb.PAD).sum(1)
    while True:
        order = sorted(range(len(lengths)), key=lambda row: (lengths[row].item(), rng.random()))
        groups = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        for rows in rng.sample(groups, len(groups)):
            shortest = lengths[rows].min()
            kept = [row for row in rows if data["end"][row] < shortest]
            batch = {name: tensor[kept] for name, tensor in data.items()}
            for name in ("context", "context_char"):
                batch[name] = batch[name][:, :shortest]
            yield nb.trimmed(batch)


@torch.no_grad()
def answers(nb: ModuleType, model: torch.nn.Module, examples: list, data: dict) -> list[str]:
    """Lo que responde el modelo a cada pregunta."""
    found = []
    for begin in range(0, len(examples), BATCH):
        batch = nb.trimmed({name: t[begin : begin + BATCH] for name, t in data.items()})
        start, end = model(*(batch[name] for name in nb.INPUTS))
        spans = zip(*nb.decode_span(start, end, batch["context"] != nb.PAD), strict=True)
        some = examples[begin : begin + BATCH]
        found += [e.text(int(s), int(t)) for e, (s, t) in zip(some, spans, strict=True)]
    return found


def first_sentence(example: object) -> str:
    stops = [i for i, token in enumerate(example.context_tokens) if token == "."]
    return example.text(0, stops[0] if stops else len(example.context_tokens) - 1)


def random_span(example: object, rng: random.Random, lengths: list[int]) -> str:
    start = rng.randrange(len(example.context_tokens))
    end = min(start + rng.choice(lengths), len(example.context_tokens)) - 1
    return example.text(start, end)


def report(nb: ModuleType, label: str, predictions: list[str], examples: list) -> None:
    em, f1 = (
        100 * sum(map(metric, predictions, [e.answers for e in examples])) / len(examples)
        for metric in (nb.exact_match, nb.f1_score)
    )
    print(f"{label:<22} EM {em:5.1f}   F1 {f1:5.1f}", flush=True)


def train(nb: ModuleType, model: torch.nn.Module, data: dict, args: argparse.Namespace) -> float:
    """Entrena el modelo y devuelve los minutos que ha tardado."""
    begin = time.perf_counter()
    rng = random.Random(args.seed)
    nb.fit(
        model, batches(nb, data, rng), nb.span_loss, steps=args.steps, lr=2e-3, label="entrenando"
    )
    return (time.perf_counter() - begin) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="pasos de cada modelo")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    nb = load("09_bidaf")
    torch.set_num_threads(1)  # más hilos apenas lo aceleran: las recurrentes son estrechas
    device = nb.pick_device()
    training, test = read_data(nb)
    print(f"{len(training)} preguntas para aprender y {len(test)} para medir, en {device}")

    rng = random.Random(args.seed)
    lengths = [e.end - e.start + 1 for e in training]
    report(nb, "primera oración", [first_sentence(e) for e in test], test)
    report(nb, "tramo al azar", [random_span(e, rng, lengths) for e in test], test)

    nb.set_seed(args.seed)
    vocabulary = nb.build_vocabulary(training)
    contexts = {e.context: e.context_tokens for e in training}.values()
    ids = ([vocabulary.get(token.lower(), nb.UNKNOWN) for token in tokens] for tokens in contexts)
    vectors = context_vectors(ids, len(vocabulary) + 2, EMBEDDING)
    sizes = (EMBEDDING, CHARACTERS, HIDDEN, len(vocabulary) + 2, nb.CHAR_VOCAB_SIZE, vectors)
    short = [e for e in training if len(e.context_tokens) <= LONGEST]
    known, unseen = (
        {name: tensor.to(device) for name, tensor in nb.to_tensors(some, vocabulary).items()}
        for some in (short, test)
    )
    for label, build in {"BiDAF": nb.BiDAF, "BiDAF residual": nb.ResidualBiDAF}.items():
        nb.set_seed(args.seed)
        model = build(*sizes, rnn="lstm").to(device)
        minutes = train(nb, model, known, args)
        report(nb, f"{label}, {minutes:.1f} min", answers(nb, model, test, unseen), test)


if __name__ == "__main__":
    main()
