"""Cuántos puntos roba cada ataque: con nbgrader recién instalado y con este curso.

    python benchmarks/hostile.py

Los ataques que dañarían esta máquina sin aislar no se prueban con nbgrader («—»).
"""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

from nbgrader.preprocessors import Execute
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autograder.assignments import Assignment  # noqa: E402
from autograder.course import Course  # noqa: E402
from autograder.grading import grade_notebook  # noqa: E402
from autograder.limits import Limits  # noqa: E402
from tests.hostile.attacks import ATTACKS, NAME, Attack  # noqa: E402
from tests.support import stock_grade  # noqa: E402

SECRET = "SECRETO"
LIMITS = Limits(cell_seconds=4, notebook_seconds=40, memory=700 * 2**20, disk=50 * 2**20)


def main() -> None:
    assignment = Assignment.load(NAME, Course())
    table = Table("Ataque", "nbgrader", "lee o escribe", "aislado", "lee o escribe")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for attack in ATTACKS:
            row = [f"{attack.kind}: {attack.name}"]
            for isolated in (False, True):
                if attack.dangerous and not isolated:
                    row += ["—", "—"]
                    continue
                row += run(attack, assignment, port, isolated)
            table.add_row(*row)
    Console(width=110).print(table)


def run(attack: Attack, assignment: Assignment, port: str, isolated: bool) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        secret, canary = Path(folder, "otra", "entrega.ipynb"), Path(folder, "casa", "gradebook.db")
        for path in (secret, canary):
            path.parent.mkdir()
            path.write_text(SECRET)
        notebook = attack.notebook(str(secret), str(canary))
        for cell in notebook.cells:
            cell.source = cell.source.replace("{port}", port)
        if isolated:
            graded = grade_notebook(notebook, assignment, LIMITS)
            points, executed = graded.points, graded.notebook
        else:
            stock = Execute(timeout=LIMITS.cell_seconds)
            points, executed = stock_grade(notebook, assignment, folder, stock)
        outputs = str([cell.get("outputs") for cell in executed.cells])
        leaked = SECRET in outputs and attack.kind in ("leer", "escribir", "red")
        intact = all(path.exists() and path.read_text() == SECRET for path in (secret, canary))
        return [f"{points:g}", "sí" if leaked or not intact else "no"]


if __name__ == "__main__":
    main()
