"""Lo que comparten los programas de esta carpeta: los datos reales y los cuadernos."""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "notebooks")]

from apoyo import BABI, QUIJOTE, SPA_ENG, SQUAD_ES, SQUAD_ES_DIST, XQUAD_ES, real_data  # noqa: E402

from autograder.notebooks import load  # noqa: E402

WINDOW = 4

__all__ = [
    "BABI",
    "QUIJOTE",
    "SPA_ENG",
    "SQUAD_ES",
    "SQUAD_ES_DIST",
    "XQUAD_ES",
    "context_vectors",
    "fetch",
    "load",
]


def fetch(source: tuple[str, str, str]) -> Path:
    """La ruta del archivo, descargado si hace falta; si no se puede, acaba con una línea."""
    with contextlib.redirect_stdout(sys.stderr):
        path = real_data(source)
    return path or sys.exit(1)


def context_vectors(texts: Iterable[list[int]], size: int, dim: int) -> torch.Tensor:
    """Vectores de palabra hechos con unos textos, ya en números: `[size, dim]`.

    La información mutua (PPMI) entre palabras a menos de `WINDOW` posiciones, y los vectores
    singulares de su raíz. El 0 es el relleno; lo que no sale recibe ceros. Referencia: Levy,
    Goldberg y Dagan (2015), secciones 2 y 3.
    """
    counts: Counter = Counter()
    for ids in texts:
        for distance in range(1, WINDOW + 1):
            counts.update(zip(ids, ids[distance:], strict=False))
    pairs = torch.tensor(list(counts)).T
    times = torch.tensor(list(counts.values()), dtype=torch.float)
    torch.sparse.check_sparse_tensor_invariants.disable()  # sin decirlo, PyTorch avisa
    both = torch.sparse_coo_tensor(
        torch.cat([pairs, pairs.flip(0)], 1), times.repeat(2), (size, size)
    ).coalesce()
    total, word = both.values().sum(), torch.sparse.sum(both, 1).to_dense()
    row, column = both.indices()
    mutual = (both.values() * total / (word[row] * word[column] ** 0.75 * total**0.25)).log()
    ppmi = torch.sparse_coo_tensor(both.indices(), mutual.clamp(min=0), (size, size))
    u, s, _ = torch.svd_lowrank(ppmi.coalesce(), q=dim, niter=4)
    vectors = u * s.sqrt()
    vectors[0] = 0
    return vectors / vectors.norm(dim=1).mean() * dim**0.5 * 0.5
