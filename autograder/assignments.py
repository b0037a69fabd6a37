"""Una entrega del curso tal como la fija quien enseña: sus celdas de pruebas y sus puntos."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ClearHiddenTests, SaveCells
from nbgrader.utils import is_grade, is_solution

from autograder.course import Course
from autograder.errors import CourseError
from autograder.notebooks import grade_id, is_executed, read
from autograder.source import is_python

# La primera línea de una celda de ejercicio o de pruebas, que la nombra.
MARKER = re.compile(r"^(?:# (?:ejercicio|pruebas):|<!-- ejercicio:) *(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Assignment:
    """El cuaderno de `source/` de una entrega, con sus pruebas ocultas."""

    name: str
    notebook: NotebookNode  # la de source/, con las pruebas ocultas
    given: NotebookNode  # la versión de estudiantes

    @classmethod
    def load(cls, name: str, course: Course) -> Assignment:
        """La entrega `name` del curso.

        Raises:
            CourseError: si el curso no la tiene.
        """
        notebook = read(course.source_path(name))
        given = student_version(course, name, notebook)
        steps = [step for step in registration_steps(course) if step is not SaveCells]
        registered = {grade_id(c): c for c in course.preprocess(notebook, steps, name).cells}
        for cell in notebook.cells:
            if grade_id(cell):  # con el checksum se sabe si una respuesta se dejó como estaba
                cell.metadata = registered[grade_id(cell)].metadata
        return cls(name, notebook, given)

    @property
    def prelude(self) -> tuple[str, ...]:
        """El código con el que empieza, igual en todas las entregas que no lo han cambiado."""
        return prelude(self.notebook)

    @property
    def graded_cells(self) -> list[NotebookNode]:
        """Las celdas con puntos, en orden: las de pruebas y las que corrige una persona."""
        return [cell for cell in self.notebook.cells if is_grade(cell)]

    @property
    def grade_ids(self) -> set[str]:
        """Todos los identificadores de nbgrader de la entrega."""
        return {identifier for cell in self.notebook.cells if (identifier := grade_id(cell))}


def registration_steps(course: Course) -> list[type]:
    """Los preprocesadores con los que nbgrader anota una entrega: hasta quitar lo oculto."""
    steps = GenerateAssignment(coursedir=course.directory, config=course.config).preprocessors
    return steps[: steps.index(ClearHiddenTests)]


def student_version(course: Course, name: str, source: NotebookNode) -> NotebookNode:
    """La versión de estudiantes, con los preprocesadores de `nbgrader generate_assignment`."""
    steps = GenerateAssignment(coursedir=course.directory, config=course.config).preprocessors
    return course.preprocess(source, [s for s in steps if s is not SaveCells], name)


def prelude(notebook: NotebookNode) -> tuple[str, ...]:
    """El código que se ejecuta antes del primer ejercicio, hasta donde sea Python y nada más."""
    sources = []
    for cell in takewhile(lambda cell: not (is_solution(cell) or is_grade(cell)), notebook.cells):
        if is_executed(cell):
            sources.append(cell.source)
    return tuple(takewhile(is_python, sources))


def is_manual(cell: NotebookNode) -> bool:
    """Si los puntos de una celda los da una persona."""
    return is_grade(cell) and (is_solution(cell) or cell.cell_type != "code")


def is_of(submission: NotebookNode, assignment: Assignment) -> bool:
    """Si un cuaderno es de esa entrega, por sus metadatos o, si se perdieron, sus ejercicios."""
    name = submission.metadata.get("autograder", {}).get("assignment")
    if name:
        return bool(name == assignment.name)
    found = {identifier for cell in submission.cells if (identifier := grade_id(cell))}
    found |= {match[1] for cell in submission.cells for match in MARKER.finditer(cell.source)}
    return bool(found & assignment.grade_ids)


def recognise(submission: NotebookNode, course: Course) -> Assignment:
    """La entrega del curso a la que corresponde un cuaderno.

    Lo dice el propio cuaderno: el nombre que la construcción guarda en sus metadatos o, si se
    perdió, los identificadores de sus ejercicios, en los metadatos o en la línea que los nombra.

    Raises:
        CourseError: si no es de este curso, o es de una entrega que el curso no tiene.
    """
    name = submission.metadata.get("autograder", {}).get("assignment")
    if name:
        return Assignment.load(name, course)
    for candidate in (Assignment.load(name, course) for name in course.assignments()):
        if is_of(submission, candidate):
            return candidate
    raise CourseError(
        "El cuaderno no es de ninguna entrega de este curso: no tiene su nombre ni sus ejercicios."
    )
