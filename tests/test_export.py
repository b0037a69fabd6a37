"""Llevar las notas a Moodle y Canvas: la hoja se lee como la leerían ellos, o Excel."""

import csv
import logging
import re
import shutil
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbgrader.api import Gradebook

from autograder.lms.export import CanvasExporter, Column, MoodleExporter, _write, safe

NAME, LATER = "06_autoatencion", "07_clave_valor_prediccion"
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
LOG = logging.getLogger("prueba_de_notas")


@pytest.fixture
def book(tmp_path, empty_gradebook):
    """Cuatro personas: al día, con retraso, sin corregir del todo y sin entregar."""
    path = shutil.copy(empty_gradebook, tmp_path)
    with Gradebook(f"sqlite:///{path}") as book:
        for assignment in (NAME, LATER):
            book.add_assignment(assignment)
            book.add_notebook(assignment, assignment)
            cell = {"max_score": 10, "cell_type": "code"}
            book.add_grade_cell("prueba", assignment, assignment, **cell)
        book.add_student("estudiante_01", first_name="Ana", last_name="Gil", lms_user_id="501")
        book.add_student("estudiante_02", first_name="Luz", last_name="Mar; y Sol, Ña")
        book.add_student("503", email="tres@ejemplo.org")
        book.add_student("=estudiante_04")
        add(book, "estudiante_01", 7.25)
        add(book, "estudiante_02", 8.0, penalty=1.5)
        add(book, "503", 3.0, pending=True)
        yield book


def add(book, student, score, penalty=None, pending=False):
    submission = book.add_submission(NAME, student)
    submission.timestamp = datetime(2026, 3, 1)
    (notebook,) = submission.notebooks
    notebook.late_submission_penalty = penalty
    (grade,) = notebook.grades
    grade.auto_score, grade.needs_manual_grade = score, pending
    book.db.commit()


def export(exporter, book, path, **settings) -> list[list[str]]:
    """Las celdas, como las vería una hoja de cálculo de ese país: sin BOM, con su separador."""
    exporter(to=str(path), log=LOG, **settings).export(book)
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    separator = "," if settings.get("locale") == "es_MX" else ";"
    return list(csv.reader(data.decode("utf-8-sig").splitlines(), delimiter=separator))


def canvas_reads(text: str) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Lo que lee Canvas, según `lib/gradebook_importer.rb`: los puntos posibles y las notas."""
    lines = text.splitlines()
    counts = {}
    for separator in ";,":
        try:
            sizes = {
                len(next(csv.reader([x], delimiter=separator, strict=True))) for x in lines[:3]
            }
        except csv.Error:
            sizes = set()
        counts[separator] = sizes.pop() if len(sizes) == 1 else 0
    separator = ";" if counts[";"] > counts[","] else ","
    kept = [line for line in lines if not re.fullmatch(r"[;, ]+", line)]
    header, *rows = [
        [canvas_number(c) for c in row]
        for row in csv.reader(kept, delimiter=separator, strict=True)
    ]
    assert "Student" in header[0]
    assert "ID" in header[1]
    assert header[2:5] == ["SIS User ID", "SIS Login ID", "Section"]
    possible, grades = {}, {}
    for row in rows:
        columns = dict(zip(header[5:], row[5:], strict=True))
        if "Points Possible" in row[0]:
            possible = columns
        else:
            who = next(cell for cell in (row[1], row[2], row[3], row[0]) if cell)
            grades |= {(who, name): grade for name, grade in columns.items()}
    return possible, grades


def canvas_number(cell: str) -> str:
    if not re.fullmatch(r"-?[0-9.,]+%?", cell):
        return cell
    *whole, last = re.split("[,.]", cell)
    return f"{''.join(whole)}.{last}" if whole else last


@pytest.mark.parametrize("locale", ["es_ES", "es_AR", "es_CO", "es_MX", "es_PE"])
def test_canvas_finds_everything(book, tmp_path, locale):
    path = tmp_path / "canvas.csv"
    CanvasExporter(to=str(path), log=LOG, locale=locale).export(book)
    possible, grades = canvas_reads(path.read_text(encoding="utf-8"))
    assert {name: float(points) for name, points in possible.items()} == {NAME: 10, LATER: 10}
    assert grades["501", NAME] == "7.25"
    assert grades["estudiante_02", NAME] == "6.5"
    assert grades["503", NAME] == ""
    assert {grade for (_, name), grade in grades.items() if name == LATER} == {""}


def test_moodle_sheet(book, tmp_path):
    header, *rows = export(MoodleExporter, book, tmp_path / "notas.csv")
    person = ["Nombre", "Apellido(s)", "Número de ID", "Dirección de correo", "Nombre de usuario"]
    assert header == [*person, NAME, LATER]
    found = {row[4]: row for row in rows}
    assert found["estudiante_01"] == ["Ana", "Gil", "501", "", "estudiante_01", "7,25", ""]
    assert found["estudiante_02"][1:6:4] == ["Mar; y Sol, Ña", "6,5"]
    assert found["503"][5] == ""
    assert found["'=estudiante_04"][5] == ""


@pytest.mark.parametrize(
    ("locale", "seven"), [("es_ES", "7,25"), ("es-AR", "7,25"), ("es_MX", "7.25")]
)
def test_decimal_sign_and_separator(book, tmp_path, locale, seven):
    rows = export(MoodleExporter, book, tmp_path / "notas.csv", locale=locale)
    assert [row[5] for row in rows if row[4] == "estudiante_01"] == [seven]


def test_pending_grades_are_counted(book, tmp_path, caplog):
    export(MoodleExporter, book, tmp_path / "a.csv")
    assert (
        f"Entregas de {NAME} con preguntas sin corregir a mano: 1. Van vacías; con "
        "--MoodleExporter.provisional=True, con los puntos que llevan." in caplog.messages
    )
    rows = export(MoodleExporter, book, tmp_path / "b.csv", provisional=True)
    assert [row[5] for row in rows if row[4] == "503"] == ["3"]


def test_what_could_not_be_graded_is_no_zero(book, tmp_path, caplog):
    add(book, "=estudiante_04", None, pending=True)
    rows = export(MoodleExporter, book, tmp_path / "a.csv", provisional=True)
    assert [row[5] for row in rows if row[4] == "'=estudiante_04"] == [""]
    assert f"Entregas de {NAME} sin corregir: 1. Van vacías." in caplog.messages


def test_moodle_warns_of_blank_identifiers(book, tmp_path, caplog):
    export(MoodleExporter, book, tmp_path / "a.csv")
    assert any("«Dirección de correo» falta en 3 de 4 filas" in line for line in caplog.messages)


def test_only_what_is_asked(book, tmp_path):
    rows = export(
        MoodleExporter,
        book,
        tmp_path / "a.csv",
        assignment=[NAME],
        student=["503", "estudiante_01"],
    )
    assert rows[0][5:] == [NAME]
    assert {row[4] for row in rows[1:]} == {"503", "estudiante_01"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"locale": "xx_YY"}, "xx_YY"),
        ({"locale": "español de España"}, "es_ES"),
        ({"assignment": ["06_autoatenzion"]}, "06_autoatenzion"),
        ({"to": "falta/notas.csv"}, "falta/notas.csv"),
        ({"to": "ya.csv"}, "ya existe"),
    ],
)
def test_mistakes_are_one_line(book, tmp_path, monkeypatch, caplog, settings, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ya.csv").write_text("mío", encoding="utf-8")
    with pytest.raises(SystemExit):
        MoodleExporter(log=LOG, **settings).export(book)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert said in line
    assert "\n" not in line
    assert (tmp_path / "ya.csv").read_text(encoding="utf-8") == "mío"
    assert {path.name for path in tmp_path.iterdir()} == {"ya.csv", "gradebook.db"}


@given(st.lists(st.text(max_size=20), min_size=4, max_size=4), st.floats(0, 1000))
@pytest.mark.parametrize("exporter", [CanvasExporter, MoodleExporter])
def test_any_text_stays_in_its_cell(tmp_path_factory, exporter, texts, score):
    texts = [text.encode(errors="replace").decode() for text in texts]
    student = SimpleNamespace(
        id="e1", first_name=texts[0], last_name=texts[1], email=texts[2], lms_user_id=texts[3]
    )
    column = Column(NAME, 10.0, {"e1": score})
    path = tmp_path_factory.getbasetemp() / "hoja.csv"
    _write(path, exporter(log=LOG).rows([student], [column]), ";")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=";", strict=True))
    assert {len(row) for row in rows} == {6}
    assert {safe(texts[2]), safe(texts[3])} <= set(rows[-1])
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[-1])
    assert float(rows[-1][-1].replace(",", ".")) == pytest.approx(score, abs=1e-5)
