"""El modelo de lenguaje del cuaderno 07 con el Quijote: perplejidad, con atención y sin ella.

    python real_data/lm_quijote.py [--steps 450] [--seeds 0 1 2]

El libro se parte por orden: los dos últimos veinteavos son la validación y la prueba. Las palabras
que salen menos de cinco veces al entrenar son desconocidas: todas la misma, que también se predice
y se cuenta. Los modelos leen en trozos: cada palabra se predice con 16 a 31 delante. Los n-gramas
de Kneser-Ney, con el mismo vocabulario y el mismo texto, hacen de línea base. Con `--seed 0`, una
semilla.
"""

import argparse
import time
from types import ModuleType

import torch
from data import QUIJOTE, fetch, load

LEAST = 5  # veces que ha de salir una palabra para entrar en el vocabulario
EMBEDDING, HIDDEN = 96, 192
LENGTH, BATCH, RATE = 32, 32, 1e-2
COUNTED = {1: "palabras sueltas", 2: "parejas", 3: "tríos"}
CONDITIONS = {"LSTM": 0, "sin partir": 1, "clave-valor-predicción": 3}  # trozos de la salida


def read_data(nb: ModuleType, device: torch.device) -> tuple[list[torch.Tensor], int]:
    """Entrenamiento, validación y prueba, y cuántos números hay: las palabras y el relleno."""
    *parts, vocabulary = nb.read_book(fetch(QUIJOTE), LEAST)
    return [part.to(device) for part in parts], len(vocabulary) + nb.UNKNOWN + 1


def train(nb: ModuleType, parts: int, size: int, ids: torch.Tensor, steps: int) -> torch.nn.Module:
    """Un modelo de `parts` trozos, entrenado con el texto."""
    model = nb.KeyValuePredictLM(size, EMBEDDING, HIDDEN, parts=parts).to(ids.device)
    nb.start_at_frequencies(model, ids)
    batches = nb.window_batches(ids, LENGTH, BATCH)
    nb.fit(model, batches, nb.lm_loss, steps=steps, lr=RATE, label="entrenando")
    return model


def show(label: str, validation: float, test: float, note: str = "") -> None:
    print(f"{label:<34}{validation:10.1f}{test:10.1f}   {note}", flush=True)


def nearby(nb: ModuleType, model: torch.nn.Module, ids: torch.Tensor) -> str:
    near, even = nb.weight_nearby(model, ids, LENGTH)
    return f"peso en las 5 anteriores: {near:.2f} (a partes iguales, {even:.2f})"


def summary(values: list[float]) -> str:
    mean = sum(values) / len(values)
    return f"media {mean:.1f}, de {min(values):.1f} a {max(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=450, help="pasos de cada modelo")
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    begin = time.perf_counter(), time.process_time()
    torch.set_num_threads(1)
    nb = load("07_clave_valor_prediccion")
    device = nb.pick_device()
    (known, validation, test), size = read_data(nb, device)
    unknown = (test == nb.UNKNOWN).float().mean().item()
    print(f"{len(known)} palabras para aprender y {len(test)} de prueba, en {device};")
    print(f"vocabulario: {size - 1}, y las desconocidas son el {unknown:.1%} de la prueba")

    print(f"{'perplejidad':<34}{'validación':>10}{'prueba':>10}")
    for order, name in COUNTED.items():
        counted = nb.KneserNey(known.tolist(), order, size - 1)
        show(name, *(counted.perplexity(part.tolist()) for part in (validation, test)))
    found: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for seed in args.seeds:
        for name, parts in CONDITIONS.items():
            nb.set_seed(seed)
            model = train(nb, parts, size, known, args.steps)
            both = [nb.text_perplexity(model, part, LENGTH) for part in (validation, test)]
            show(f"{name}, semilla {seed}", *both, nearby(nb, model, test) if parts else "")
            found[name].append(both[1])
    for name, values in found.items():
        print(f"{name:<34}prueba: {summary(values)}")
    minutes = [
        (now - then) / 60
        for now, then in zip((time.perf_counter(), time.process_time()), begin, strict=True)
    ]
    print(f"{minutes[0]:.1f} minutos ({minutes[1]:.1f} de CPU) en {device}")


if __name__ == "__main__":
    main()
