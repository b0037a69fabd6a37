"""Leer cuadernos y sacar definiciones de ellos."""

import json
import traceback

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.errors import CourseError
from autograder.inlining import helper_source, inline_helpers
from autograder.notebooks import dumps, load, read
from tests.support import filled, published, solved_cells

NAME = "06_autoatencion"


def exported(source):
    return new_code_cell(source, metadata={"tags": ["export"]})


def quirks():
    """Lo que Colab, VS Code y Jupyter de antes añaden u olvidan en un cuaderno."""

    def error_details(data):
        error = {"ename": "E", "evalue": "", "traceback": [], "errorDetails": {"actions": []}}
        data["cells"][0]["outputs"] = [{"output_type": "error", **error}]

    def without_ids(data):
        data["nbformat_minor"] = 0
        for cell in data["cells"]:
            del cell["id"]

    return {
        "un error de Colab con más datos": error_details,
        "sin identificadores": without_ids,
        "con identificadores de más": lambda data: data.update(nbformat_minor=4),
        "identificador vacío": lambda data: data["cells"][0].update(id=""),
        "identificador repetido": lambda data: data["cells"][0].update(id=data["cells"][1]["id"]),
        "sin salidas": lambda data: data["cells"][0].pop("outputs"),
        "etiqueta repetida": lambda data: data["cells"][0]["metadata"].update(tags=["a", "a"]),
    }


@pytest.mark.parametrize("quirk", quirks().values(), ids=quirks())
def test_reads_what_other_editors_write(tmp_path, quirk, recwarn):
    data = new_notebook(cells=[new_code_cell("x = 1"), new_markdown_cell("texto")])
    data.cells[0].id, data.cells[1].id = "uno", "dos"
    quirk(data)
    path = tmp_path / "raro.ipynb"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert [cell.source for cell in read(path).cells] == ["x = 1", "texto"]
    assert not recwarn.list


def test_load_runs_only_export_cells():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("texto"),
            exported("import math\n\ndef double(x):\n    return 2 * x"),
            new_code_cell("raise RuntimeError('no debería ejecutarse')"),
            exported("LIMIT = 3"),
        ]
    )
    module = load(notebook)
    assert module.double(module.LIMIT) == 6


def test_load_reads_masters_releases_and_student_notebooks(tmp_path):
    assert load(NAME).SelfAttention
    release = load(f"release/{NAME}/{NAME}.ipynb")
    with pytest.raises(NotImplementedError, match="ej1a_clase"):
        release.MultiHeadSelfAttention(8, 2)
    student = filled(published("release", NAME), {"ej1a_clase": solved_cells(NAME)["ej1a_clase"]})
    path = tmp_path / "entrega.ipynb"
    path.write_text(nbformat.writes(student), encoding="utf-8")
    assert load(path).MultiHeadSelfAttention(8, 2).num_heads == 2


def test_each_load_is_a_fresh_module():
    first, second = load(NAME), load(NAME)
    assert first.SelfAttention is not second.SelfAttention


def test_tracebacks_show_the_line_of_the_cell():
    module = load(new_notebook(cells=[exported("def fail():\n    return 1 / 0  # aquí")]))
    with pytest.raises(ZeroDivisionError) as error:
        module.fail()
    shown = "".join(traceback.format_exception(error.value))
    assert "return 1 / 0  # aquí" in shown
    assert "celda 0" in shown


def test_dataclasses_with_string_annotations_can_be_loaded():
    source = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Span:\n    start: int\n    end: int"
    )
    assert load(new_notebook(cells=[exported(source)])).Span(1, 2).end == 2


def test_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "bom.ipynb"
    path.write_text("\ufeff" + nbformat.writes(new_notebook()), encoding="utf-8")
    assert read(path).cells == []


def test_helpers_become_one_folded_cell_with_only_what_is_used():
    notebook = new_notebook(
        cells=[
            new_markdown_cell("uno"),
            new_code_cell("import math\nfrom apoyo import set_seed\n\nx = 1"),
        ]
    )
    inlined = inline_helpers(notebook)
    helpers = inlined.cells[1]
    assert helpers.metadata["jupyter"]["source_hidden"]
    assert "def set_seed" in helpers.source
    assert "tqdm" not in helpers.source
    assert inlined.cells[2].source == "import math\n\nx = 1"
    namespace = {}
    exec(helpers.source, namespace)
    namespace["set_seed"](0)


def test_helpers_bring_what_they_need():
    source = helper_source({"fit"})
    assert "from tqdm.auto import tqdm" in source
    assert "def set_seed" not in source


def test_notebooks_without_helpers_do_not_change():
    notebook = new_notebook(cells=[new_code_cell("x = 1  # apoyo")])
    assert inline_helpers(notebook) == notebook


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from apoyo import no_existe", "no define «no_existe»"),
        ("import apoyo", "from apoyo import nombre"),
        ("from apoyo import set_seed as s", "sin «as»"),
        ("from apoyo import *", "nombres sueltos"),
        ("if True:\n    from apoyo import set_seed", "sin sangrar"),
        ("from apoyo import set_seed; y = 2", "en su propia línea"),
        ("from apoyo import set_seed\n%pip list", "no es Python"),
    ],
)
def test_other_ways_to_import_helpers_are_clear_errors(source, message):
    with pytest.raises(CourseError, match=message):
        inline_helpers(new_notebook(cells=[new_code_cell(source)]))


def test_half_characters_do_not_stop_anything(tmp_path):
    path = tmp_path / "medio.ipynb"
    cell = '{"cell_type": "code", "source": "x = \'\\ud800\'", "metadata": {}, "outputs": []}'
    path.write_text(f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {{}}, "cells": [{cell}]}}')
    notebook = read(path)
    assert notebook.cells[0].source == "x = '?'"
    dumps(notebook).encode()
