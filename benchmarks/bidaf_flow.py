"""El flujo de atención de BiDAF, frente al que construye el vector de cada pareja de palabras.

    python benchmarks/bidaf_flow.py

Tiempo, hacia delante y con el gradiente, y memoria máxima, en tamaños como los del artículo; cada
versión se mide en su propio proceso, con un hilo. Los dos dan lo mismo: se compara con decimales
de 64 bits, para que el redondeo no cuente.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autograder.notebooks import load  # noqa: E402

B, T, Q, D = 32, 400, 40, 100
REPEATS = 5


def expanding_version(flow: nn.Module) -> nn.Module:
    """La misma capa, con los mismos pesos, que calcula w·[c; q; c∘q] pareja a pareja."""

    def similarity(context: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        shape = (len(context), context.size(1), question.size(1), context.size(2))
        c, q = context[:, :, None].expand(shape), question[:, None].expand(shape)
        joined = torch.cat([flow.W_c.weight, flow.W_q.weight, flow.W_cq.weight], dim=1)
        return (torch.cat([c, q, c * q], dim=-1) @ joined.T).squeeze(
            -1
        )  # [B, T, Q, 6d] → [B, T, Q]

    flow.similarity = similarity
    return flow


def build(expanding: bool) -> tuple[nn.Module, list[torch.Tensor]]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    flow = load("09_bidaf").AttentionFlow(D)
    lengths = [(torch.randint(1, size + 1, (B,)), size) for size in (T, Q)]
    masks = [torch.arange(size) < length[:, None] for length, size in lengths]
    inputs = [torch.randn(B, T, 2 * D), torch.randn(B, Q, 2 * D), *masks]
    return (expanding_version(flow) if expanding else flow), inputs


def peak_megabytes() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1024


def measure(expanding: bool, results: multiprocessing.Queue) -> None:
    """Segundos hacia delante y con gradiente, y megabytes de más."""
    flow, inputs = build(expanding)
    with torch.no_grad():
        flow(*(tensor[:1] for tensor in inputs))  # lo que se prepara una vez
        Path("/proc/self/clear_refs").write_text("5")  # la memoria máxima vuelve a la de ahora
        before = peak_megabytes()
        flow(*inputs)
        memory = peak_megabytes() - before
        forward = statistics.median(timed(lambda: flow(*inputs)) for _ in range(REPEATS))
    backward = statistics.median(timed(lambda: flow(*inputs).sum().backward()) for _ in range(3))
    results.put((forward, backward, memory))


@torch.no_grad()
def largest_difference(examples: int = 4) -> float:
    """Lo más que se separan las dos salidas, en unos pocos ejemplos y con 64 bits."""
    outputs = []
    for expanding in (False, True):
        flow, inputs = build(expanding)
        some = [tensor[:examples] for tensor in inputs]
        outputs.append(flow.double()(*(t.double() if t.is_floating_point() else t for t in some)))
    return (outputs[0] - outputs[1]).abs().max().item()


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    context = multiprocessing.get_context("spawn")
    found = {}
    for expanding in (False, True):
        results = context.Queue()
        process = context.Process(target=measure, args=(expanding, results))
        process.start()
        found[expanding] = results.get()
        process.join()
    ours, theirs = found[False], found[True]
    print(f"B={B}, T={T}, Q={Q}, d={D}; un hilo; PyTorch {torch.__version__}")
    print(f"{'':<22}{'por partes':>12}{'por parejas':>13}{'razón':>9}")
    rows = {"hacia delante (s)": 3, "con el gradiente (s)": 3, "memoria máxima (MB)": 0}
    for (label, digits), a, b in zip(rows.items(), ours, theirs, strict=True):
        print(f"{label:<22}{a:>12.{digits}f}{b:>13.{digits}f}{b / a:>8.1f}×")
    print(f"mayor diferencia entre las dos salidas: {largest_difference():.1e}")


if __name__ == "__main__":
    main()
