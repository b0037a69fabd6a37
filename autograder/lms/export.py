"""Llevar las notas a Moodle o Canvas, con `nbgrader export`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from babel import Locale, UnknownLocaleError
from babel.numbers import format_decimal, get_decimal_symbol
from nbgrader.api import (
    Assignment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Unicode

from autograder.errors import CourseError
from autograder.writing import replacing

Row = list[str]


@dataclass(frozen=True)
class Column:
    """Una entrega: su nombre, lo más que vale y la nota de cada estudiante que tiene una."""

    name: str
    max_score: float
    scores: dict[str, float]


class LmsExporter(ExportPlugin):
    """Una hoja de notas en CSV, que abren bien las hojas de cálculo en español.

    Va vacía la nota de quien no ha entregado, y la de quien tiene preguntas sin corregir a mano:
    qué es eso lo decide el LMS, no un cero. La penalización por retraso se resta, como en nbgrader.
    """

    filename = ""  # adónde, si no se dice `--to`

    locale = Unicode(
        "es_ES",
        help="País de quien abrirá la hoja (es_MX…): decide el signo decimal y el separador.",
    ).tag(config=True)

    provisional = Bool(
        False, help="Incluir las notas con preguntas sin corregir, con los puntos que llevan."
    ).tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Escribe la hoja; si ya existe, no la toca."""
        target = Path(self.to or self.filename)
        try:
            if target.exists():
                raise CourseError(
                    f"{target} ya existe: bórralo, o escribe otro con «--to otro_nombre.csv»."
                )
            separator = ";" if get_decimal_symbol(self._country()) == "," else ","
            columns = [self._column(gradebook, found) for found in self._assignments(gradebook)]
            rows = self.rows(self._students(gradebook), columns)
            _write(target, rows, separator)
        except (CourseError, sa.exc.SQLAlchemyError) as error:
            self.log.error("%s", getattr(error, "orig", error))
            sys.exit(1)
        self.log.info("Notas escritas en %s, separadas con «%s».", target, separator)

    def rows(self, students: list[sa.Row], columns: list[Column]) -> Iterable[Row]:
        """Las filas de la hoja, con su cabecera."""
        raise NotImplementedError

    def number(self, value: float | None) -> str:
        """Un número como se escribe en el país de `locale`, o nada."""
        if value is None:
            return ""
        return format_decimal(value, "0.#####", locale=self._country(), group_separator=False)

    def _country(self) -> Locale:
        try:
            return Locale.parse(self.locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            raise CourseError(
                f"No se conoce el país «{self.locale}»: se escribe como es_ES, es_MX o es_AR."
            ) from None

    def _assignments(self, gradebook: Gradebook) -> list[Assignment]:
        wanted = {str(name) for name in self.assignment}
        found = [a for a in gradebook.assignments if not wanted or a.name in wanted]
        missing = wanted - {assignment.name for assignment in found}
        if missing or not found:
            names = f": {', '.join(sorted(missing))}" if missing else ""
            raise CourseError(f"El libro de notas no tiene esa entrega{names}. Corrígela antes.")
        return found

    def _students(self, gradebook: Gradebook) -> list[sa.Row]:
        wanted = {str(name) for name in self.student}
        table = Student.__table__
        query = sa.select(table).order_by(table.c.last_name, table.c.first_name, table.c.id)
        return [s for s in gradebook.db.execute(query) if not wanted or s.id in wanted]

    def _column(self, gradebook: Gradebook, assignment: Assignment) -> Column:
        """Las notas de una entrega, en una consulta: nbgrader haría varias por estudiante."""
        submission, notebook = SubmittedAssignment, SubmittedNotebook
        graded = sa.exists().where(
            notebook.assignment_id == submission.id,
            Grade.notebook_id == notebook.id,
            sa.or_(Grade.auto_score.is_not(None), Grade.manual_score.is_not(None)),
        )
        query = sa.select(
            submission.student_id,
            submission.score,
            submission.late_submission_penalty,
            submission.needs_manual_grade,
            graded,
        ).where(submission.assignment_id == assignment.id)
        scores, ungraded, pending = {}, 0, 0
        for student, score, penalty, needs_manual_grade, is_graded in gradebook.db.execute(query):
            ungraded += not is_graded
            pending += is_graded and needs_manual_grade
            if is_graded and (self.provisional or not needs_manual_grade):
                scores[student] = max(0.0, score - penalty)
        self._warn_blank(assignment.name, ungraded, pending)
        return Column(assignment.name, assignment.max_score, scores)

    def _warn_blank(self, name: str, ungraded: int, pending: int) -> None:
        if ungraded:
            self.log.warning("Entregas de %s sin corregir: %d. Van vacías.", name, ungraded)
        if not pending:
            return
        option = f"Van vacías; con --{type(self).__name__}.provisional=True, con los puntos que"
        self.log.warning(
            "Entregas de %s con preguntas sin corregir a mano: %d. %s llevan.",
            name,
            pending,
            "Van con los puntos que" if self.provisional else option,
        )


class CanvasExporter(LmsExporter):
    """La hoja que lee Canvas en Calificaciones → Importar.

    Busca a cada persona por el número de Canvas (`lms_user_id` en el libro; si falta, el
    identificador, cuando es un número), y si no, por el identificador, el correo o el nombre.
    """

    filename = "canvas.csv"

    def rows(self, students: list[sa.Row], columns: list[Column]) -> Iterable[Row]:
        """La cabecera, los puntos posibles y una fila por estudiante."""
        header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
        yield header + [safe(column.name) for column in columns]
        blanks = [""] * (len(header) - 1)
        yield ["    Points Possible", *blanks, *(self.number(c.max_score) for c in columns)]
        for student in students:
            names = [name for name in (student.last_name, student.first_name) if name]
            number = student.lms_user_id or (student.id if student.id.isdecimal() else "")
            person = [", ".join(names) or student.id, number, student.id, student.email, ""]
            yield [safe(p) for p in person] + [
                self.number(c.scores.get(student.id)) for c in columns
            ]


class MoodleExporter(LmsExporter):
    """La hoja que lee Moodle en Calificaciones → Importar → Archivo CSV."""

    filename = "moodle.csv"

    def rows(self, students: list[sa.Row], columns: list[Column]) -> Iterable[Row]:
        """La cabecera y una fila por estudiante, con los nombres de columna que usa Moodle."""
        fields = {
            "Nombre": "first_name",
            "Apellido(s)": "last_name",
            "Número de ID": "lms_user_id",
            "Dirección de correo": "email",
            "Nombre de usuario": "id",
        }
        self._warn_blanks(students, fields)
        yield [*fields, *(safe(column.name) for column in columns)]
        for student in students:
            person = [safe(getattr(student, field)) for field in fields.values()]
            yield person + [self.number(column.scores.get(student.id)) for column in columns]

    def _warn_blanks(self, students: list[sa.Row], fields: dict[str, str]) -> None:
        """Moodle da la nota de una fila sin identificar a la persona de la fila anterior."""
        for title in ("Número de ID", "Dirección de correo"):
            blanks = sum(not getattr(student, fields[title]) for student in students)
            if blanks:
                self.log.warning(
                    "«%s» falta en %d de %d filas: no la elijas en Moodle para identificar.",
                    title, blanks, len(students),
                )  # fmt: skip


def safe(text: Any) -> str:
    """Un texto en una sola línea, y que ninguna hoja de cálculo tome por una fórmula."""
    line = " ".join(str(text or "").split())
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def _write(target: Path, rows: Iterable[Row], separator: str) -> None:
    """Escribe la hoja, en UTF-8 y con la marca que Excel necesita para saberlo."""
    with replacing(target, encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
