"""La lista de CONTRIBUTING.md: basta para añadir un mecanismo, y la construcción la exige."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from autograder.conventions import ROOT
from autograder.masters import COMPANIONS

NAME = "10_atencion_dura"
TOY = ROOT / "tests" / "toy"
ROW = f"| 10 | [Atención dura](release/{NAME}/{NAME}.ipynb) | 10a `hard_attention` | 5 + 10 min |\n"
TERM = "| atención dura | *hard attention* | la que da todo el peso a una clave |\n"
GENERATED = {
    f"notebooks/{NAME}.ipynb",
    *(f"{folder}/{NAME}/{NAME}.ipynb" for folder in ("source", "release", "solutions")),
    f"docs/img/{NAME}.png",
}
WRITES_ELSEWHERE = {".git", ".venv", "curso", "capturas", "mis_cuadernos"}


def checklist() -> list[str]:
    """Los archivos que nombra la lista, en su orden, con el nombre del mecanismo de juguete."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Un mecanismo nuevo\n")[1].split("\n## ")[0]
    paths = re.findall(r"^\d+\. `([^`]+)`", section, re.M)
    return [path.replace("NN_tema", NAME) for path in paths]


@pytest.fixture
def course(tmp_path):
    """Una copia del curso entero."""

    def ignored(_, names):
        return [n for n in names if n in WRITES_ELSEWHERE or re.search(r"cache|egg-info", n)]

    return shutil.copytree(ROOT, tmp_path / "curso", ignore=ignored)


def run(course, *arguments):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)


def insert(path, after, text):
    """Añade una línea después de la que empieza así."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith(after))
    path.write_text("".join([*lines[: place + 1], text, *lines[place + 1 :]]), encoding="utf-8")


def changed(course):
    """Los archivos de la copia que no están en el curso, o que son otros."""
    paths = (p for p in course.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    names = (p.relative_to(course) for p in paths if not re.search(r"/\.|egg-info", p.as_posix()))
    return {
        name.as_posix()
        for name in names
        if not (ROOT / name).exists() or (ROOT / name).read_bytes() != (course / name).read_bytes()
    }


def test_the_list_is_the_one_the_build_asks_for():
    written = {path.relative_to(TOY).as_posix() for path in TOY.rglob("*.py")}
    asked = {template.format(NAME) for template in COMPANIONS}
    assert written == asked | {f"notebooks/{NAME}.py"}
    edited = {"README.md", "docs/glosario.md", "tests/prose/palabras.txt"}
    assert {*checklist()} == written | edited


def test_without_the_rest_the_build_says_what_is_missing(course):
    shutil.copy(TOY / "notebooks" / f"{NAME}.py", course / "notebooks")
    result = run(course, "autograder", "build", NAME)
    assert result.returncode == 2
    for template in COMPANIONS:
        assert f"{NAME}: falta {template.format(NAME)}, con " in result.stderr
    assert f"{NAME}: README.md no tiene su fila" in result.stderr
    assert not (course / "release" / NAME).exists()


def test_following_the_list_adds_a_mechanism(course):
    shutil.copytree(TOY, course, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    insert(course / "README.md", "| 09 |", ROW)
    insert(course / "docs" / "glosario.md", "| atención |", TERM)
    insert(course / "tests" / "prose" / "palabras.txt", "XQuAD", "Xu\n")
    result = run(course, "autograder", "build", NAME)
    assert result.returncode == 0, result.stderr
    assert changed(course) == {*checklist(), *GENERATED}

    for folder, points in {"release": 0.0, "solutions": 5.0}.items():
        path = f"{folder}/{NAME}/{NAME}.ipynb"
        graded = json.loads(run(course, "autograder", "check", path, "--json").stdout)
        assert (graded["points"], graded["max_points"]) == (points, 5.0)

    own = ["checks", "prose", f"references/test_{NAME}.py", "test_masters.py", "test_published.py"]
    tests = run(course, "pytest", *(f"tests/{path}" for path in own), "-k", "10_ or 10-")
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", tests.stdout)[1]) > 30
