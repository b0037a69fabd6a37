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
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade, is_solution

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autograder.assignments import Assignment  # noqa: E402
from autograder.course import Course  # noqa: E402
from autograder.execution import execute  # noqa: E402
from autograder.grading import grade_notebook, restore  # noqa: E402
from autograder.limits import Limits  # noqa: E402
from tests.support import filled, published, solved_cells  # noqa: E402

NAME = "06_autoatencion"
VARIANTS = import_module(f"tests.checks.variants.{NAME}").EXERCISES
FILE = f"{NAME}.ipynb"
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


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    notebooks = honest_class(size)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rates, points = {}, {}
        for name, workers in (("nbgrader autograde", 0), ("1 trabajador", 1), ("2", 2)):
            times = []
            for count in (1, size):
                course = make_course(folder / f"{workers}-{count}", notebooks[:count], not workers)
                order = ["autograde", NAME] if not workers else ["grade", NAME]
                order += ["--workers", str(workers)] if workers else []
                module = "autograder" if workers else "nbgrader"
                times.append(run(module, *order, "--course-dir", str(course)))
            rates[name] = (size / times[1], (size - 1) / (times[1] - times[0]))
            points[name] = scores(course)
            whole, steady = rates[name]
            print(
                f"{name:20} {times[1]:6.1f} s en total ({times[0]:.1f} s con una sola entrega); "
                f"{60 * whole:.0f} por minuto, {60 * steady:.0f} sin contar el arranque",
                flush=True,
            )
    stock, one, two = rates.values()
    print(f"{size} entregas; {len(points['2'])} celdas con puntos comparadas")
    print(f"puntos iguales que nbgrader: {points['2'] == points['nbgrader autograde']}")
    print(f"2 trabajadores frente a nbgrader: {two[0] / stock[0]:.1f} veces (orden entera)")
    print(f"                                  {two[1] / stock[1]:.1f} veces (sin el arranque)")
    print(
        f"de 1 a 2 trabajadores: {two[0] / one[0]:.2f} veces; sin el arranque {two[1] / one[1]:.2f}"
    )
    print("segundos de procesador de una entrega resuelta:")
    for what, seconds in breakdown(filled(published("release", NAME), solved_cells(NAME))).items():
        print(f"  {what:30} {seconds:.3f}")


if __name__ == "__main__":
    main()
