"""Corregir una cohorte: los mismos puntos que nbgrader, y nada que se pierda."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

from autograder.cli import main
from autograder.cohort import grade_cohort
from autograder.conventions import ROOT
from autograder.course import Course, load_config
from autograder.errors import CourseError
from autograder.notebooks import grade_id, read
from demo.cohort import ASSIGNMENT, make_cohort

CONFIG = f"""
c = get_config()
load_subconfig("nbgrader_config.py", path={str(ROOT)!r})
c.Execute.timeout = 12
"""
# Sin nuestras piezas de corrección: como nbgrader recién instalado.
STOCK_CONFIG = f"""{CONFIG}
from nbgrader.converters import Autograde
c.Autograde.autograde_preprocessors = Autograde.autograde_preprocessors.default()
c.Autograde.sanitize_preprocessors = Autograde.sanitize_preprocessors.default()
"""


def make_course(folder: Path, config: str = CONFIG) -> Path:
    make_cohort(folder)
    (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")
    return folder


def nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nbgrader", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)


def scores(course: Path) -> dict[tuple[str, str], tuple]:
    """Lo que el libro dice de cada celda de cada estudiante."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {
            (submission.student.id, grade.name): (
                grade.auto_score,
                grade.manual_score,
                bool(grade.needs_manual_grade),
                grade.max_score,
            )
            for submission in book.assignment_submissions(ASSIGNMENT)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


# Las dos cohortes tardan en corregirse: que todas estas pruebas vayan al mismo proceso.
pytestmark = pytest.mark.xdist_group("cohorte")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """La cohorte corregida con `autograder grade`."""
    folder = make_course(tmp_path_factory.mktemp("nuestra") / "curso")
    outcomes = sorted(
        grade_cohort(Course(folder), ASSIGNMENT, workers=2), key=lambda result: result.student
    )
    return folder, outcomes


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """La misma, corregida con `nbgrader autograde` sin nada nuestro."""
    folder = make_course(tmp_path_factory.mktemp("nbgrader") / "curso", STOCK_CONFIG)
    assert nbgrader(folder, "generate_assignment", ASSIGNMENT).returncode == 0
    nbgrader(folder, "autograde", ASSIGNMENT)  # termina con 1: una entrega no es JSON
    return folder


def test_every_kind_of_submission_gets_what_it_should(ours):
    _, outcomes = ours
    points = {o.student: None if o.problem else o.points for o in outcomes}
    assert points == {
        "estudiante_01": 18.0,  # perfecta
        "estudiante_02": 12.0,  # solo 1a
        "estudiante_03": 0.0,  # vacía
        "estudiante_04": 15.5,  # √E: los pesos y la salida
        "estudiante_05": 17.0,  # causal estricta
        "estudiante_06": 17.0,  # mapa traspuesto
        "estudiante_07": 16.5,  # bucle sin fin
        "estudiante_08": None,  # no es JSON
        "estudiante_09": 0.0,  # tramposa
    }
    assert "no es JSON" in next(o.problem for o in outcomes if o.student == "estudiante_08")


def test_stock_nbgrader_gives_the_same_points(ours, stock):
    mine, theirs = scores(ours[0]), scores(stock)
    cheat = [key for key in mine if key[0] == "estudiante_09"]
    assert sum(mine.pop(key)[0] or 0 for key in cheat) == 0
    assert sum(theirs.pop(key)[0] or 0 for key in cheat) == 18  # por eso hace falta aislar
    assert mine == theirs


def test_nbgrader_autograde_with_our_configuration_is_isolated(ours, tmp_path):
    folder = make_course(tmp_path / "curso")
    for submitted in (folder / "submitted").iterdir():
        if submitted.name not in ("estudiante_04", "estudiante_07"):
            shutil.rmtree(submitted)
    assert nbgrader(folder, "generate_assignment", ASSIGNMENT).returncode == 0
    result = nbgrader(folder, "autograde", ASSIGNMENT)
    assert result.returncode == 0, result.stderr
    expected = {key: value for key, value in scores(ours[0]).items() if key in scores(folder)}
    assert scores(folder) == expected
    path = folder / "autograded/estudiante_04" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    theirs, mine = read(path), read(ours[0] / path.relative_to(folder))
    assert shown(theirs) == shown(mine)


def shown(notebook):
    """Lo que se ve de cada celda desde el primer ejercicio: antes, `grade` no deja salidas."""
    start = next(i for i, cell in enumerate(notebook.cells) if grade_id(cell))
    for cell in notebook.cells[start:]:
        for place in (cell, *cell.get("outputs", [])):
            place.pop("execution_count", None)
    return notebook.cells[start:]


def test_stock_release_is_the_published_one(stock):
    generated = stock / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    published = ROOT / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    assert generated.read_text(encoding="utf-8") == published.read_text(encoding="utf-8")


def test_autograded_notebooks_are_like_stock_ones(ours, stock):
    path = Path("autograded", "estudiante_04", ASSIGNMENT, f"{ASSIGNMENT}.ipynb")
    mine, theirs = read(ours[0] / path), read(stock / path)
    assert [c.source for c in mine.cells] == [c.source for c in theirs.cells]
    for cell in [*mine.cells, *theirs.cells]:
        cell.metadata.pop("execution", None)  # las horas
    assert [c.metadata for c in mine.cells] == [c.metadata for c in theirs.cells]
    assert (ours[0] / path).stat().st_mode == (stock / path).stat().st_mode


def test_feedback_is_in_spanish_and_shows_no_hidden_test(ours):
    folder, _ = ours
    result = nbgrader(folder, "generate_feedback", ASSIGNMENT)
    assert result.returncode == 0, result.stderr
    path = folder / "feedback" / "estudiante_04" / ASSIGNMENT / f"{ASSIGNMENT}.html"
    page = path.read_text(encoding="utf-8")
    assert '<html lang="es">' in page
    assert "Los pesos son los de nn.MultiheadAttention" in page
    assert "¿divides entre √d" in page
    for foreign in ("autograder.checks", "HIDDEN TESTS", "Student's answer", "Score:", "<script"):
        assert foreign not in page
    empty = folder / "feedback" / "estudiante_03" / ASSIGNMENT / f"{ASSIGNMENT}.html"
    assert "Está sin resolver: ej1a_clase" in empty.read_text(encoding="utf-8")


def test_grades_can_be_exported(ours, tmp_path):
    result = nbgrader(ours[0], "export", "--to", str(tmp_path / "notas.csv"))
    assert result.returncode == 0, result.stderr
    assert "estudiante_01" in (tmp_path / "notas.csv").read_text(encoding="utf-8")


def copy_course(folder: Path, target: Path, *students: str) -> Path:
    """Una copia del curso corregido con solo algunas entregas."""
    shutil.copytree(folder, target)
    for submitted in (target / "submitted").iterdir():
        if submitted.name not in students:
            shutil.rmtree(submitted)
    return target


def test_results_as_json(ours, tmp_path, capsys):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02", "estudiante_08")
    order = ["grade", ASSIGNMENT, "--course-dir", str(folder), "--json"]
    assert main([*order, str(tmp_path / "notas.json")]) == 0
    results = json.loads((tmp_path / "notas.json").read_text(encoding="utf-8"))
    assert [s.get("points") for s in results["submissions"]] == [12, None]
    assert "no es JSON" in results["submissions"][1]["error"]
    assert main([*order, str(tmp_path / "no_existe" / "notas.json")]) == 2
    assert "Las notas ya están en el libro" in capsys.readouterr().err


def test_manual_grades_survive_a_second_run(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_01")
    key = ("estudiante_01", "ej1b_analisis")
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        grade = book.find_grade(key[1], ASSIGNMENT, ASSIGNMENT, key[0])
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.db.commit()
    before = scores(folder)
    list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))
    after = scores(folder)
    assert after[key][1] == 1.5
    del before[key], after[key]
    assert after == before


def test_an_unreadable_second_submission_keeps_the_grade(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_01")
    before = scores(folder)
    (folder / "submitted/estudiante_01" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").write_text("{")
    outcomes = list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))
    assert "no es JSON" in outcomes[0].problem
    assert scores(folder) == before


def test_a_missing_notebook_is_reported(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02")
    path = folder / "submitted/estudiante_02" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    path.rename(path.with_name("otro nombre.ipynb"))
    outcomes = list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))
    assert "No existe el archivo" in outcomes[0].problem


def test_a_bad_folder_stops_nobody_else(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02", "estudiante_03")
    stamp = folder / "submitted/estudiante_02" / ASSIGNMENT / "timestamp.txt"
    stamp.write_text("ayer por la tarde", encoding="utf-8")
    outcomes = list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))
    assert "no tiene una fecha" in outcomes[0].problem
    assert outcomes[1].points == 0


def test_folders_may_have_other_names(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    (folder / "submitted").rename(folder / "entregas")
    with (folder / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        config.write("c.CourseDirectory.submitted_directory = 'entregas'\n")
        config.write("c.CourseDirectory.autograded_directory = 'corregidas'\n")
    assert [o.student for o in grade_cohort(Course(folder), ASSIGNMENT, workers=1)] == [
        "estudiante_03"
    ]
    assert (folder / "corregidas/estudiante_03" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").exists()


def test_late_submissions_keep_their_date(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02")
    stamp = folder / "submitted/estudiante_02" / ASSIGNMENT / "timestamp.txt"
    stamp.write_text("2026-03-01 10:00:00 UTC", encoding="utf-8")
    list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        submission = book.find_submission(ASSIGNMENT, "estudiante_02")
        assert str(submission.timestamp) == "2026-03-01 10:00:00"


def test_a_broken_gradebook_is_a_clear_error(tmp_path):
    folder = make_course(tmp_path / "curso")
    (folder / "gradebook.db").write_text("esto no es una base de datos", encoding="utf-8")
    with pytest.raises(CourseError, match="No se puede usar el libro de notas"):
        list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))


def test_changed_cells_with_grades_are_a_clear_error(ours, tmp_path, assignment):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    source = folder / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    data = json.loads(source.read_text(encoding="utf-8"))
    data["cells"] = [c for c in data["cells"] if c["id"] != "ej1b_topk"]
    source.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(CourseError, match="ya tiene notas"):
        list(grade_cohort(Course(folder), ASSIGNMENT, workers=1))


def test_a_lost_notebook_is_written_again_without_grading(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    path = folder / "autograded/estudiante_03" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    results = list(grade_cohort(Course(folder), ASSIGNMENT))
    assert [result.reused for result in results] == [True]
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_files_are_copied_but_not_links(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    (tmp_path / "secreto.txt").write_text("secreto")
    submitted = folder / "submitted/estudiante_03" / ASSIGNMENT
    (submitted / "datos").mkdir()
    (submitted / "datos/notas.txt").write_text("mis notas")
    (submitted / "enlace.txt").symlink_to(tmp_path / "secreto.txt")
    target = folder / "autograded/estudiante_03" / ASSIGNMENT
    (target / f"{ASSIGNMENT}.ipynb").unlink()
    list(grade_cohort(Course(folder), ASSIGNMENT))
    assert (target / "datos/notas.txt").read_text() == "mis notas"
    assert not (target / "enlace.txt").exists()


def test_late_penalties_are_those_of_nbgrader(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02", "estudiante_03")
    with (folder / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        book.update_or_create_assignment(ASSIGNMENT, duedate="2026-03-01 09:00:00 UTC")
    for student, hour in (("estudiante_02", 10), ("estudiante_03", 8)):
        stamp = folder / "submitted" / student / ASSIGNMENT / "timestamp.txt"
        stamp.write_text(f"2026-03-01 {hour:02}:00:00 UTC", encoding="utf-8")
    list(grade_cohort(Course(folder), ASSIGNMENT))
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        late = book.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "estudiante_02")
        assert (late.score, late.late_submission_penalty) == (12, 12)
        in_time = book.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "estudiante_03")
        assert in_time.late_submission_penalty is None


def formgrader(course: Path) -> dict[str, list]:
    """Los datos con los que Formgrader dibuja sus páginas, sin los identificadores al azar."""
    config = load_config(course)
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    with api.gradebook:
        pages = {
            "entregas": api.get_submissions(ASSIGNMENT),
            "cuadernos": api.get_notebook_submissions(ASSIGNMENT, ASSIGNMENT),
            "estudiantes": [{**row, "student": row["id"]} for row in api.get_students()],
            "asignaciones": api.get_assignments(),
        }
    return {
        name: sorted((comparable(row) for row in rows), key=lambda row: row.get("student", ""))
        for name, rows in pages.items()
    }


def comparable(row: dict) -> dict:
    names = ("average", "id", "index", "num_submissions", "release_path", "releaseable", "status")
    return {key: value for key, value in row.items() if not key.startswith(names)}


def test_formgrader_shows_the_same_as_after_stock_nbgrader(ours, stock):
    mine, theirs = formgrader(ours[0]), formgrader(stock)
    for page in ("entregas", "cuadernos", "estudiantes"):
        for pages in (mine, theirs):  # la tramposa no puede ser igual: por eso hace falta aislar
            pages[page] = [row for row in pages[page] if row["student"] != "estudiante_09"]
        assert mine[page] == theirs[page], page
    assert mine["asignaciones"] == theirs["asignaciones"]


def test_feedback_is_the_same_as_after_stock_nbgrader(ours, stock):
    pages = []
    for folder in (ours[0], stock):
        result = nbgrader(folder, "generate_feedback", ASSIGNMENT, "--force")
        assert result.returncode == 0, result.stderr
        path = folder / "feedback/estudiante_04" / ASSIGNMENT / f"{ASSIGNMENT}.html"
        # Los números de la evidencia salen de parámetros al azar, que no son los mismos.
        pages.append(re.sub(r"\d+(\.\d+)?(e-\d+)?", "N", path.read_text(encoding="utf-8")))
    assert pages[0].splitlines() == pages[1].splitlines()
