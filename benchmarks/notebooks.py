"""Lo que tarda cada cuaderno resuelto, entero y como al corregir, sin las celdas de la lección.

    python benchmarks/notebooks.py

Con Jupyter y un hilo por cuaderno; dos a la vez, como en un portátil de dos núcleos.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from measuring import digits, ratio, seconds, table

from autograder.build import NoWidgetsClient
from autograder.conventions import SKIP_TAG
from autograder.masters import master_names
from tests.support import published


def run_seconds(name: str, skipped: str) -> float:
    """Los segundos de un cuaderno, con su kernel, sin las celdas que lleven esa etiqueta."""
    client = NoWidgetsClient(
        published("solutions", name),
        timeout=600,
        kernel_name="python3",
        skip_cells_with_tag=skipped,
    )
    return seconds(client.execute)


def row(name: str) -> list[str]:
    whole, graded = run_seconds(name, skipped=""), run_seconds(name, skipped=SKIP_TAG)
    return [f"`{name}`", digits(whole), digits(graded), ratio(whole, graded)]


def main() -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "ATENCION_DATOS": "", "https_proxy": "127.0.0.1:9"}
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(row, master_names()))
    print(table(["cuaderno", "entero (s)", "como al corregir (s)", "razón"], rows))


if __name__ == "__main__":
    main()
