"""Corregir a gran escala: muchos procesos, que mueren cuando menos conviene."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import cycle, islice

import nbformat
import pytest

from autograder import cohort, worker
from autograder.cohort import grade_cohort
from autograder.conventions import ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.results import Store
from demo.cohort import ASSIGNMENT, EXERCISE_1A, FILE, SCALE, edited, with_answers, with_first_cell
from tests.support import published
from tests.test_cohort import scores

WAIT_SECONDS = 90
# Mata al proceso que corrige: el abuelo del kernel. Aislado no puede; sin aislar, sí.
POISON = """
import os, signal, psutil
for parent in psutil.Process().parents()[1:3]:
    if "server.py" not in " ".join(parent.cmdline()):
        os.kill(parent.pid, signal.SIGKILL)
        break
"""


def notebooks(count):
    """Entregas de cuatro clases, una tras otra."""
    empty, solved = published("release", ASSIGNMENT), published("solutions", ASSIGNMENT)
    partial = with_answers(empty, solved, EXERCISE_1A)
    return list(islice(cycle([partial, empty, edited(partial, *SCALE), partial]), count))


def make_course(folder, submitted):
    shutil.copytree(ROOT / "source" / ASSIGNMENT, folder / "source" / ASSIGNMENT)
    for index, notebook in enumerate(submitted, start=1):
        place = folder / "submitted" / f"estudiante_{index:02}" / ASSIGNMENT
        place.mkdir(parents=True)
        nbformat.write(notebook, place / FILE)
    return folder


def start(*arguments, **options):
    """Una orden del curso o de Dask, en otro proceso y en otro grupo."""
    command = [sys.executable, "-m", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes, **options)


def start_grading(folder):
    order = ["autograder", "grade", ASSIGNMENT, "--course-dir", folder, "--workers", "2"]
    return start(*order)


def until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "no llega"
        time.sleep(0.05)


def stored(folder):
    return sorted((folder / "results" / ASSIGNMENT).glob("*.json.gz"))


class InProcess:
    """Un `Cluster` que corrige aquí mismo, y apunta a quién."""

    def __init__(self, grader, *_):
        self.grader = grader

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def grade(self, jobs):
        for job in jobs:
            self.graded.append(job.student)
            yield self.grader.grade(job)


@pytest.fixture
def graded(monkeypatch):
    """Los nombres de quienes se corrigen, sin arrancar trabajadores."""
    InProcess.graded = []
    monkeypatch.setattr(cohort, "Cluster", InProcess)
    return InProcess.graded


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Ocho entregas corregidas sin que pase nada."""
    folder = make_course(tmp_path_factory.mktemp("tranquila") / "curso", notebooks(8))
    list(grade_cohort(Course(folder), ASSIGNMENT, workers=2))
    return scores(folder)


# --- No repetir, no perder ------------------------------------------------------------------------


def test_only_what_changed_is_graded_again(tmp_path, graded, monkeypatch):
    folder = make_course(tmp_path / "curso", notebooks(2))
    run = lambda **options: list(grade_cohort(Course(folder), ASSIGNMENT, **options))  # noqa: E731
    run()
    assert graded == ["estudiante_01", "estudiante_02"]
    graded.clear()
    assert all(result.reused for result in run())
    assert not graded
    path = folder / "submitted/estudiante_02" / ASSIGNMENT / FILE
    nbformat.write(notebooks(1)[0], path)
    run()
    assert graded == ["estudiante_02"]
    graded.clear()
    run(force=True)
    assert graded == ["estudiante_01", "estudiante_02"]
    graded.clear()
    monkeypatch.setattr(worker, "code_version", lambda: "otras pruebas ocultas")
    run()
    assert graded == ["estudiante_01", "estudiante_02"]


def test_a_changed_master_is_graded_again(tmp_path, graded):
    folder = make_course(tmp_path / "curso", notebooks(1))
    list(grade_cohort(Course(folder), ASSIGNMENT))
    source = folder / "source" / ASSIGNMENT / FILE
    source.write_text(source.read_text("utf-8").replace("## ", "### ", 1), "utf-8")
    list(grade_cohort(Course(folder), ASSIGNMENT))
    assert graded == ["estudiante_01"] * 2


def test_a_damaged_result_is_graded_again(tmp_path, graded):
    folder = make_course(tmp_path / "curso", notebooks(1))
    list(grade_cohort(Course(folder), ASSIGNMENT))
    path = stored(folder)[0]
    path.write_bytes(path.read_bytes()[:100])
    list(grade_cohort(Course(folder), ASSIGNMENT))
    assert graded == ["estudiante_01"] * 2


def test_unchanged_submissions_keep_reviewed_grades(tmp_path, graded):
    from nbgrader.api import Gradebook

    folder = make_course(tmp_path / "curso", [published("solutions", ASSIGNMENT)])
    list(grade_cohort(Course(folder), ASSIGNMENT))
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        grade = book.find_grade("ej1b_analisis", ASSIGNMENT, ASSIGNMENT, "estudiante_01")
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        book.db.commit()
    before = scores(folder)
    list(grade_cohort(Course(folder), ASSIGNMENT))
    assert scores(folder) == before  # sigue revisada
    list(grade_cohort(Course(folder), ASSIGNMENT, force=True))
    key = ("estudiante_01", "ej1b_analisis")
    assert scores(folder)[key] == (None, 1.5, True, 2.0)  # como en nbgrader: hay que mirarla


def test_two_at_once_are_refused(tmp_path, graded):
    folder = make_course(tmp_path / "curso", notebooks(1))
    with Store(Course(folder), ASSIGNMENT), pytest.raises(CourseError, match="en marcha"):
        list(grade_cohort(Course(folder), ASSIGNMENT))
    assert len(list(grade_cohort(Course(folder), ASSIGNMENT))) == 1


def test_a_huge_notebook_is_refused(tmp_path, graded, monkeypatch):
    monkeypatch.setattr(cohort, "MAX_NOTEBOOK", 1000)
    folder = make_course(tmp_path / "curso", notebooks(1))
    [result] = grade_cohort(Course(folder), ASSIGNMENT)
    assert "el tope es" in result.problem
    assert not graded


def test_a_locked_gradebook_loses_nothing(tmp_path, graded):
    folder = make_course(tmp_path / "curso", notebooks(2))
    results = grade_cohort(Course(folder), ASSIGNMENT)
    next(results)
    lock = sqlite3.connect(folder / "gradebook.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CourseError, match=r"ocupado.*repite la orden"):
        list(results)
    lock.close()
    assert len(graded) == 2
    assert all(result.reused for result in grade_cohort(Course(folder), ASSIGNMENT))
    assert {student for student, _ in scores(folder)} == {"estudiante_01", "estudiante_02"}


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no se puede montar aquí un disco pequeño")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(tmp_path, graded):
    with small_disk(tmp_path / "disco", "4M") as disk:
        folder = make_course(disk / "curso", notebooks(4))
        filler = disk / "relleno"
        results = grade_cohort(Course(folder), ASSIGNMENT)
        next(results)
        free = shutil.disk_usage(disk).free
        filler.write_bytes(b"x" * (free - 60_000))
        with pytest.raises(CourseError, match="repite la orden para seguir"):
            list(results)
        filler.unlink()
        done = list(grade_cohort(Course(folder), ASSIGNMENT))
        assert sorted(r.points for r in done) == [0, 9.5, 12, 12]
        assert len({student for student, _ in scores(folder)}) == 4
        assert graded.count("estudiante_01") == 1


# --- Procesos que mueren --------------------------------------------------------------------------


def test_a_worker_killed_in_the_middle(tmp_path, undisturbed):
    folder = make_course(tmp_path / "curso", notebooks(8))
    file = tmp_path / "planificador.json"
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    options = ["--no-nanny", "--nthreads", "1", "--memory-limit", "0", "--no-dashboard"]
    order = ["distributed.cli.dask_scheduler", "--scheduler-file", file, "--port", "0"]
    scheduler = start(*order, "--host", "127.0.0.1", "--no-dashboard", env=environment)
    until(file.exists)
    order = ["distributed.cli.dask_worker", "--scheduler-file", file, *options]
    workers = [start(*order) for _ in range(2)]
    try:
        address = json.loads(file.read_text())["address"]
        done = []
        for result in grade_cohort(Course(folder), ASSIGNMENT, scheduler=address):
            done.append(result)
            if len(done) == 2:
                os.kill(workers[0].pid, signal.SIGKILL)
        assert sorted(r.student for r in done) == [f"estudiante_{i:02}" for i in range(1, 9)]
        assert not any(r.problem for r in done)
        assert scores(folder) == undisturbed
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def test_the_coordinator_killed_in_the_middle(tmp_path, undisturbed):
    folder = make_course(tmp_path / "curso", notebooks(8))
    killed = start_grading(folder)
    until(lambda: len(stored(folder)) >= 2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {path: path.stat().st_mtime_ns for path in stored(folder)}
    assert len(before) < 8
    again = start_grading(folder)
    output, error = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0, error
    assert f"{len(before)} sin cambios, ya corregidas" in output
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert scores(folder) == undisturbed


def test_ctrl_c_stops_cleanly_and_resumes(tmp_path, undisturbed):
    folder = make_course(tmp_path / "curso", notebooks(8))
    stopped = start_grading(folder)
    until(lambda: len(stored(folder)) >= 2)
    os.killpg(stopped.pid, signal.SIGINT)
    _, error = stopped.communicate(timeout=WAIT_SECONDS)
    assert stopped.returncode == 130
    assert "repite la orden para seguir" in error
    assert len(error.strip().splitlines()) == 1, error
    finished = start_grading(folder)
    finished.communicate(timeout=WAIT_SECONDS)
    assert finished.returncode == 0
    assert scores(folder) == undisturbed


def test_a_poisonous_submission_is_marked_and_the_rest_go_on(tmp_path):
    good = notebooks(3)
    poison = with_first_cell(good[0], POISON)
    folder = make_course(tmp_path / "curso", [poison, *good])
    course = Course(folder)
    course.config.IsolatedExecute.isolated = False
    results = {r.student: r for r in grade_cohort(course, ASSIGNMENT, workers=1)}
    assert "se cierra" in results["estudiante_01"].problem
    points = [results[f"estudiante_{i:02}"].points for i in (2, 3, 4)]
    assert points == [12, 0, 9.5]
    recorded = scores(folder)
    assert all(recorded["estudiante_01", cell][0] is None for s, cell in recorded if s[-1] == "1")


def test_no_scheduler_is_a_clear_error(tmp_path):
    folder = make_course(tmp_path / "curso", notebooks(1))
    with pytest.raises(CourseError, match="No responde ningún planificador"):
        list(grade_cohort(Course(folder), ASSIGNMENT, scheduler="tcp://127.0.0.1:1"))
