"""Anotar notas en el libro de nbgrader, y en `autograded/`, como lo haría `nbgrader autograde`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute

from autograder.assignments import Assignment, registration_steps
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import GradedNotebook
from autograder.notebooks import dumps


def register(course: Course, assignment: Assignment) -> None:
    """Anota la entrega, sus celdas y sus puntos, como `nbgrader generate_assignment`.

    Raises:
        CourseError: si el libro tiene entregas corregidas y las celdas ya no son las mismas.
    """
    with Gradebook(course.directory.db_url) as book:
        book.update_or_create_assignment(assignment.name)
    try:
        course.preprocess(assignment.notebook, registration_steps(course), assignment.name)
    except RuntimeError as error:
        if "submissions associated" not in str(error):
            raise
        raise CourseError(
            f"«{assignment.name}» ya tiene notas y su cuaderno ha ganado o perdido celdas: guarda "
            "una copia de gradebook.db y bórrala del libro con «nbgrader db assignment remove»."
        ) from None


def submissions(course: Course, assignment: str) -> dict[str, Path]:
    """Quién ha entregado, y el cuaderno de cada cual (que quizá no exista), por orden de nombre."""
    folders = sorted(course.folder("submitted").glob(f"*/{assignment}"))
    return {folder.parent.name: folder / f"{assignment}.ipynb" for folder in folders}


def record(course: Course, assignment: Assignment, student: str, graded: GradedNotebook) -> None:
    """Anota la nota de una entrega y guarda el cuaderno corregido en `autograded/`.

    Pasa el cuaderno por los preprocesadores de `nbgrader autograde` que van después de ejecutar:
    conservan las notas puestas a mano y aplican las penalizaciones por retraso.
    """
    converter = _open_submission(course, assignment.name, student)
    steps = converter.autograde_preprocessors
    steps = [step for step in steps if not issubclass(step, Execute)]
    notebook = course.preprocess(graded.notebook, steps, assignment.name, student)
    folder = course.folder("autograded") / student / assignment.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{assignment.name}.ipynb"
    partial = path.with_suffix(".parcial")
    partial.write_text(dumps(notebook), encoding="utf-8")
    partial.replace(path)  # de una vez: nunca queda un archivo a medias
    converter.set_permissions(assignment.name, student)


def record_unreadable(course: Course, assignment: str, student: str) -> None:
    """Anota que hubo una entrega que no se pudo leer; no toca las notas que ya hubiera."""
    _open_submission(course, assignment, student)


def _open_submission(course: Course, assignment: str, student: str) -> Autograde:
    """Crea en el libro a quien entrega y su entrega, con su fecha, y copia los demás archivos."""
    directory = course.directory
    directory.assignment_id, directory.student_id = assignment, student
    converter = Autograde(coursedir=directory, config=course.config)
    notebook = course.folder("submitted") / student / assignment / f"{assignment}.ipynb"
    converter.notebooks = [str(notebook)]
    with _quiet(converter.log):
        converter.init_assignment(assignment, student)
    return converter


@contextlib.contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Calla los mensajes de nbgrader que no son errores: los nuestros van en la tabla."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
