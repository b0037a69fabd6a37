"""Cuántas entregas por minuto, frente a `nbgrader autograde`, y en qué se va el tiempo.

    python benchmarks/throughput.py [ENTREGAS]

La misma clase, de entregas honradas y distintas, se corrige con nbgrader recién instalado y con
este curso, con uno y con dos trabajadores: órdenes enteras, en procesos nuevos. Los puntos se
comparan celda a celda.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from itertools import cycle, islice, zip_longest
from pathlib import Path

import nbformat
import psutil
import torch
from measuring import ROOT, digits, ratio, table
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade, is_solution

from autograder.assignments import Assignment
from autograder.course import Course
from autograder.execution import execute
from autograder.grading import grade_notebook, restore
from autograder.limits import Limits
from tests.support import filled, published, solved_cells

NAME = "06_autoatencion"
VARIANTS = import_module(f"tests.checks.variants.{NAME}").EXERCISES
FILE = f"{NAME}.ipynb"
ORDERS = {"nbgrader autograde": 0, "grade --workers 1": 1, "grade --workers 2": 2}
STOCK_CONFIG = """
c = get_config()
load_subconfig("nbgrader_config.py", path={root!r})
from nbgrader.converters import Autograde
c.Autograde.autograde_preprocessors = Autograde.autograde_preprocessors.default()
c.Autograde.sanitize_preprocessors = Autograde.sanitize_preprocessors.default()
"""


def honest_class(size: int) -> list[NotebookNode]:
    """Entregas de todas las clases: perfectas, con errores en 1a y en 1b, a medias y vacías."""
    empty, solutions = published("release", NAME), solved_cells(NAME)
    only_1a = {name: text for name, text in solutions.items() if name.startswith("ej1a")}
    answers = [solutions, only_1a, {}]
    for both in zip_longest(*VARIANTS.values()):
        chosen = [variant.answer(NAME) for variant in both if variant]
        answers.append(solutions | {k: v for answer in chosen for k, v in answer.items()})
        if len(answers) % 5 == 0:
            answers.append(only_1a)
        if len(answers) % 11 == 0:
            answers.append({})
    return [filled(empty, answer) for answer in islice(cycle(answers), size)]


def make_course(folder: Path, notebooks: list[NotebookNode], stock: bool = False) -> Path:
    """Un curso con esas entregas, con nuestra configuración o con la de nbgrader."""
    shutil.copytree(ROOT / "source" / NAME, folder / "source" / NAME)
    for index, notebook in enumerate(notebooks):
        place = folder / "submitted" / f"estudiante_{index:04}" / NAME
        place.mkdir(parents=True)
        nbformat.write(notebook, place / FILE)
    if stock:
        (folder / "nbgrader_config.py").write_text(STOCK_CONFIG.format(root=str(ROOT)))
    run("nbgrader", "generate_assignment", NAME, "--course-dir", str(folder))  # crea el libro
    return folder


def run(module: str, *arguments: str) -> float:
    """Los segundos que tarda una orden entera."""
    start = time.perf_counter()
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return time.perf_counter() - start


def scores(course: Path) -> dict[tuple[str, str], float | None]:
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            (submission.student.id, grade.name): grade.auto_score
            for submission in book.assignment_submissions(NAME)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def core_seconds() -> float:
    """Los segundos de procesador de este proceso y de los que han nacido de él."""
    tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in tree)


def cost(action, repeats: int = 10) -> float:
    """Los segundos de procesador de una acción, de media."""
    action()
    start = core_seconds()
    for _ in range(repeats):
        action()
    return (core_seconds() - start) / repeats


def breakdown(notebook: NotebookNode) -> dict[str, float]:
    """En qué se van los segundos de procesador de una entrega, midiendo cada vez algo más."""
    assignment, limits = Assignment.load(NAME, Course()), Limits()
    prelude = assignment.prelude
    torch.set_num_threads(1)  # como en un trabajador
    restored = restore(notebook, assignment)
    nothing = nbformat.v4.new_notebook(metadata=restored.metadata)
    untested = copy.copy(restored)
    untested.cells = [c for c in restored.cells if not is_grade(c) or is_solution(c)]
    kernel = cost(lambda: execute(nothing, limits, prelude))
    cells = cost(lambda: execute(untested, limits, prelude))
    tests = cost(lambda: execute(restored, limits, prelude))
    whole = cost(lambda: grade_notebook(notebook, assignment, limits))
    return {
        "arrancar y cerrar el kernel": kernel,
        "sus celdas": cells - kernel,
        "pruebas y llamadas": tests - cells,
        "restaurar y puntuar": whole - tests,
    }


def measure(size: int) -> tuple[dict[str, list[float]], bool, int]:
    """Los segundos de cada orden con una entrega y con todas, y si los puntos coinciden."""
    notebooks = honest_class(size)
    times: dict[str, list[float]] = {}
    points = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, workers in ORDERS.items():
            times[name] = []
            for count in (1, size):
                folder = Path(temporary) / f"{workers}-{count}"
                course = make_course(folder, notebooks[:count], not workers)
                order = ["autograde", NAME] if not workers else ["grade", NAME]
                order += ["--workers", str(workers)] if workers else []
                module = "autograder" if workers else "nbgrader"
                times[name].append(run(module, *order, "--course-dir", str(course)))
            points[name] = scores(course)
    stock, *ours = points.values()
    return times, all(found == stock for found in ours), len(stock)


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    times, same, cells = measure(size)
    whole = {name: both[1] for name, both in times.items()}
    steady = {name: (both[1] - both[0]) / (size - 1) for name, both in times.items()}
    stock = next(iter(ORDERS))
    rows = [
        [
            f"`{name}`",
            f"{one:.1f}",
            f"{everything:.1f}",
            digits(60 * size / everything),
            ratio(whole[stock], everything),
            f"{steady[name]:.2f}",
            ratio(steady[stock], steady[name]),
        ]
        for name, (one, everything) in times.items()
    ]
    header = ["orden", "con una (s)", f"con {size} (s)", "por minuto", "razón"]
    print(table([*header, "s de cada una, sin el arranque", "razón"], rows))
    verdict = "los mismos" if same else "DISTINTOS"
    print(f"\nPuntos de {cells} celdas, {verdict} con las tres órdenes.")
    print("\nSegundos de procesador de una entrega resuelta:\n")
    parts = breakdown(filled(published("release", NAME), solved_cells(NAME)))
    print(table(["en qué se van", "s"], [[what, f"{cost:.3f}"] for what, cost in parts.items()]))


if __name__ == "__main__":
    main()
