"""Construir, en una copia del curso: qué se rehace, qué se detecta y qué se niega a hacer."""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest

from autograder import colab
from autograder.conventions import ROOT
from autograder.masters import COMPANIONS

NAME = "06_autoatencion"
FOLDERS = ["autograder", "notebooks", "source", "release", "solutions", "docs"]
PROSE = "# # 06 · Autoatención\n"


@pytest.fixture
def course(tmp_path):
    """Una copia del curso, con su propio paquete y un solo cuaderno."""
    others = [f"{path.stem}*" for path in ROOT.glob("notebooks/[0-9]*.py") if path.stem != NAME]
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", *others)
        )
    for file in ("nbgrader_config.py", "README.md", *(t.format(NAME) for t in COMPANIONS)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def build(course, *arguments):
    command = [sys.executable, "-m", "autograder", "build", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)


def edit_master(course, old, new):
    path = course / "notebooks" / f"{NAME}.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def contents(course):
    return {
        path.relative_to(course): path.read_bytes()
        for folder in FOLDERS[1:]
        for path in (course / folder).rglob("*")
        if path.is_file()
    }


def test_rebuilding_changes_nothing(course):
    before = contents(course)
    result = build(course)
    assert result.returncode == 0, result.stderr
    assert "escrito" not in result.stdout
    assert contents(course) == before


def test_one_word_makes_check_fail_until_rebuilt(course):
    edit_master(course, PROSE, "# # 06 · La autoatención\n")
    result = build(course, "--check")
    assert result.returncode == 2
    for folder in ("notebooks", f"source/{NAME}", f"release/{NAME}", f"solutions/{NAME}"):
        assert f"{folder}/{NAME}.ipynb no corresponde a su maestro." in result.stderr
    assert build(course).returncode == 0
    assert build(course, "--check").returncode == 0


def test_prose_is_rebuilt_and_outputs_are_kept(course):
    pair = course / "notebooks" / f"{NAME}.ipynb"
    before = json.loads(pair.read_text(encoding="utf-8"))
    edit_master(course, PROSE, "# # 06 · La autoatención\n")
    result = build(course)
    assert result.returncode == 0, result.stderr
    after = json.loads(pair.read_text(encoding="utf-8"))
    outputs = [[cell.get("outputs") for cell in book["cells"]] for book in (before, after)]
    assert outputs[0] == outputs[1]
    assert before != after


def mini(course, code):
    """Un cuaderno de una celda, para ver qué pasa al ejecutarlo."""
    lines = ["# %% [markdown]", "# # Mini", "", "# %%", code, ""]
    (course / "notebooks" / "99_mini.py").write_text("\n".join(lines), encoding="utf-8")
    return build(course, "99_mini")


def test_a_failing_cell_is_named(course):
    result = mini(course, "x = 1\nraise KeyError('llave')")
    assert result.returncode == 2
    assert result.stderr.startswith("99_mini: la celda 1 (")
    assert result.stderr.strip().endswith("falla: KeyError: 'llave'")
    assert not (course / "source" / "99_mini").exists()


def test_a_cell_that_warns_is_named(course):
    result = mini(course, "import warnings\nwarnings.warn('ojo con esto')")
    assert result.returncode == 2
    assert "99_mini: la celda 1" in result.stderr
    assert "ojo con esto" in result.stderr


def test_execution_is_deterministic(course):
    assert mini(course, "print(1)\n2").returncode == 0
    before = contents(course)
    for path in course.glob("*/99_mini*"):
        if path.suffix == ".ipynb":
            path.unlink()
    assert build(course, "99_mini").returncode == 0
    assert contents(course) == before


def set_repository(course, address):
    text = f'[project]\nname = "curso"\nurls.Repository = "{address}"\n'
    (course / "pyproject.toml").write_text(text, encoding="utf-8")


def test_the_repository_of_the_course_gives_the_colab_link(course):
    release = course / "release" / NAME / f"{NAME}.ipynb"
    assert "colab.research" not in release.read_text(encoding="utf-8")
    set_repository(course, "https://github.com/escuela/curso.de-atencion.git")
    assert build(course, "--check").returncode == 2
    assert build(course, NAME).returncode == 0
    link = (
        "(https://colab.research.google.com/github/escuela/curso.de-atencion"
        f"/blob/main/release/{NAME}/{NAME}.ipynb)"
    )
    title, _, badge, *_ = nbformat.read(release, as_version=4).cells[0].source.splitlines()
    assert title == PROSE.removeprefix("# ").strip()
    assert badge.startswith("[![Abrir en Colab](https://")
    assert badge.endswith(link)


@pytest.mark.parametrize("end", ["", "/", ".git"])
def test_the_address_is_read_as_github_gives_it(tmp_path, monkeypatch, end):
    monkeypatch.setattr(colab, "ROOT", tmp_path)
    set_repository(tmp_path, f"https://github.com/escuela/curso.de-atencion{end}")
    assert colab.repository() == "escuela/curso.de-atencion"


def test_colab_needs_github(course):
    set_repository(course, "https://git.example.org/escuela/curso")
    result = build(course, NAME)
    assert result.returncode == 2
    assert "Colab solo abre cuadernos de https://github.com/USUARIO/CURSO" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_outputs_of_other_checks_are_reported(course):
    path = course / "autograder" / "checks" / f"{NAME}.py"
    path.write_text(path.read_text(encoding="utf-8") + "# Otra.\n", encoding="utf-8")
    result = build(course, "--check")
    assert result.returncode == 2
    assert f"notebooks/{NAME}.ipynb tiene las salidas de un código anterior" in result.stderr


@pytest.mark.parametrize("folder", ["source", "release", "solutions"])
def test_leftovers_are_reported(course, folder):
    (course / folder / "99_viejo").mkdir()
    assert f"{folder}/99_viejo no tiene maestro" in build(course, "--check").stderr


def test_a_master_beside_the_source_is_reported(course):
    """nbgrader lo copiaría a release/, con soluciones y pruebas ocultas."""
    shutil.copy(course / "notebooks" / f"{NAME}.py", course / "source" / NAME)
    result = build(course, "--check")
    assert result.returncode == 2
    assert f"source/{NAME}/{NAME}.py acabaría en release/" in result.stderr


def test_missing_products_are_reported(course):
    (course / "release" / NAME / f"{NAME}.ipynb").unlink()
    assert f"release/{NAME}/{NAME}.ipynb no existe." in build(course, "--check").stderr
