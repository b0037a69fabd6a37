"""Anotar notas en el libro de nbgrader, y en `autograded/`, como lo haría `nbgrader autograde`.

Solo escribe aquí quien coordina, con una conexión y por tandas. Las consultas van a las tablas y no
a los objetos de nbgrader, que suman de nuevo las notas de toda la clase cada vez que se leen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from nbgrader.api import (
    Comment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
    new_uuid,
)
from nbgrader.converters import Autograde
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import find_all_files, parse_utc

from autograder.assignments import Assignment, registration_steps
from autograder.course import Course
from autograder.errors import CourseError
from autograder.results import Result

NO_RESPONSE = "No response."  # lo que nbgrader anota en una respuesta que se dejó como estaba


def submissions(course: Course, assignment: str) -> dict[str, Path]:
    """Quién ha entregado, y el cuaderno de cada cual (que quizá no exista), por orden de nombre.

    Raises:
        CourseError: si no ha entregado nadie.
    """
    folders = sorted(course.folder("submitted").glob(f"*/{assignment}"))
    if not folders:
        raise CourseError(f"No hay entregas en {course.folder('submitted')}/*/{assignment}.")
    return {folder.parent.name: folder / f"{assignment}.ipynb" for folder in folders}


def submitted_at(folder: Path) -> datetime | None:
    """La fecha de una entrega, en UTC, si su carpeta la dice.

    Raises:
        CourseError: si dice algo que no es una fecha.
    """
    path = folder / "timestamp.txt"
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
        return parse_utc(text) if text else None
    except (OSError, ValueError, OverflowError):
        raise CourseError(
            f"{path} no tiene una fecha como «2026-03-01 10:00:00 UTC»: corrígela o bórrala."
        ) from None


class Ledger:
    """El libro de notas de una entrega del curso, abierto mientras se corrige.

    Args:
        batch: cuántos resultados se anotan de una vez.

    Raises:
        CourseError: si no se puede usar el libro, o no se puede escribir en `autograded/`.
    """

    def __init__(self, course: Course, assignment: Assignment, batch: int = 16):
        self.course = course
        self.assignment = assignment
        self.batch = batch
        self.waiting: list[Result] = []

    def __enter__(self) -> Ledger:
        with self._explained():
            self._register()
            self.book = Gradebook(self.course.directory.db_url)
            self._load()
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.flush()
        finally:
            self.book.close()

    def add(self, result: Result) -> None:
        """Anota un resultado, junto con los próximos."""
        self.waiting.append(result)
        if len(self.waiting) >= self.batch:
            self.flush()

    def flush(self) -> None:
        """Anota lo que espera: primero las notas, todas o ninguna, y después los cuadernos."""
        results, self.waiting = self.waiting, []
        if not results:
            return
        with self._explained():
            with self.book.engine.begin() as db:
                for result in results:
                    self._record(db, result)
            for result in results:
                self._write_notebook(result)

    def has(self, result: Result) -> bool:
        """Si el libro y `autograded/` ya dicen lo que este resultado.

        Anotarlo otra vez pediría revisar de nuevo las notas puestas a mano.
        """
        if result.problem or not self._is_written(result):
            return False
        expected = {self.cells[e.grade_id]: e.points for e in result.exercises}
        with self._explained(), self.book.engine.connect() as db:
            found = self._find_submission(db, result.student)
            date = self._submitted_at(result.student)
            if found is None or date not in (None, found.timestamp):
                return False
            grades = self._grades(db, self._notebook_of(db, found.id))
        return {grade.cell_id: grade.auto_score for grade in grades} == expected

    # --- El libro ---

    def _register(self) -> None:
        """Anota la entrega, sus celdas y sus puntos, como `nbgrader generate_assignment`."""
        name = self.assignment.name
        with Gradebook(self.course.directory.db_url) as book:
            book.update_or_create_assignment(name)
        steps = registration_steps(self.course)
        try:
            self.course.preprocess(self.assignment.notebook, steps, name)
        except RuntimeError as error:
            if "submissions associated" not in str(error):
                raise
            raise CourseError(
                f"«{name}» ya tiene notas y su cuaderno ha ganado o perdido celdas: guarda una "
                "copia de gradebook.db y bórrala del libro con «nbgrader db assignment remove»."
            ) from None

    def _load(self) -> None:
        """Lo que el libro sabe de la entrega, que no cambia mientras se corrige."""
        assignment = self.book.find_assignment(self.assignment.name)
        notebook = self.book.find_notebook(self.assignment.name, self.assignment.name)
        self.assignment_id, self.notebook_id = assignment.id, notebook.id
        self.duedate = assignment.duedate
        self.cells = {c.name: c.id for c in [*notebook.grade_cells, *notebook.task_cells]}
        self.answers = {c.name: c.id for c in [*notebook.solution_cells, *notebook.task_cells]}
        self.book.db.rollback()  # que no quede una lectura abierta

    def _record(self, db: sa.Connection, result: Result) -> None:
        submission = self._open_submission(db, result.student)
        if result.problem:  # consta que hubo entrega; las notas que tuviera no se tocan
            return
        notebook = self._notebook_of(db, submission.id)
        points = {self.cells[e.grade_id]: e.points for e in result.exercises}
        for grade in self._grades(db, notebook):
            score = points.get(grade.cell_id)
            review = score is None or grade.manual_score is not None
            values = {"auto_score": score, "needs_manual_grade": review}
            _update(db, Grade, grade.id, values)
        unanswered = {self.answers[name] for name in result.unanswered}
        for comment in _of_cells(db, Comment, self.answers, notebook):
            text = NO_RESPONSE if comment.cell_id in unanswered else None
            if comment.auto_comment != text:
                _update(db, Comment, comment.id, {"auto_comment": text})
        self._set_penalty(db, submission, notebook)

    def _open_submission(self, db: sa.Connection, student: str) -> Any:
        """La entrega de alguien en el libro, con su fecha; si no estaba, con sus celdas vacías."""
        date = self._submitted_at(student)
        found = self._find_submission(db, student)
        if found is None:
            if db.execute(sa.select(Student.id).where(Student.id == student)).first() is None:
                db.execute(sa.insert(Student.__table__).values(id=student))
            keys = {"assignment_id": self.assignment_id, "student_id": student}
            submission = _insert(db, SubmittedAssignment, [{**keys, "timestamp": date}])[0]
            keys = {"assignment_id": submission, "notebook_id": self.notebook_id}
            notebook = _insert(db, SubmittedNotebook, [keys])[0]
            for model, cells in ((Grade, self.cells), (Comment, self.answers)):
                rows = [{"cell_id": cell, "notebook_id": notebook} for cell in cells.values()]
                _insert(db, model, rows)
        elif date is not None and date != found.timestamp:
            _update(db, SubmittedAssignment, found.id, {"timestamp": date})
        return self._find_submission(db, student)

    def _find_submission(self, db: sa.Connection, student: str) -> Any:
        table: Any = SubmittedAssignment.__table__
        mine = (table.c.assignment_id == self.assignment_id) & (table.c.student_id == student)
        return db.execute(sa.select(table).where(mine)).first()

    def _notebook_of(self, db: sa.Connection, submission: str) -> str:
        table: Any = SubmittedNotebook.__table__
        mine = (table.c.notebook_id == self.notebook_id) & (table.c.assignment_id == submission)
        return db.execute(sa.select(table.c.id).where(mine)).scalar_one()

    def _grades(self, db: sa.Connection, notebook: str) -> list[Any]:
        return _of_cells(db, Grade, self.cells, notebook)

    def _set_penalty(self, db: sa.Connection, submission: Any, notebook: str) -> None:
        """La penalización por retraso que diga el complemento configurado en nbgrader."""
        late = timedelta()
        if self.duedate is not None and submission.timestamp is not None:
            late = submission.timestamp - self.duedate - (submission.extension or timedelta())
        penalty = None
        if late > timedelta():
            score = sum(_points(grade) for grade in self._grades(db, notebook))
            step = self._penalties
            penalty = step.plugin_inst.late_submission_penalty(
                submission.student_id, score, late.total_seconds()
            )
            penalty = None if penalty is None else min(max(penalty, 0), score)
        _update(db, SubmittedNotebook, notebook, {"late_submission_penalty": penalty})

    @cached_property
    def _penalties(self) -> Any:
        step = AssignLatePenalties(config=self.course.config)
        step.init_plugin()
        return step

    # --- `autograded/` ---

    @cached_property
    def _converter(self) -> Autograde:
        return Autograde(coursedir=self.course.directory, config=self.course.config)

    @cached_property
    def _folders(self) -> dict[str, Path]:
        return {step: self.course.folder(step) for step in ("source", "submitted", "autograded")}

    def _submitted_at(self, student: str) -> datetime | None:
        return submitted_at(self._folders["submitted"] / student / self.assignment.name)

    def _notebook_path(self, student: str) -> Path:
        name = self.assignment.name
        return self._folders["autograded"] / student / name / f"{name}.ipynb"

    def _is_written(self, result: Result) -> bool:
        path = self._notebook_path(result.student)
        return path.exists() and path.read_bytes() == result.notebook.encode()

    def _write_notebook(self, result: Result) -> None:
        """El cuaderno corregido, y los demás archivos de la entrega y de la asignación."""
        if result.problem:
            return
        name, student = self.assignment.name, result.student
        path = self._notebook_path(student)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._copy_files(self._folders["submitted"] / student / name, path.parent, set())
        kept = set(self._converter.exclude_overwriting.get(name, []))
        self._copy_files(self._folders["source"] / name, path.parent, kept)
        partial = path.with_suffix(".parcial")
        partial.write_text(result.notebook, encoding="utf-8")
        partial.replace(path)  # de una vez: nunca queda un archivo a medias
        self._converter.set_permissions(name, student)

    def _copy_files(self, origin: Path, target: Path, kept: set[str]) -> None:
        """Los archivos que no son cuadernos; los enlaces no, que podrían llevar a otro sitio."""
        for file in find_all_files(str(origin), [*self._converter.coursedir.ignore, "*.ipynb"]):
            relative = os.path.relpath(file, origin)
            if relative in kept or Path(file).is_symlink():
                continue
            copied = target / relative
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.unlink(missing_ok=True)
            shutil.copy(file, copied)

    # --- Errores ---

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Los errores del libro y del disco, en una línea."""
        again = "Lo ya corregido está guardado: arréglalo y repite la orden para seguir."
        try:
            yield
        except sqlalchemy.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error))
            if "locked" in reason:
                reason = "otro programa lo tiene ocupado; cierra Formgrader o lo que lo use"
            url = self.course.directory.db_url
            raise CourseError(
                f"No se puede usar el libro de notas ({url}): {reason}. {again}"
            ) from None
        except OSError as error:
            raise CourseError(
                f"No se puede escribir en autograded/: {error.strerror}. {again}"
            ) from None


def _insert(db: sa.Connection, model: Any, rows: list[dict[str, Any]]) -> list[str]:
    """Añade unas filas y devuelve sus identificadores."""
    rows = [{"id": new_uuid(), **row} for row in rows]
    if rows:
        db.execute(sa.insert(model.__table__), rows)
    return [row["id"] for row in rows]


def _update(db: sa.Connection, model: Any, row: str, values: dict[str, Any]) -> None:
    db.execute(sa.update(model.__table__).where(model.__table__.c.id == row).values(values))


def _of_cells(db: sa.Connection, model: Any, cells: dict[str, str], notebook: str) -> list[Any]:
    """Las filas de un cuaderno entregado que corresponden a unas celdas (por el índice que hay)."""
    table = model.__table__
    mine = table.c.cell_id.in_(cells.values()) & (table.c.notebook_id == notebook)
    return list(db.execute(sa.select(table).where(mine)))


def _points(grade: Any) -> float:
    """Los puntos de una celda, como los cuenta nbgrader."""
    given = grade.manual_score if grade.manual_score is not None else grade.auto_score
    return 0.0 if given is None else given + (grade.extra_credit or 0.0)
