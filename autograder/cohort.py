"""Corregir todas las entregas de un curso, una tras otra, y anotarlas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import sqlalchemy.exc

from autograder import gradebook
from autograder.assignments import Assignment
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import GradedNotebook, grade_notebook
from autograder.isolation.warm import shared_server
from autograder.notebooks import read


@dataclass(frozen=True)
class Outcome:
    """Lo que pasó con una entrega: su nota, o por qué no se pudo corregir."""

    student: str
    seconds: float
    graded: GradedNotebook | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Los números, listos para `json.dumps`."""
        grades = self.graded.to_json() if self.graded else {}
        return {
            "student": self.student,
            "seconds": round(self.seconds, 2),
            "error": self.problem,
            **grades,
        }


def grade_submissions(course: Course, name: str) -> Iterator[Outcome]:
    """Corrige y anota cada entrega de `submitted/`; una que falla no detiene a las demás.

    Raises:
        CourseError: si no existe la entrega, nadie ha entregado o no se puede anotar.
    """
    assignment = Assignment.load(name, course)
    found = gradebook.submissions(course, name)
    if not found:
        raise CourseError(f"No hay entregas en {course.folder('submitted')}/*/{name}.")
    shared_server(course.limits.isolated)  # si no se puede aislar, mejor saberlo antes de empezar
    try:
        gradebook.register(course, assignment)
        for student, path in found.items():
            start = perf_counter()
            graded, problem = None, ""
            try:
                graded = _grade_and_record(course, assignment, student, path)
            except CourseError as error:
                problem = str(error).replace(f"{course.root}/", "")
            except sqlalchemy.exc.SQLAlchemyError:
                raise
            except Exception as error:  # lo que haya en una carpeta no detiene a las demás
                problem = (
                    f"No se pudo anotar ({type(error).__name__}: {error}): revisa los demás "
                    "archivos de su carpeta, como timestamp.txt."
                )
            yield Outcome(student, perf_counter() - start, graded, problem)
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error))
        raise CourseError(
            f"No se puede usar el libro de notas ({course.directory.db_url}): {reason}. "
            "Lo ya anotado sigue ahí; arréglalo y repite la orden."
        ) from None


def _grade_and_record(
    course: Course, assignment: Assignment, student: str, path: Path
) -> GradedNotebook:
    try:
        submission = read(path)
    except CourseError:
        if path.exists():
            gradebook.record_unreadable(course, assignment.name, student)
        raise
    graded = grade_notebook(submission, assignment, course.limits)
    gradebook.record(course, assignment, student, graded)
    return graded
