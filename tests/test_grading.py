"""`grade_notebook`: de una entrega, cualquiera que sea, a sus puntos."""

import copy

import pytest
from nbformat.v4 import new_code_cell

from autograder.checks import checks_of
from autograder.grading import grade_notebook
from autograder.limits import Limits
from autograder.notebooks import grade_id
from autograder.recovery import recover
from tests.support import filled, published, solved_cells

NAME = "06_autoatencion"
FULL = sum(check.points for check in checks_of(NAME))


@pytest.fixture
def grade(assignment):
    return lambda notebook, **limits: grade_notebook(notebook, assignment(NAME), Limits(**limits))


@pytest.fixture
def solved():
    return published("solutions", NAME)


def cell_of(notebook, identifier):
    return next(cell for cell in notebook.cells if grade_id(cell) == identifier)


def with_change(notebook, identifier, old, new):
    source = solved_cells(NAME)[identifier]
    assert source.count(old) == 1
    return filled(notebook, {identifier: source.replace(old, new)})


def result_of(graded, identifier):
    return next(e for e in graded.exercises if e.grade_id == identifier)


def test_untouched_release_scores_zero(grade):
    graded = grade(published("release", NAME))
    assert graded.points == 0
    assert graded.pending == []  # la respuesta escrita está como se entregó: cero
    assert "ej1a_clase" in result_of(graded, "ej1a_atencion").checks[0].message


def test_solution_scores_everything_with_the_lesson_skipped(grade, solved):
    graded = grade(solved)
    assert graded.points == graded.max_points == FULL
    assert graded.pending == ["ej1b_analisis"]
    skipped = [c for c in graded.notebook.cells if "skip-execution" in c.metadata.get("tags", [])]
    assert len(skipped) > 10
    assert all(cell.execution_count is None for cell in skipped)


def test_json_has_the_agreed_shape(grade, solved):
    data = grade(solved).to_json()
    assert set(data) == {"points", "max_points", "exercises"}
    for exercise in data["exercises"]:
        assert {"grade_id", "points", "max_points", "checks"} <= set(exercise)
        for check in exercise["checks"]:
            assert set(check) == {"name", "points", "max_points", "passed", "message"}


def test_partial_credit_per_check(grade, solved):
    graded = grade(with_change(solved, "ej1b_dibujo", "vmin=0.0, vmax=1.0, ", ""))
    assert graded.points == FULL - 0.5
    lost = [c for c in result_of(graded, "ej1b_dibujar").checks if not c.passed]
    assert [c.points for c in lost] == [0]
    assert "escala de color va de" in lost[0].message


def test_edited_deleted_forged_and_repeated_tests_are_put_right(grade, solved, assignment):
    notebook = copy.deepcopy(published("release", NAME))
    cell_of(notebook, "ej1a_atencion").source = "# pruebas: ej1a_atencion\n3.5"
    cell_of(notebook, "ej1a_relleno").metadata["nbgrader"]["points"] = 1000
    notebook.cells.remove(cell_of(notebook, "ej1a_causal"))
    notebook.cells.remove(cell_of(notebook, "ej1b_topk"))
    repeated = copy.deepcopy(cell_of(notebook, "ej1a_dropout"))
    repeated.source, repeated["id"] = "1.5", "otra"
    notebook.cells.append(repeated)
    forged = new_code_cell("100")
    forged.metadata["nbgrader"] = {
        **cell_of(notebook, "ej1a_dropout").metadata["nbgrader"],
        "grade_id": "inventada",
    }
    notebook.cells.append(forged)
    put_right = recover(notebook, assignment(NAME)).notebook
    order = [grade_id(c) for c in put_right.cells if grade_id(c)]
    official = [grade_id(c) for c in assignment(NAME).notebook.cells if grade_id(c)]
    assert sorted(order) == sorted(official)
    assert order.index("ej1a_causal") == order.index("ej1a_relleno") + 1
    assert order.index("ej1b_topk") == order.index("ej1b_lista") + 1
    graded = grade(notebook)
    assert graded.points == 0
    assert graded.max_points == FULL


def test_deleted_written_answer_is_worth_nothing(grade, solved):
    solved.cells.remove(cell_of(solved, "ej1b_analisis"))
    result = result_of(grade(solved), "ej1b_analisis")
    assert (result.points, result.manual) == (0, True)


def test_a_changed_cell_type_is_put_right(grade, solved):
    cell = cell_of(solved, "ej1a_clase")
    cell.cell_type = "markdown"
    del cell["outputs"], cell["execution_count"]
    assert grade(solved).points == FULL


def test_warnings_cost_nothing(grade, solved):
    noisy = "import sys, warnings\n    warnings.warn('ojo'); print('ruido', file=sys.stderr)\n    "
    graded = grade(with_change(solved, "ej1b_lista", "values, indices", noisy + "values, indices"))
    assert graded.points == FULL


def test_endless_loop_loses_its_cell_and_says_so(grade, solved):
    endless = with_change(
        solved, "ej1b_lista", "    return [", "    while True: pass\n    return ["
    )
    graded = grade(endless, cell_seconds=10)
    result = result_of(graded, "ej1b_topk")
    assert result.points == 0
    assert "tardó más de 10 s" in result.message
    assert all("tardó más de 10 s" in check.message for check in result.checks)
    assert graded.points == FULL - result.max_points


def test_a_dead_kernel_loses_what_was_left_and_says_so(grade, solved):
    deadly = with_change(
        solved, "ej1b_lista", "values, indices", "import os; os._exit(1); values, indices"
    )
    graded = grade(deadly)
    result = result_of(graded, "ej1b_topk")
    assert result.points == 0
    assert "el programa se cerró" in result.message
    assert graded.points == FULL - result.max_points


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit", "SystemExit"),
        ("{}['no']", "KeyError"),
        ("return 'texto'", ""),
        ("return None", ""),
    ],
)
def test_odd_answers_lose_their_checks_only(grade, solved, code, message):
    graded = grade(with_change(solved, "ej1b_lista", "values, indices", f"{code}; values, indices"))
    result = result_of(graded, "ej1b_topk")
    assert result.points == 0
    assert message in result.message
    assert graded.points == FULL - result.max_points


def test_showing_every_expression_earns_nothing(grade, solved):
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        'InteractiveShell.ast_node_interactivity = "all"\n'
    )
    notebook = with_change(solved, "ej1a_clase", "math.sqrt(q.size(-1))", "math.sqrt(E)")
    expected = grade(notebook).points
    notebook.cells.insert(0, new_code_cell(code))
    assert grade(notebook).points == expected < FULL


def test_answers_count_without_their_metadata(grade, solved):
    for cell in solved.cells:
        cell.metadata.pop("nbgrader", None)
    assert grade(solved).points == FULL


def test_submission_is_not_modified(grade, solved):
    before = copy.deepcopy(solved)
    grade(solved)
    assert solved == before
