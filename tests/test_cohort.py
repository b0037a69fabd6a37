"""Corregir una cohorte: los mismos puntos que nbgrader, y nada que se pierda."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder import gradebook
from autograder.cli import main
from autograder.cohort import grade_submissions
from autograder.conventions import ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import grade_notebook
from autograder.notebooks import read
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


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """La cohorte corregida con `autograder grade`."""
    folder = make_course(tmp_path_factory.mktemp("nuestra") / "curso")
    outcomes = list(grade_submissions(Course(folder), ASSIGNMENT))
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
    points = {o.student: o.graded and o.graded.points for o in outcomes}
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
    assert read(path).cells == read(ours[0] / path.relative_to(folder)).cells


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
    list(grade_submissions(Course(folder), ASSIGNMENT))
    after = scores(folder)
    assert after[key][1] == 1.5
    del before[key], after[key]
    assert after == before


def test_an_unreadable_second_submission_keeps_the_grade(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_01")
    before = scores(folder)
    (folder / "submitted/estudiante_01" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").write_text("{")
    outcomes = list(grade_submissions(Course(folder), ASSIGNMENT))
    assert "no es JSON" in outcomes[0].problem
    assert scores(folder) == before


def test_a_missing_notebook_is_reported(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02")
    path = folder / "submitted/estudiante_02" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    path.rename(path.with_name("otro nombre.ipynb"))
    outcomes = list(grade_submissions(Course(folder), ASSIGNMENT))
    assert "No existe el archivo" in outcomes[0].problem


def test_a_bad_folder_stops_nobody_else(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02", "estudiante_03")
    stamp = folder / "submitted/estudiante_02" / ASSIGNMENT / "timestamp.txt"
    stamp.write_text("ayer por la tarde", encoding="utf-8")
    outcomes = list(grade_submissions(Course(folder), ASSIGNMENT))
    assert "No se pudo anotar" in outcomes[0].problem
    assert outcomes[1].graded.points == 0


def test_folders_may_have_other_names(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    (folder / "submitted").rename(folder / "entregas")
    with (folder / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        config.write("c.CourseDirectory.submitted_directory = 'entregas'\n")
        config.write("c.CourseDirectory.autograded_directory = 'corregidas'\n")
    assert [o.student for o in grade_submissions(Course(folder), ASSIGNMENT)] == ["estudiante_03"]
    assert (folder / "corregidas/estudiante_03" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").exists()


def test_late_submissions_keep_their_date(ours, tmp_path):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_02")
    stamp = folder / "submitted/estudiante_02" / ASSIGNMENT / "timestamp.txt"
    stamp.write_text("2026-03-01 10:00:00 UTC", encoding="utf-8")
    list(grade_submissions(Course(folder), ASSIGNMENT))
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        submission = book.find_submission(ASSIGNMENT, "estudiante_02")
        assert str(submission.timestamp) == "2026-03-01 10:00:00"


def test_a_broken_gradebook_is_a_clear_error(tmp_path):
    folder = make_course(tmp_path / "curso")
    (folder / "gradebook.db").write_text("esto no es una base de datos", encoding="utf-8")
    with pytest.raises(CourseError, match="No se puede usar el libro de notas"):
        list(grade_submissions(Course(folder), ASSIGNMENT))


def test_changed_cells_with_grades_are_a_clear_error(ours, tmp_path, assignment):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    source = folder / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    data = json.loads(source.read_text(encoding="utf-8"))
    data["cells"] = [c for c in data["cells"] if c["id"] != "ej1b_topk"]
    source.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(CourseError, match="ya tiene notas"):
        list(grade_submissions(Course(folder), ASSIGNMENT))


def test_recording_replaces_the_notebook_whole(ours, tmp_path, assignment):
    folder = copy_course(ours[0], tmp_path / "curso", "estudiante_03")
    course = Course(folder)
    path = folder / "autograded/estudiante_03" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    graded = grade_notebook(read(path), assignment(ASSIGNMENT))
    gradebook.record(course, assignment(ASSIGNMENT), "estudiante_03", graded)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
