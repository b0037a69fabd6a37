"""Corregir una entrega: de un cuaderno y su entrega, al cuaderno corregido y sus puntos.

`grade_notebook` es la única puerta: no toca ni archivos del curso ni el libro de notas.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearOutput
from nbgrader.utils import compute_checksum, determine_grade, is_locked, is_solution

from autograder.assignments import Assignment, is_manual, prelude
from autograder.checks import MIME_TYPE, CheckResult, checks_of
from autograder.execution import execute
from autograder.limits import Limits
from autograder.notebooks import grade_id
from autograder.recovery import recover


@dataclass(frozen=True)
class ExerciseResult:
    """La nota de una celda con puntos; `points` es None si la tiene que poner una persona."""

    grade_id: str
    points: float | None
    max_points: float
    manual: bool = False
    checks: tuple[CheckResult, ...] = ()
    message: str = ""


class Scored:
    """Lo que tiene la nota de cada ejercicio, en `exercises`."""

    exercises: tuple[ExerciseResult, ...]

    @property
    def points(self) -> float:
        """Los puntos de las celdas que se corrigen solas."""
        return sum(e.points or 0.0 for e in self.exercises if not e.manual)

    @property
    def max_points(self) -> float:
        """Los puntos posibles de las celdas que se corrigen solas."""
        return sum(e.max_points for e in self.exercises if not e.manual)

    @property
    def pending(self) -> list[str]:
        """Las celdas que esperan la nota de una persona."""
        return [e.grade_id for e in self.exercises if e.points is None]

    def to_json(self) -> dict[str, Any]:
        """Los números, listos para `json.dumps`."""
        return {
            "points": self.points,
            "max_points": self.max_points,
            "exercises": [asdict(exercise) for exercise in self.exercises],
        }


@dataclass(frozen=True)
class GradedNotebook(Scored):
    """Un cuaderno corregido: con sus salidas, y con la nota de cada celda."""

    notebook: NotebookNode
    exercises: tuple[ExerciseResult, ...]
    recovered: tuple[str, ...]  # lo que hubo que devolverle antes de corregirlo

    @property
    def unanswered(self) -> list[str]:
        """Las celdas de respuesta que se dejaron como estaban."""
        cells = [cell for cell in self.notebook.cells if is_solution(cell)]
        return [str(grade_id(c)) for c in cells if compute_checksum(c) == _checksum(c)]


def grade_notebook(
    submission: NotebookNode, assignment: Assignment, limits: Limits | None = None
) -> GradedNotebook:
    """Corrige una entrega.

    Las celdas de pruebas son siempre las de `assignment`; de la entrega cuentan las respuestas.
    """
    recovered = recover(submission, assignment)
    restored = restore(recovered.notebook, assignment)
    # Quien ha cambiado algo antes del primer ejercicio lo verá ejecutado desde el principio.
    unchanged = prelude(restored) == assignment.prelude
    executed = execute(restored, limits or Limits(), assignment.prelude if unchanged else ())
    for cell in executed.cells:  # un aviso en stderr no le cuesta la nota a nadie
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return GradedNotebook(executed, tuple(_score(executed, assignment)), recovered.notes)


# --- Poner las pruebas en su sitio ----------------------------------------------------------------


def restore(recovered: NotebookNode, assignment: Assignment) -> NotebookNode:
    """Una copia de una entrega ya recuperada, sin salidas y con las pruebas de `assignment`."""
    notebook, _ = ClearOutput().preprocess(copy.deepcopy(recovered), {})
    notebook.metadata["kernelspec"] = assignment.notebook.metadata["kernelspec"]
    official = {grade_id(cell): cell for cell in assignment.notebook.cells if grade_id(cell)}
    for cell in notebook.cells:
        if original := official.get(grade_id(cell)):
            cell.metadata = copy.deepcopy(original.metadata)
            cell.source = original.source if is_locked(original) else cell.source
    return notebook


# --- Poner la nota --------------------------------------------------------------------------------


def _score(executed: NotebookNode, assignment: Assignment) -> list[ExerciseResult]:
    cells = {grade_id(cell): cell for cell in executed.cells if grade_id(cell)}
    return [
        _score_cell(cells.get(grade_id(original)), original, assignment.name)
        for original in assignment.graded_cells
    ]


def _score_cell(
    cell: NotebookNode | None, original: NotebookNode, assignment: str
) -> ExerciseResult:
    identifier = str(grade_id(original))
    max_points = float(original.metadata["nbgrader"]["points"])
    if cell is None:  # una respuesta escrita que se borró
        return ExerciseResult(identifier, 0.0, max_points, True, message="Falta la respuesta.")
    points, _ = determine_grade(cell)
    if is_manual(original):
        return ExerciseResult(identifier, points, max_points, True)
    error = _error_message(cell)
    results = _reported_checks(cell) if not error else None
    if results is None:
        results = [
            CheckResult(c.name, 0.0, c.points, False, error or "No se llegó a ejecutar.")
            for c in checks_of(assignment, identifier)
        ]
    return ExerciseResult(identifier, points, max_points, False, tuple(results), error)


def _checksum(cell: NotebookNode) -> str | None:
    """El resumen que nbgrader guardó de una celda al repartirla."""
    return cell.metadata["nbgrader"].get("checksum")


def _reported_checks(cell: NotebookNode) -> list[CheckResult] | None:
    """Lo que dio cada comprobación, como lo dejó `autograder.checks.grade` en la salida."""
    for output in reversed(cell.outputs):
        report = output.get("data", {}).get(MIME_TYPE)
        if report:
            return [CheckResult(**result) for result in report["checks"]]
    return None


def _error_message(cell: NotebookNode) -> str:
    """Por qué se detuvo una celda de pruebas, en una línea; vacío si llegó al final."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if not errors:
        return ""
    error = errors[-1]
    if error.ename == "NotImplementedError":
        return f"Está sin resolver: {error.evalue}".rstrip(": ") + "."
    if error.ename in ("AssertionError", "TiempoAgotado", "ProgramaCerrado"):
        return error.evalue or "Falló una prueba visible."
    return f"Las pruebas se detuvieron con {error.ename}: {error.evalue}"
