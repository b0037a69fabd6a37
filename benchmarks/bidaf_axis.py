"""BiDAF y sus controles, cuando S empieza al azar: ¿quién aprende, y en cuántos pasos?

    python benchmarks/bidaf_axis.py [--steps 450] [--seeds 0 1 2]

En la lección, w_cq empieza en unos y S, pareciéndose a c · q: así aprende hasta la softmax por
columnas. Aquí empieza como cualquier otra capa. Los datos, los modelos y la medida (fracción de
tramos exactos con nombres conocidos y con desconocidos) son los del cuaderno 09.
"""

from __future__ import annotations

import argparse

import torch
from measuring import seconds, table

from autograder.notebooks import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    nb = load("09_bidaf")
    data, vocabulary = nb.make_datasets()
    conditions = {
        "BiDAF": {},
        "por columnas": {"flow_class": nb.ColumnFlow},
        "atención uniforme": {"flow_class": nb.UniformFlow},
        "sin pregunta": {"model_class": nb.WithoutQuestion},
    }
    rows = []
    for seed in args.seeds:
        for name, changes in conditions.items():
            nb.set_seed(seed)
            model = nb.build_model(vocab_size=len(vocabulary) + 2, **changes)
            model.attention_flow.W_cq.reset_parameters()
            batches = nb.random_batches(data["train"])
            options = {"steps": args.steps, "lr": 1e-2, "label": name}
            spent = seconds(lambda b=batches, m=model, o=options: nb.fit(m, b, nb.span_loss, **o))
            found = [nb.exact_spans(model, data[group]) for group in ("known", "unknown")]
            rows.append([f"{name}, semilla {seed}", *(f"{x:.3f}" for x in found), f"{spent:.0f}"])
    print(table([f"{args.steps} pasos", "conocidos", "desconocidos", "s"], rows))


if __name__ == "__main__":
    main()
