"""Herramientas de las pruebas: leer el curso, y rellenar un cuaderno y corregirlo sin kernel."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute
from nbgrader.utils import determine_grade, is_grade, is_solution

from autograder.assignments import Assignment, is_manual
from autograder.checks import checks_of, run_checks
from autograder.conventions import ROOT
from autograder.grading import restore
from autograder.inlining import inline_helpers
from autograder.isolation.provisioner import SandboxKernelManager
from autograder.isolation.warm import shared_server
from autograder.masters import HIDDEN_REGION, read_master
from autograder.notebooks import grade_id, load, read

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
PROGRAMS = [
    path
    for folder in ("notebooks", "autograder", "real_data", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

Edits = list[tuple[str, str]]


@dataclass(frozen=True)
class Variant:
    """Una respuesta (la solución con cambios, o reescrita) y las comprobaciones que debe perder."""

    name: str
    cell: str
    edits: Edits = field(default_factory=list)
    source: str = ""
    loses: frozenset[str] = frozenset()

    def answer(self, notebook: str) -> dict[str, str]:
        """El código que pone en su celda."""
        if self.source:
            return {self.cell: f"# ejercicio: {self.cell}\n{self.source}"}
        source = solved_cells(notebook)[self.cell]
        for old, new in self.edits:
            assert source.count(old) == 1, f"{self.name}: «{old}» está {source.count(old)} veces"
            source = source.replace(old, new)
        return {self.cell: source}


def wrong(name: str, cell: str, *edits: tuple[str, str], loses: Iterable[str]) -> Variant:
    """Una respuesta incorrecta: la solución con esos cambios, y lo que pierde."""
    return Variant(name, cell, list(edits), loses=frozenset(loses))


def markdown_of(path: Path) -> str:
    """El Markdown de un documento, o el de un cuaderno."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def published(folder: str, name: str) -> NotebookNode:
    """El cuaderno `name` de source, release o solutions."""
    return read(ROOT / folder / name / f"{name}.ipynb")


def solved_cells(name: str) -> dict[str, str]:
    """El código de cada celda de solución, resuelto."""
    cells = published("solutions", name).cells
    return {str(grade_id(c)): c.source for c in cells if is_solution(c) and c.cell_type == "code"}


def filled(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """Una copia con esas respuestas en sus celdas."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if grade_id(cell) in answers:
            cell.source = answers[str(grade_id(cell))]
    return notebook


class WarmExecute(Execute):
    """El `Execute` de nbgrader, sin aislar nada, pero con un kernel que nace por fork.

    Importar PyTorch en cada uno serían 2 s más.
    """

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.shutdown_kernel = "immediate"

    def create_kernel_manager(self) -> SandboxKernelManager:
        limits = {"memory": 2 * 2**30, "disk": 2**28, "processes": 64}
        self.km = SandboxKernelManager(shared_server(isolated=False), limits)
        return self.km


def stock_grade(
    notebook: NotebookNode, assignment: Assignment, folder: str = ".", step: Execute | None = None
) -> tuple[float, NotebookNode]:
    """Lo que haría nbgrader recién instalado, todo en un mismo kernel: sus puntos y el cuaderno."""
    step = step or WarmExecute(timeout=30)
    with contextlib.suppress(DeadKernelError, RuntimeError, CellTimeoutError):
        step.preprocess(restore(notebook, assignment), {"metadata": {"path": folder}})
    graded = [cell for cell in step.nb.cells if is_grade(cell) and not is_manual(cell)]
    return sum(determine_grade(cell)[0] or 0 for cell in graded), step.nb


def lost_checks(name: str, variant: Variant, seed: int = 0) -> dict[str, str]:
    """Las comprobaciones que pierde una respuesta, y por qué, sin kernel ni cuaderno.

    Se miran las de su ejercicio y las que dice perder. Como en una entrega, si falla una prueba
    visible se pierden todas las de su celda.
    """
    master = _master(name)
    namespace = vars(load(master))
    for source in variant.answer(name).values():
        exec(compile(source, "<respuesta>", "exec"), namespace)
    lost = {}
    for cell in master.cells:
        if not is_grade(cell) or is_solution(cell):
            continue
        names = {check.name for check in checks_of(name, grade_id(cell))}
        if exercise_of(grade_id(cell)) == exercise_of(variant.cell) or names & variant.loses:
            lost |= _lost_in_cell(name, cell, namespace, seed)
    return lost


def exercise_of(grade_id: str) -> str:
    """El ejercicio de una celda: `ej2a` es el de `ej2a_mascara`."""
    return grade_id.partition("_")[0]


@cache
def _master(name: str) -> NotebookNode:
    return inline_helpers(read_master(name))


def _lost_in_cell(name: str, cell: NotebookNode, namespace: dict, seed: int) -> dict[str, str]:
    checks = checks_of(name, grade_id(cell))
    hidden = HIDDEN_REGION.search(cell.source)
    try:
        exec(compile(cell.source[: hidden.start()], f"<{grade_id(cell)}>", "exec"), namespace)
    except Exception as error:
        return {c.name: f"prueba visible: {error}" for c in checks}
    call = ast.parse(hidden.group(1)).body[-1].value
    arguments = [namespace[argument.id] for argument in call.args[2:]]
    return {r.name: r.message for r in run_checks(checks, *arguments, seed=seed) if not r.passed}
