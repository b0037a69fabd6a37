"""La línea de órdenes: lo que se escribe mal recibe una línea en español y el código 2."""

import json
import subprocess
import sys
from typing import NamedTuple

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.cli import main
from tests.support import published

NAME = "06_autoatencion"


@pytest.fixture
def autograder(capsys):
    """`autograder(argumentos)`: el código, lo escrito en stdout y lo escrito en stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


class Result(NamedTuple):
    code: int
    out: str
    err: str


def assert_one_line_error(result, *fragments):
    assert result.code == 2
    assert result.out == ""
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    for fragment in fragments:
        assert fragment in lines[0]


def write(path, notebook):
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


@pytest.fixture
def foreign(tmp_path):
    return write(tmp_path / "ajeno.ipynb", new_notebook(cells=[new_code_cell("print(1)")]))


@pytest.fixture
def unknown(tmp_path):
    notebook = published("release", NAME)
    notebook.metadata["autograder"]["assignment"] = "06_autoatenzion"
    return write(tmp_path / "desconocido.ipynb", notebook)


def test_missing_file(autograder, tmp_path):
    assert_one_line_error(autograder("check", tmp_path / "nada.ipynb"), "No existe el archivo")


def test_directory(autograder, tmp_path):
    assert_one_line_error(autograder("check", tmp_path), "es una carpeta")


@pytest.mark.parametrize("text", ["", "{", "hola", '{"cells": [}', "\x00\x01"])
def test_broken_json(autograder, tmp_path, text):
    path = tmp_path / "roto.ipynb"
    path.write_text(text, encoding="utf-8")
    assert_one_line_error(autograder("check", path), "no es JSON")


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"cells": 7, "nbformat": 4}', '{"a": 1}'])
def test_json_that_is_no_notebook(autograder, tmp_path, text):
    path = tmp_path / "otro.ipynb"
    path.write_text(text, encoding="utf-8")
    assert_one_line_error(autograder("check", path), "no un cuaderno")


def test_not_text(autograder, tmp_path):
    path = tmp_path / "binario.ipynb"
    path.write_bytes(bytes(range(256)))
    assert_one_line_error(autograder("check", path), "No se puede leer")


def test_foreign_notebook(autograder, foreign):
    assert_one_line_error(autograder("check", foreign), "no es de ninguna entrega")


def test_unknown_assignment(autograder, unknown):
    assert_one_line_error(
        autograder("check", unknown), "no tiene la entrega «06_autoatenzion»", "06_autoatencion?"
    )


@pytest.mark.parametrize("junk", [None, [], "texto", 3, {"grade_id": [1]}, {"assignment": {}}])
def test_malformed_metadata_is_the_same_as_none(autograder, tmp_path, junk):
    notebook = new_notebook(cells=[new_code_cell("1", metadata={"nbgrader": junk})])
    notebook.metadata["autograder"] = junk
    result = autograder("check", write(tmp_path / "raro.ipynb", notebook))
    assert_one_line_error(result, "no es de ninguna entrega")


def test_unknown_names_elsewhere(autograder, tmp_path):
    assert_one_line_error(autograder("build", "42_nada"), "No hay maestro de 42_nada")
    assert_one_line_error(autograder("grade", "42_nada"), "no tiene la entrega «42_nada»")
    assert_one_line_error(
        autograder("grade", NAME, "--course-dir", tmp_path), "no tiene la entrega"
    )


def test_nobody_submitted(autograder, tmp_path):
    source = tmp_path / "source" / NAME
    source.mkdir(parents=True)
    write(source / f"{NAME}.ipynb", published("source", NAME))
    result = autograder("grade", NAME, "--course-dir", tmp_path)
    assert_one_line_error(result, "No hay entregas")


def test_broken_configuration(autograder, tmp_path, foreign):
    (tmp_path / "nbgrader_config.py").write_text("1 / 0", encoding="utf-8")
    result = autograder("check", foreign, "--course-dir", tmp_path)
    assert_one_line_error(result, "nbgrader_config.py", "ZeroDivisionError")


def test_wrong_options_are_exit_code_2(autograder):
    for arguments in ([], ["check"], ["check", "a", "b"], ["vuela"], ["grade", NAME, "--json"]):
        assert_one_line_error(autograder(*arguments), "Mira «python -m autograder --help»")
    assert_one_line_error(autograder("build", "--rapido"), "No existe la opción --rapido")
    assert_one_line_error(autograder("check"), "Falta CUADERNO")


def test_check_prints_json(autograder, tmp_path):
    path = write(tmp_path / "entrega.ipynb", published("release", NAME))
    result = autograder("check", path, "--json")
    assert result.code == 0, result.err
    data = json.loads(result.out)
    assert data["notebook"] == str(path)
    assert (data["points"], data["max_points"]) == (0, 18)


def test_check_recognises_a_notebook_without_its_metadata(autograder, tmp_path):
    notebook = published("release", NAME)
    del notebook.metadata["autograder"]
    path = write(tmp_path / "entrega.ipynb", notebook)
    result = autograder("check", path)
    assert result.code == 0, result.err
    assert "Total: 0 de 18 puntos" in result.out


def test_help_is_in_spanish(autograder):
    for arguments in (["--help"], ["build", "--help"], ["check", "--help"], ["grade", "--help"]):
        text = autograder(*arguments).out
        for foreign in (
            "Usage",
            "Options",
            "Commands",
            "Arguments",
            "Show this message",
            "default",
        ):
            assert foreign not in text, (arguments, foreign)


def test_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "autograder", "check", str(tmp_path / "nada.ipynb")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_one_line_error(Result(result.returncode, result.stdout, result.stderr), "No existe")
