"""Lo que comparten los programas de esta carpeta: los datos reales y los cuadernos."""

import contextlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "notebooks")]

from apoyo import BABI, QUIJOTE, SPA_ENG, SQUAD_ES, SQUAD_ES_DIST, XQUAD_ES, real_data  # noqa: E402

from autograder.notebooks import load  # noqa: E402

__all__ = [
    "BABI",
    "QUIJOTE",
    "SPA_ENG",
    "SQUAD_ES",
    "SQUAD_ES_DIST",
    "XQUAD_ES",
    "fetch",
    "load",
]


def fetch(source: tuple[str, str, str]) -> Path:
    """La ruta del archivo, descargado si hace falta; si no se puede, acaba con una línea."""
    with contextlib.redirect_stdout(sys.stderr):
        path = real_data(source)
    return path or sys.exit(1)
