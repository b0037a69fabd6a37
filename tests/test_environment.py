"""Un solo conjunto de versiones, y que lo usen todos."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from autograder.conventions import ROOT


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
DIRECT = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
]
PINNED = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text_of("constraints.txt"), re.M)
}


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_every_dependency_has_one_version_that_fits(requirement):
    assert PINNED[canonicalize_name(requirement.name)] in requirement.specifier


def test_constraints_pin_everything_once():
    lines = [line for line in text_of("constraints.txt").splitlines() if not line.startswith("#")]
    assert len(lines) == len(PINNED)


def test_torch_is_the_agreed_one():
    assert str(PINNED["torch"]) == "2.13.0"


def test_everyone_installs_with_the_same_constraints():
    assert "pip install --quiet --disable-pip-version-check -c constraints.txt -e" in text_of(
        "Makefile"
    )
    assert re.search(r"- -c constraints\.txt\n\s+- -e \.\[dev\]", text_of("environment.yml"))
    assert "make test" in text_of(".ci/run")
    assert "pip install" not in text_of(".ci/run")


def test_python_version_agrees():
    wanted = re.search(r"python=(\d+\.\d+)", text_of("environment.yml"))[1]
    assert Version(wanted) in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_github_runs_the_same_as_everyone():
    workflow = text_of(".github/workflows/ci.yml")
    assert "- run: .ci/run\n" in workflow
    assert "pip install" not in workflow
    wanted = re.search(r"python=(\d+\.\d+)", text_of("environment.yml"))[1]
    assert f'python-version: "{wanted}"' in workflow


def hooks(folder):
    """Lo que dicen de una carpeta los ganchos de pre-commit que no dependen del curso."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "SKIP": "ruff,ruff-format,build",
        "PRE_COMMIT_HOME": str(folder.parent / "ganchos"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    shutil.copy(ROOT / ".pre-commit-config.yaml", folder)
    for order in (["git", "init", "-q"], ["git", "add", "-f", "."]):
        subprocess.run(order, cwd=folder, env=environment, check=True)
    order = ["pre-commit", "run", "--all-files", "--color=never"]
    return subprocess.run(order, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("file", "content", "hook"),
    [
        ("a.ipynb", "ok", None),
        ("a.ipynb", {"text": "/home/estudiante_01/curso"}, "rutas"),
        ("a.ipynb", {"name": "stderr"}, "avisos"),
        ("a.ipynb", {"output_type": "error"}, "avisos"),
        ("gradebook.db", "", "datos"),
        ("submitted/estudiante_01/a.txt", "", "datos"),
    ],
)
def test_hooks_refuse_what_should_not_be_committed(tmp_path, file, content, hook):
    path = tmp_path / "curso" / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    found = hooks(tmp_path / "curso")
    assert found.returncode == (1 if hook else 0), found.stdout + found.stderr
    assert re.findall(r"hook id: (\w+)", found.stdout) == ([hook] if hook else [])


def test_personal_data_is_ignored_by_git():
    ignored = text_of(".gitignore").splitlines()
    for path in ("gradebook.db", "submitted/", "autograded/", "feedback/"):
        assert path in ignored


def test_make_lab_keeps_what_a_student_wrote(tmp_path):
    for name in ("constraints.txt", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    release, copied = tmp_path / "release", tmp_path / "mis_cuadernos"
    for path, text in {
        release / "a" / "a.ipynb": "de serie",
        release / "b" / "b.ipynb": "de serie",
        copied / "a" / "a.ipynb": "lo mío",
        tmp_path / ".venv" / "bin" / "jupyter": "#!/bin/sh\n",
        tmp_path / ".venv" / "listo": "",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / ".venv" / "bin" / "jupyter").chmod(0o755)

    subprocess.run(["make", "lab"], cwd=tmp_path, check=True, capture_output=True)

    assert (copied / "a" / "a.ipynb").read_text() == "lo mío"
    assert (copied / "b" / "b.ipynb").read_text() == "de serie"
