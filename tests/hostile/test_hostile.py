"""Ningún ataque gana un punto, lee o cambia nada de fuera, ni estorba a la entrega siguiente."""

import copy
import json
import socket

import pytest

from autograder.grading import grade_notebook
from autograder.isolation.warm import shared_servers
from autograder.limits import Limits
from tests.hostile.attacks import ATTACKS, FORGERIES, NAME, forged
from tests.support import published

SECRET = "SECRETO"
LIMITS = Limits(cell_seconds=4, notebook_seconds=40, memory=700 * 2**20, disk=50 * 2**20)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Lo que hay fuera: un curso con otra entrega y un libro de notas, y un servidor en la red."""
    secret = tmp_path / "curso" / "submitted" / "estudiante_02" / "entrega.ipynb"
    canary = tmp_path / "casa" / "gradebook.db"
    for path in (secret, canary):
        path.parent.mkdir(parents=True)
        path.write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("CLAVE_DE_QUIEN_CORRIGE", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield secret, canary, server.getsockname()[1]
    assert secret.read_text(encoding="utf-8") == SECRET
    assert canary.read_text(encoding="utf-8") == SECRET
    assert sorted(p.name for p in canary.parent.iterdir()) == [canary.name]


def assert_next_is_graded_right(assignment):
    assert grade_notebook(published("solutions", NAME), assignment(NAME)).points == 18
    for server in (server for server in shared_servers() if server.isolated):
        assert [path.name for path in server.folder.iterdir()] == ["server"]


@pytest.mark.parametrize("attack", ATTACKS, ids=[f"{a.kind}: {a.name}" for a in ATTACKS])
def test_attack_gains_nothing(attack, outside, assignment):
    secret, canary, port = outside
    notebook = attack.notebook(str(secret), str(canary))
    for cell in notebook.cells:
        cell.source = cell.source.replace("{port}", str(port))
    graded = grade_notebook(notebook, assignment(NAME), LIMITS)
    assert graded.points == 0
    outputs = json.dumps([c.get("outputs", []) for c in graded.notebook.cells])
    assert len(outputs) < 2_000_000
    assert "text/html" not in json.dumps(
        [c.get("outputs", []) for c in graded.notebook.cells if c.source == attack.code]
    )
    for exercise in graded.exercises:
        for check in exercise.checks:
            assert len(check.message) < 5000
            assert "\x1b" not in check.message
    if attack.kind != "mentir":
        assert SECRET not in outputs.replace(json.dumps(attack.code), "")
    assert_next_is_graded_right(assignment)


@pytest.mark.parametrize("how", FORGERIES)
def test_forged_metadata_gains_nothing(how, assignment):
    notebook = forged(copy.deepcopy(published("release", NAME)), how)
    assert grade_notebook(notebook, assignment(NAME), LIMITS).points == 0
