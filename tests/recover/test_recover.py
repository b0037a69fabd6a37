"""`recover`: lo estropeado por el camino vuelve con los mismos puntos; lo que falta, se dice."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.utils import is_solution

from autograder.assignments import MARKER, recognise
from autograder.checks import checks_of
from autograder.cli import main
from autograder.course import Course
from autograder.grading import grade_notebook
from autograder.masters import master_names
from autograder.notebooks import grade_id, is_executed, parse, read_text
from autograder.recovery import recover
from tests.recover.damages import DAMAGES
from tests.support import published

NAMES = master_names()
EXAMPLE = "06_autoatencion"


def damaged(notebook, damage, tmp_path):
    """El cuaderno estropeado, leído de un archivo como lo leería `grade`."""
    path = tmp_path / "entrega.ipynb"
    path.write_bytes(DAMAGES[damage](notebook).encode())
    return parse(read_text(path), "La entrega")


def what_counts(notebook):
    """Lo que decide la nota: lo que se ejecuta y las respuestas, en orden y línea a línea."""
    cells = [c for c in notebook.cells if is_executed(c) or is_solution(c)]
    return [(grade_id(c), lines(c.source)) for c in cells]


def lines(source):
    """Las líneas con algo escrito, sin la que nombra la celda."""
    found = [line.rstrip() for line in source.splitlines() if not MARKER.match(line)]
    return [line for line in found if line]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_what_counts_comes_back(name, damage, assignment, tmp_path):
    solved = published("solutions", name)
    recovered = recover(damaged(published("solutions", name), damage, tmp_path), assignment(name))
    assert what_counts(recovered.notebook) == what_counts(solved), recovered.notes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["release", "solutions"])
def test_an_undamaged_notebook_is_left_as_it_is(name, folder, assignment):
    notebook = published(folder, name)
    recovered = recover(notebook, assignment(name))
    assert recovered.notes == ()
    assert [c.source for c in recovered.notebook.cells] == [c.source for c in notebook.cells]


@pytest.mark.parametrize(
    ("name", "damage"),
    [(NAMES[i % len(NAMES)], damage) for i, damage in enumerate(DAMAGES)],
    ids=list(DAMAGES),
)
def test_the_points_are_the_same(name, damage, assignment, tmp_path):
    """Un cuaderno distinto con cada daño: los demás, comparados arriba, ejecutan lo mismo."""
    notebook = damaged(published("solutions", name), damage, tmp_path)
    graded = grade_notebook(notebook, assignment(name))
    full = sum(check.points for check in checks_of(name))
    assert graded.points == graded.max_points == full
    assert not any(e.message for e in graded.exercises)


# --- Lo que no está, se dice; nada se inventa -----------------------------------------------------


def remove(notebook, identifier):
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != identifier]


def test_a_lost_answer_is_named_and_scores_nothing(assignment):
    notebook = published("solutions", EXAMPLE)
    remove(notebook, "ej1b_lista")
    graded = grade_notebook(notebook, assignment(EXAMPLE))
    assert graded.recovered == ("respuestas que no están: ej1b_lista",)
    result = next(e for e in graded.exercises if e.grade_id == "ej1b_topk")
    assert result.points == 0
    assert "sin resolver" in result.message


def test_an_answer_written_in_another_cell_is_not_overwritten(assignment):
    """Ni aunque esa celda defina además otras cosas, y vaya en otro sitio."""
    notebook = published("solutions", EXAMPLE)
    answer = next(c.source for c in notebook.cells if grade_id(c) == "ej1b_lista")
    remove(notebook, "ej1b_lista")
    lesson = next(c for c in notebook.cells if grade_id(c) == "ej1b_mapa")
    lesson.source += "\n\n\n" + answer.split("\n", 1)[1]
    recovered = recover(notebook, assignment(EXAMPLE))
    assert recovered.notes == ()
    assert sum("def top_k_attention" in c.source for c in recovered.notebook.cells) == 1


def test_what_the_student_added_stays_where_it_was(assignment):
    notebook = published("solutions", EXAMPLE)
    place = next(i for i, c in enumerate(notebook.cells) if grade_id(c) == "ej1a_clase")
    mine = [new_code_cell("mia = 1", id="mia"), new_markdown_cell("Una nota mía.", id="nota")]
    notebook.cells[place:place] = mine
    recovered = recover(notebook, assignment(EXAMPLE))
    assert recovered.notes == ()
    found = recovered.notebook.cells[place : place + 3]
    assert [cell.id for cell in found] == ["mia", "nota", "ej1a_clase"]


def test_a_test_with_an_invented_name_does_not_count(assignment):
    notebook = published("release", EXAMPLE)
    forged = new_code_cell("100")
    forged.metadata["nbgrader"] = {"grade_id": "inventada", "grade": True, "points": 100}
    notebook.cells.append(forged)
    graded = grade_notebook(notebook, assignment(EXAMPLE))
    assert graded.points == 0
    assert graded.recovered == ("pruebas que no son del curso: inventada",)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_without_metadata_is_recognised(name, tmp_path):
    notebook = damaged(published("solutions", name), "guardado por Colab", tmp_path)
    assert recognise(notebook, Course()).name == name


# --- La orden -------------------------------------------------------------------------------------


def test_the_command_writes_a_new_file_and_never_the_old_one(tmp_path, capsys):
    path = tmp_path / "mio.ipynb"
    path.write_text(DAMAGES["sin las pruebas"](published("solutions", EXAMPLE)))
    before = path.read_bytes()
    assert main(["recover", str(path)]) == 0
    assert "pruebas borradas" in capsys.readouterr().out
    written = tmp_path / "mio.recuperado.ipynb"
    found = parse(read_text(written), "x")
    assert what_counts(found) == what_counts(published("solutions", EXAMPLE))
    assert main(["recover", str(path)]) == 2
    assert "Ya existe" in capsys.readouterr().err
    assert main(["recover", str(path), "--output", str(path)]) == 2
    assert path.read_bytes() == before
    assert main(["recover", str(written)]) == 0
    assert "No le falta nada" in capsys.readouterr().out
