"""Los cuadernos de estudiantes, en JupyterLab: se ejecutan, se ven y se pueden completar."""

import os

import pytest
from nbformat import write

from autograder.masters import master_names
from tests.browser.lab import widths
from tests.support import filled, published, solved_cells

NAME = "06_autoatencion"
# nbval ya ejecuta los nueve; aquí, uno con cada clase de control. Con ATENCION_TODO=1, todos.
SOME = [NAME, "09_bidaf"]
NAMES = master_names() if os.environ.get("ATENCION_TODO") else SOME
CHANGED = "before => document.querySelector('.widget-interact img')?.src !== before"
TESTS = ("ej1a_estructura", "ej1a_atencion", "ej1a_relleno", "ej1a_causal", "ej1a_dropout")


@pytest.mark.parametrize("name", NAMES)
def test_release_runs_draws_and_answers_to_its_control(name, notebook, guide):
    """«Run All Cells» llega sin errores al primer hueco, y «Prueba tú» cambia su figura."""
    opened = notebook(f"mis_cuadernos/{name}/{name}.ipynb")
    if name == NAME:
        guide("abrir")
    opened.run_until_error()

    assert opened.errors.count() == 1
    assert "NotImplementedError: ej" in opened.errors.text_content()
    assert min(widths(opened.pictures)) > 0

    picture = opened.panel.locator(".widget-interact img")
    before = picture.get_attribute("src")
    _move_first_control(opened)
    opened.page.wait_for_function(CHANGED, arg=before)
    opened.wait_idle()
    assert opened.errors.count() == 1
    assert min(widths(picture)) > 0
    if name == NAME:
        guide("control")


def _move_first_control(opened):
    """Mueve un paso el primer deslizador; si no hay (09), cambia lo que se pregunta."""
    handle = opened.panel.locator(".noUi-handle")
    if handle.count():
        return handle.first.press("ArrowRight")
    question = opened.panel.get_by_label("Pregunta")
    question.fill("Luis y Tomasa quieren saber: ¿qué llevó Luis?")
    question.press("Enter")


def test_an_exercise_is_filled_in_and_its_tests_pass(notebook):
    opened = notebook(f"mis_cuadernos/{NAME}/{NAME}.ipynb")
    opened.run_definitions()

    opened.run("ej1a_clase", "ej1a_estructura")
    assert "NotImplementedError: ej1a_clase" in opened.outputs("ej1a_estructura").text_content()

    opened.fill("ej1a_clase", solved_cells(NAME)["ej1a_clase"])
    opened.run("ej1a_clase", *TESTS)
    assert opened.errors.count() == 0
    for test in TESTS:
        assert opened.was_run(test)


CODE = solved_cells(NAME)
WRITTEN = {"ej1b_analisis": "<!-- ejercicio: ej1b_analisis -->\nCada cabeza mira a una palabra."}


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        pytest.param({}, "NotImplementedError: ej1a_clase", id="sin_tocar"),
        pytest.param(CODE, "You did not provide a response.", id="sin_respuesta"),
        pytest.param(CODE | WRITTEN, "Your notebook passes all the tests", id="completo"),
    ],
)
def test_validate_says_what_is_missing(answers, verdict, lab, notebook, guide, request):
    case = request.node.callspec.id
    write(filled(published("release", NAME), answers), lab.course / f"mis_cuadernos/{case}.ipynb")
    dialog = notebook(f"mis_cuadernos/{case}.ipynb").validate()
    assert verdict in dialog.text_content()
    if not answers:
        guide("validar")
