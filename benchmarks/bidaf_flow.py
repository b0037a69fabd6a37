"""El flujo de atención de BiDAF, frente al que construye el vector de cada pareja de palabras.

    python benchmarks/bidaf_flow.py

Tiempo, hacia delante y con el gradiente, y memoria máxima, en tamaños como los del artículo y con
un hilo. Los dos dan lo mismo: se compara con decimales de 64 bits, para que el redondeo no cuente.
"""

from __future__ import annotations

import torch
from measuring import digits, median_seconds, peak_megabytes, ratio, table
from torch import Tensor, nn

from autograder.notebooks import load

B, T, Q, D = 32, 400, 40, 100


def expanding_version(flow: nn.Module) -> nn.Module:
    """La misma capa, con los mismos pesos, que calcula w·[c; q; c∘q] pareja a pareja."""

    def similarity(context: Tensor, question: Tensor) -> Tensor:
        shape = (len(context), context.size(1), question.size(1), context.size(2))
        c, q = context[:, :, None].expand(shape), question[:, None].expand(shape)
        w = torch.cat([flow.W_c.weight, flow.W_q.weight, flow.W_cq.weight], dim=1)
        return (torch.cat([c, q, c * q], dim=-1) @ w.T).squeeze(-1)  # [B, T, Q, 6d] → [B, T, Q]

    flow.similarity = similarity
    return flow


def build(expanding: bool) -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    flow = load("09_bidaf").AttentionFlow(D)
    lengths = [(torch.randint(1, size + 1, (B,)), size) for size in (T, Q)]
    masks = [torch.arange(size) < length[:, None] for length, size in lengths]
    inputs = [torch.randn(B, T, 2 * D), torch.randn(B, Q, 2 * D), *masks]
    return (expanding_version(flow) if expanding else flow), inputs


def measure(expanding: bool) -> tuple[float, float, float]:
    """Segundos hacia delante y con gradiente, y megabytes."""
    flow, inputs = build(expanding)
    with torch.no_grad():
        memory = peak_megabytes(lambda: flow(*inputs))
        forward = median_seconds(lambda: flow(*inputs), repeats=5)
    backward = median_seconds(lambda: flow(*inputs).sum().backward(), repeats=3)
    return forward, backward, memory


@torch.no_grad()
def largest_difference(examples: int = 4) -> float:
    """Lo más que se separan las dos salidas, en unos pocos ejemplos y con 64 bits."""
    outputs = []
    for expanding in (False, True):
        flow, inputs = build(expanding)
        some = [tensor[:examples] for tensor in inputs]
        outputs.append(flow.double()(*(t.double() if t.is_floating_point() else t for t in some)))
    return (outputs[0] - outputs[1]).abs().max().item()


def main() -> None:
    torch.set_num_threads(1)
    names = ("hacia delante (s)", "con el gradiente (s)", "memoria máxima (MB)")
    measured = zip(names, measure(False), measure(True), strict=True)
    rows = [[name, digits(a), digits(b), ratio(b, a)] for name, a, b in measured]
    print(table([f"B={B}, T={T}, Q={Q}, d={D}", "por partes", "por parejas", "razón"], rows))
    print(f"\nMayor diferencia entre las dos salidas: {largest_difference():.1e}.")


if __name__ == "__main__":
    main()
