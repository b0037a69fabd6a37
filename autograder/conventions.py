"""Los nombres que el curso fija: sus carpetas y las etiquetas de las celdas."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MASTERS = ROOT / "notebooks"
HELPERS = "apoyo"  # el módulo de notebooks/ con lo que comparten los cuadernos
COVERS = ROOT / "docs" / "img"

EXPORT_TAG = "export"  # la celda solo importa, define o fija constantes
SKIP_TAG = "skip-execution"  # la de nbclient: al corregir, la celda no se ejecuta
COVER_TAG = "portada"  # su figura va a docs/img/
