"""Formgrader, pulsando lo que pulsa quien enseña."""

import shutil

import pytest
from nbformat import write

from autograder.checks import checks_of
from autograder.conventions import ROOT
from autograder.notebooks import read
from tests.browser.lab import choose
from tests.support import filled, published, solved_cells

NAME = "06_autoatencion"
SECRET = "el-docente-guarda-aquí-algo"
SPY = "# ejercicio: ej1b_lista\nprint(open({path!r}).read())"
WRITTEN = {"ej1b_analisis": "<!-- ejercicio: ej1b_analisis -->\nCada cabeza mira a una palabra."}
FULL = sum(check.points for check in checks_of(NAME))
SPIED = FULL - sum(check.points for check in checks_of(NAME, "ej1b_topk"))


@pytest.fixture
def submitted(lab):
    """Tres entregas: resuelta, sin tocar, y una que intenta leer un archivo del curso."""
    release, solved = published("release", NAME), solved_cells(NAME) | WRITTEN
    secret = lab.course / "apuntes.txt"
    secret.write_text(SECRET)
    spy = solved | {"ej1b_lista": SPY.format(path=str(secret))}
    for number, answers in enumerate((solved, {}, spy), start=1):
        folder = lab.course / "submitted" / f"estudiante_{number:02}" / NAME
        folder.mkdir(parents=True)
        write(filled(release, answers), folder / f"{NAME}.ipynb")
    yield
    shutil.rmtree(lab.course / "submitted")


def test_formgrader_generates_grades_isolated_and_takes_manual_grades(lab, page, submitted, guide):
    page.goto(lab.address("lab"))
    choose(page, "Nbgrader", "Formgrader")
    grader = page.frame_locator("#formgrader-iframe iframe")
    row = grader.locator("tr", has_text=NAME)
    row.locator(".num-submissions a").scroll_into_view_if_needed()
    guide("formgrader")

    row.locator(".assign a").click()
    _accept(grader)
    assert _sources(lab.course / "release") == _sources(ROOT / "release")

    row.locator(".num-submissions a").click()
    scores = {}
    for student in ("estudiante_01", "estudiante_02", "estudiante_03"):
        row = grader.locator("tr", has_text=student)
        row.locator(".autograde a").click()
        _accept(grader)
        scores[student] = row.locator(".score").inner_text()
    row.scroll_into_view_if_needed()
    guide("entregas")
    assert scores == {
        "estudiante_01": f"{FULL:g} / {FULL + 2:g}",
        "estudiante_02": f"0 / {FULL + 2:g}",
        "estudiante_03": f"{SPIED:g} / {FULL + 2:g}",
    }

    # La entrega que espiaba: desde donde se ejecutó, el archivo no existe.
    grader.locator("tr", has_text="estudiante_03").locator(".student-name a").click()
    grader.get_by_role("link", name=NAME).last.click()
    grader.get_by_text("FileNotFoundError").first.wait_for()
    assert SECRET not in grader.locator("body").inner_text()

    points = grader.locator("input.score[id='ej1b_analisis']")
    points.fill("2")
    with page.expect_response(lambda response: "/formgrader/api/grade/" in response.url):
        points.press("Tab")
    guide("nota_a_mano")
    page.goto(lab.address(f"formgrader/manage_submissions/{NAME}"))
    row = page.locator("tr", has_text="estudiante_03")
    row.get_by_text(f"{SPIED + 2:g} / {FULL + 2:g}").wait_for()


def _accept(grader):
    """Cierra el diálogo con el que Formgrader dice que todo fue bien."""
    dialog = grader.locator("#success-modal, #error-modal")
    dialog.wait_for()
    assert dialog.get_attribute("id") == "success-modal", dialog.inner_text()
    dialog.locator(".modal-footer button").click()
    dialog.wait_for(state="detached")


def _sources(folder):
    return [cell.source for cell in read(folder / NAME / f"{NAME}.ipynb").cells]
