"""Las reglas de un cuaderno maestro: el de verdad las cumple, y cada una falla cuando debe."""

import copy

import pytest

from autograder.conventions import MASTERS
from autograder.errors import CourseError
from autograder.masters import find_problems, marker, master_names, read_master, set_cell_ids
from autograder.notebooks import grade_id

NAME = "06_autoatencion"


@pytest.fixture
def master():
    return copy.deepcopy(read_master(NAME))


def cell_of(master, identifier):
    return next(cell for cell in master.cells if grade_id(cell) == identifier)


@pytest.mark.parametrize("name", master_names())
def test_real_masters_follow_every_rule(name):
    read_master(name)


def broken_cases():
    def edit(identifier, old, new):
        def apply(master):
            cell = cell_of(master, identifier)
            assert old in cell.source
            cell.source = cell.source.replace(old, new, 1)

        return apply

    def set_points(master):
        cell_of(master, "ej1a_causal").metadata["nbgrader"]["points"] = 7

    def rename(master):
        cell_of(master, "ej1a_causal").metadata["nbgrader"]["grade_id"] = "ej1a_relleno"

    def bad_identifier(master):
        cell_of(master, "ej1a_causal").metadata["nbgrader"]["grade_id"] = "Ejercicio 1"

    def untested(master):
        last = cell_of(master, "ej1b_topk")
        master.cells.remove(last)

    def no_narrative(master):
        index = master.cells.index(cell_of(master, "ej1a_causal"))
        del master.cells[index - 1]

    def untagged(master):
        cell_of(master, "ej1a_clase").metadata["tags"] = []

    def add_heading(text):
        def apply(master):
            next(c for c in master.cells if c.cell_type == "markdown").source += f"\n\n{text}\n"

        return apply

    hidden = "grade({!r}, {!r}, MultiHeadSelfAttention)".format(NAME, "ej1a_causal")
    hidden = hidden.replace("'", '"')

    def unnamed(master):
        del cell_of(master, "ej1a_causal").metadata["nbgrader"]["grade_id"]

    def no_points(master):
        cell_of(master, "ej1a_causal").metadata["nbgrader"]["points"] = "dos"

    return {
        "les falta el grade_id": unnamed,
        "le faltan los puntos": no_points,
        "no es Python": edit("ej1a_causal", "_, weights =", "_, weights ="[:-1] + "(="),
        "está repetido": rename,
        "solo puede tener minúsculas": bad_identifier,
        "la primera línea debe ser": edit("ej1a_causal", "# pruebas: ej1a_causal\n", ""),
        "no la sigue ninguna celda de pruebas": untested,
        "falta un párrafo": no_narrative,
        "saltan de nivel, del 1 al 4: «Nada»": add_heading("#### Nada"),
        "debe ser de nivel 1 (#), y el único": add_heading("# Otro"),
        "llama a plt.show()": edit("ej1b_mapa", "### BEGIN", "plt.show()\n    ### BEGIN"),
        "le falta la etiqueta export": untagged,
        "la solución no está entre ###": edit("ej1b_mapa", "### BEGIN SOLUTION", "# aquí"),
        "la solución no está entre": edit("ej1b_mapa", "### END SOLUTION", "# aquí"),
        "hace algo más que definir": edit("ej1b_mapa", "def attention_map", "print(1)\ndef attention_map"),
        "no termina con una región oculta": edit("ej1a_causal", "### END HIDDEN TESTS", "# fin"),
        "una expresión suelta": edit("ej1a_causal", "### BEGIN", "weights\n### BEGIN"),
        "de 1 a 3 líneas": edit("ej1a_causal", hidden, f"x = 1\ny = 2\n{hidden}"),
        "debe terminar en": edit("ej1a_causal", '"ej1a_causal", Multi', '"ej1a_relleno", Multi'),
        "suman 1.5 puntos": set_points,
        "usa «torch», que no importa": edit("ej1a_causal", "import torch\n", ""),
        "usa «telegram», que no importa": edit("ej1a_causal", hidden, hidden.replace("Multi", "telegram, Multi")),
    }  # fmt: skip


@pytest.mark.parametrize(("message", "damage"), broken_cases().items(), ids=broken_cases())
def test_each_rule_is_enforced(master, message, damage):
    assert find_problems(NAME, master) == []
    damage(master)
    assert any(message in problem for problem in find_problems(NAME, master))


def test_long_cells_are_reported(master):
    code = next(c for c in master.cells if "skip-execution" in c.metadata.get("tags", []))
    code.source += "\nx = 1" * 50
    assert any("divídela" in problem for problem in find_problems(NAME, master))


def test_problems_name_the_notebook(tmp_path, monkeypatch):
    (tmp_path / "06_autoatencion.py").write_text("# %%\nprint(1)\n", encoding="utf-8")
    monkeypatch.setattr("autograder.masters.MASTERS", tmp_path)
    with pytest.raises(CourseError, match="06_autoatencion: celda 0: falta un párrafo"):
        read_master(NAME)


def test_cell_ids_depend_only_on_content(master):
    before = [cell.id for cell in master.cells]
    assert len(set(before)) == len(before)
    set_cell_ids(master)
    assert [cell.id for cell in master.cells] == before
    del master.cells[5]
    set_cell_ids(master)
    assert [cell.id for cell in master.cells] == before[:5] + before[6:]


def test_markers_name_their_cell(master):
    assert marker(cell_of(master, "ej1a_clase")) == "# ejercicio: ej1a_clase"
    assert marker(cell_of(master, "ej1a_causal")) == "# pruebas: ej1a_causal"
    assert marker(cell_of(master, "ej1b_analisis")) == "<!-- ejercicio: ej1b_analisis -->"


def test_masters_hold_no_notebook_metadata_of_one_machine():
    for path in MASTERS.glob("*.py"):
        assert "jupytext_version" not in path.read_text(encoding="utf-8")
