"""Lo que comparten las medidas: cronometrar, la memoria máxima y una tabla en Markdown."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_seconds(action: Callable[[], object], repeats: int = 7) -> float:
    """La mediana de unas repeticiones, tras una que no cuenta."""
    action()
    return statistics.median(seconds(action) for _ in range(repeats))


def peak_megabytes(action: Callable[[], object]) -> float:
    """Lo más que ocupan a la vez los tensores que crea una acción, también los intermedios.

    Lo cuenta PyTorch, petición a petición: la memoria del proceso no sirve, porque lo liberado no
    vuelve siempre al sistema.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        action()
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(size for _, size in changes), default=0) / 2**20


def table(header: Iterable[str], rows: Iterable[Iterable[str]], texts: int = 1) -> str:
    """Una tabla en Markdown: las `texts` primeras columnas son texto; las demás, números."""
    header = list(header)
    lines = [header, ["---"] * texts + ["---:"] * (len(header) - texts), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float) -> str:
    """Un número con tres cifras significativas, y sin exponente."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def ratio(slow: float, fast: float) -> str:
    return f"**{digits(slow / fast)}×**"
