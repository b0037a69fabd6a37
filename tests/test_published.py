"""Lo publicado: al día, sin soluciones ni pruebas ocultas, y capaz de funcionar solo."""

import ast
import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from nbgrader.utils import is_grade, is_solution
from packaging.requirements import Requirement

from autograder.build import NoWidgetsClient, stale
from autograder.conventions import ROOT
from autograder.inlining import inline_helpers
from autograder.masters import HIDDEN_REGION, master_names, read_master
from autograder.notebooks import grade_id, read
from tests.support import published

COLAB = ["torch", "numpy", "matplotlib", "ipywidgets", "tqdm", "ipykernel"]
MARKERS = ["BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "autograder.checks", "YOUR CODE"]

every_notebook = pytest.mark.parametrize("name", master_names())


def test_generated_folders_are_up_to_date():
    assert stale(master_names()) == []


@every_notebook
def test_release_holds_no_marker(name):
    text = (ROOT / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert [marker for marker in MARKERS if marker in text] == []


@every_notebook
def test_solutions_hold_no_marker(name):
    text = (ROOT / "solutions" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert [marker for marker in MARKERS if marker in text] == []


@every_notebook
def test_announced_points_are_the_graded_ones(name):
    announced, graded = [], []
    for cell in published("release", name).cells:
        for points in re.findall(r"^### .*, ([\d.]+) puntos\)$", cell.source, re.M):
            announced.append(float(points))
            graded.append(0.0)
        if is_grade(cell):
            graded[-1] += float(cell.metadata.nbgrader.points)
    assert announced
    assert announced == graded


@every_notebook
def test_the_readme_gives_the_time_that_the_notebook_announces(name):
    title = "\n".join(cell.source for cell in published("release", name).cells[:2])
    lesson, exercises = re.search(r"(\d+) minutos de lección y (\d+) de ejercicios", title).groups()
    row = re.search(rf"^.*release/{name}/.*$", (ROOT / "README.md").read_text("utf-8"), re.M)[0]
    assert row.endswith(f"| {lesson} + {exercises} min |")


def secret_lines(name):
    """Las líneas que solo están en una solución o en una región oculta del maestro."""
    secret, shown = set(), set()
    for cell in inline_helpers(read_master(name)).cells:
        solution = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.S)
        hidden = HIDDEN_REGION.search(cell.source)
        parts = [*solution, hidden.group(1)] if hidden else solution
        rest = cell.source
        for part in parts:
            secret |= {line.strip() for line in part.splitlines()}
            rest = rest.replace(part, "")
        shown |= {line.strip() for line in rest.splitlines()}
    return {line for line in secret - shown if len(line) > 8}


@every_notebook
def test_release_holds_no_line_of_a_solution_or_a_hidden_test(name):
    lines = {
        line.strip()
        for cell in published("release", name).cells
        for line in cell.source.split("\n")
    }
    assert secret_lines(name)
    assert not lines & secret_lines(name)


@every_notebook
def test_every_solution_cell_of_the_release_names_its_task(name):
    cells = [c for c in published("release", name).cells if is_solution(c)]
    assert cells
    for cell in cells:
        if cell.cell_type == "code":
            assert f'raise NotImplementedError("{grade_id(cell)}")' in cell.source
        else:
            assert "Escribe aquí tu respuesta" in cell.source


@every_notebook
def test_every_visible_test_says_what_fails(name):
    for cell in published("release", name).cells:
        if is_grade(cell) and not is_solution(cell):
            asserts = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Assert)]
            assert asserts, grade_id(cell)
            assert all(node.msg for node in asserts), grade_id(cell)


@every_notebook
def test_release_and_source_have_no_outputs_and_solutions_do(name):
    for folder in ("source", "release"):
        code = [c for c in published(folder, name).cells if c.cell_type == "code"]
        assert all(not c.outputs and c.execution_count is None for c in code)
    solved = [c for c in published("solutions", name).cells if c.cell_type == "code"]
    assert any("image/png" in o.get("data", {}) for c in solved for o in c.outputs)
    assert not any(o.output_type == "error" for c in solved for o in c.outputs)


@every_notebook
def test_pair_has_no_warnings_and_no_widgets_without_state(name):
    for cell in read(ROOT / "notebooks" / f"{name}.ipynb").cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr"
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@every_notebook
def test_export_cells_of_every_version_only_define(name):
    for folder in ("source", "release", "solutions"):
        for cell in published(folder, name).cells:
            if "export" in cell.metadata.get("tags", []):
                kinds = (
                    ast.Import,
                    ast.ImportFrom,
                    ast.FunctionDef,
                    ast.ClassDef,
                    ast.Assign,
                    ast.AugAssign,
                )
                assert all(isinstance(node, kinds) for node in ast.parse(cell.source).body)


# --- En un entorno con lo que trae Colab y nada más -----------------------------------------------


def closure(names):
    """Las distribuciones instaladas que necesitan otras, con ellas."""
    found, pending = {}, list(names)
    while pending:
        name = pending.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return found


@pytest.fixture(scope="session")
def colab_python(tmp_path_factory):
    """El Python de un entorno con solo los paquetes de Colab, enlazados desde el actual."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for distribution in closure(COLAB).values():
        for top in {Path(file).parts[0] for file in distribution.files or []}:
            target = Path(distribution.locate_file(top))
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(target)
    python = folder / "bin" / "python"
    for module, code in [("torch", 0), ("autograder", 1), ("nbgrader", 1), ("jupytext", 1)]:
        command = [python, "-c", f"import {module}"]
        assert subprocess.run(command, cwd=folder, capture_output=True).returncode == code
    return python


def imported(tree):
    """Los paquetes que importa un programa."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.skipif(sys.platform == "win32", reason="enlaza paquetes: no en Windows")
@every_notebook
def test_release_runs_alone(name, colab_python, tmp_path):
    """Sin este paquete, solo fallan los huecos por resolver, y no se importa nada más que Colab.

    Los entrenamientos, que son el mismo código en la pareja, los repite nbval.
    """
    notebook = published("release", name)
    client = NoWidgetsClient(
        notebook,
        timeout=300,
        allow_errors=True,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = str(colab_python)
    client.execute(env={**os.environ, "PYTHONPATH": ""})
    failures = {}
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", (index, output.text)
            if output.output_type == "error":
                failures[index] = output.ename
    exercises = min(i for i, c in enumerate(notebook.cells) if is_solution(c))
    assert failures
    assert min(failures) > exercises
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    # IPython lo trae ipykernel; pooch es solo de la sección opcional, que sin él se salta.
    allowed = {*COLAB, "IPython", "pooch", *sys.stdlib_module_names}
    assert imported(ast.parse(code)) <= allowed
    # Sin resolver, las celdas de los ejercicios fallan con su nombre; las que miran su resultado,
    # porque falta una variable.
    assert set(failures.values()) <= {"NotImplementedError", "NameError"}
