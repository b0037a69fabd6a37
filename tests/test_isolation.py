"""El aislamiento: lo que hay dentro, lo que no queda al terminar, y qué pasa si no se puede."""

import os
import pwd
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.assignments import prelude
from autograder.cli import main
from autograder.conventions import ROOT
from autograder.errors import CourseError
from autograder.execution import execute
from autograder.grading import grade_notebook
from autograder.isolation import warm
from autograder.isolation.warm import WarmServer
from autograder.limits import Limits
from tests.support import published

NAME = "06_autoatencion"


def traces():
    """Los procesos que descienden de este y los montajes que hay ahora."""
    processes = {child.pid for child in psutil.Process().children(recursive=True)}
    return processes, Path("/proc/self/mounts").read_text()


def test_ten_in_a_row_and_two_at_once_leave_nothing(assignment):
    server = warm.shared_server(True, assignment(NAME).prelude)
    before = traces()
    notebook = published("solutions", NAME)
    for _ in range(10):
        assert grade_notebook(notebook, assignment(NAME)).points == 18
    results = []
    workers = [
        threading.Thread(
            target=lambda: results.append(grade_notebook(notebook, assignment(NAME)).points)
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [18, 18]
    assert traces() == before
    assert [path.name for path in server.folder.iterdir()] == ["server"]


def test_closing_the_server_leaves_nothing():
    before = traces()
    server = WarmServer()
    assert traces() != before
    server.close()
    assert traces() == before
    assert not server.folder.exists()


def test_without_sandbox_the_tests_still_run_outside(assignment):
    limits = Limits(isolated=False)
    assert grade_notebook(published("solutions", NAME), assignment(NAME), limits).points == 18
    assert grade_notebook(published("release", NAME), assignment(NAME), limits).points == 0


@pytest.mark.parametrize("reason", ["sin bwrap", "bwrap no puede"])
def test_refuses_when_it_cannot_isolate(reason, monkeypatch, capsys):
    broken = None if reason == "sin bwrap" else shutil.which("false")
    monkeypatch.setattr(warm, "_bwrap_program", lambda: broken)
    warm.close_shared_servers()
    notebook = ROOT / "release" / NAME / f"{NAME}.ipynb"
    try:
        assert main(["check", str(notebook)]) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("Este sistema no puede aislar")
        assert "--sin-sandbox" in error
        assert len(error.splitlines()) == 1
        assert main(["check", str(notebook), "--sin-sandbox"]) == 0
    finally:
        warm.close_shared_servers()


# --- El preámbulo: lo que se ejecuta una vez para muchas entregas ---------------------------------

PRELUDE = (
    "import random\nimport numpy as np\nimport torch",
    """
random.seed(6), np.random.seed(6), torch.manual_seed(6)

class Lesson:
    value = random.random()

    def read(self):
        return self.value
""",
)
ANSWER = """
import inspect, pickle
lesson = pickle.loads(pickle.dumps(Lesson()))
print(type(lesson), Lesson.value, inspect.getsource(Lesson.read))
print(random.random(), np.random.rand(), torch.rand(1), __name__)
"""


def notebook_of(*sources):
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def test_cells_executed_once_leave_everything_as_if_they_had_just_been_executed():
    notebook = notebook_of(*PRELUDE, ANSWER)
    once, each = execute(notebook, Limits(), PRELUDE), execute(notebook, Limits())
    assert once.cells[-1].outputs[0].text == each.cells[-1].outputs[0].text
    assert [cell.outputs for cell in once.cells[:-1]] == [[], []]


def test_a_kernel_cannot_change_what_the_next_one_finds():
    spoil = notebook_of(*PRELUDE, "Lesson.value = 0; torch.add = None; random.seed(1)")
    execute(spoil, Limits(), PRELUDE)
    notebook = notebook_of(*PRELUDE, ANSWER)
    after, clean = execute(notebook, Limits(), PRELUDE), execute(notebook, Limits())
    assert after.cells[-1].outputs[0].text == clean.cells[-1].outputs[0].text


def test_changes_before_the_first_exercise_are_executed(assignment):
    notebook = published("solutions", NAME)
    notebook.cells.insert(0, new_code_cell("print('mi celda')"))
    graded = grade_notebook(notebook, assignment(NAME))
    assert graded.points == 18
    assert graded.notebook.cells[0].outputs[0].text == "mi celda\n"


def test_the_prelude_ends_at_the_first_exercise_or_ipython_command():
    notebook = notebook_of("a = 1", "%matplotlib inline", "b = 2")
    assert prelude(notebook) == ("a = 1",)
    notebook = notebook_of("a = 1", "train()", "", "b = 2", "c = 3")
    notebook.cells[1].metadata["tags"] = ["skip-execution"]
    exercise = {"grade_id": "ej", "solution": True, "grade": False, "locked": False}
    notebook.cells[4].metadata["nbgrader"] = {**exercise, "schema_version": 3, "task": False}
    assert prelude(notebook) == ("a = 1", "b = 2")


def test_a_failing_prelude_says_so():
    with pytest.raises(CourseError, match=r"Falla una celda del principio .*NameError: .*nada"):
        WarmServer(prelude=("a = 1", "nada"))


# --- Los objetos de la entrega, vistos desde aquí -------------------------------------------------

DEFINITIONS = """
import torch
from torch import nn

class Layer(nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.inner = nn.Linear(size, size)
        self.size = size
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x, double=False):
        y = self.inner(x) * (2 if double else 1)
        return y, {"mean": y.mean(), "rows": [x.sum(-1)], "name": "capa"}

def same(x): return x
def spoil(x): x.zero_()
def fail(kind):
    class Mine(ValueError): pass
    raise {"mine": Mine, "key": KeyError, "exit": SystemExit}[kind]("motivo")
"""


@pytest.fixture
def tests():
    """`tests(código)`: ejecuta código de pruebas aquí, con DEFINITIONS en un kernel aislado."""
    from nbformat.v4 import new_code_cell, new_notebook

    from autograder.execution import IsolatedExecute

    def run(source):
        graded = {"grade": True, "solution": False, "grade_id": "prueba", "points": 1}
        cells = [new_code_cell(DEFINITIONS), new_code_cell(source)]
        cells[1].metadata["nbgrader"] = {**graded, "locked": True, "schema_version": 3}
        executed, _ = IsolatedExecute(timeout=10).preprocess(new_notebook(cells=cells), {})
        outputs = executed.cells[1].outputs
        errors = [o.evalue for o in outputs if o.output_type == "error"]
        assert not errors, errors
        return outputs[-1]["data"]["text/plain"]

    return run


def test_modules_behave_like_modules(tests):
    tests("""
import torch
from torch import nn
layer = Layer(size=4)
assert isinstance(layer, nn.Module) and layer.size == 4
assert layer.training and not layer.eval().training and layer.inner is layer.inner
state = layer.state_dict()
layer.load_state_dict({**state, "inner.bias": torch.ones(4)})
assert torch.equal(dict(layer.named_parameters())["inner.bias"], torch.ones(4))
assert sum(p.numel() for p in layer.parameters()) == 20
y, more = layer(torch.zeros(2, 4), double=True)
assert torch.equal(y, torch.full((2, 4), 2.0))
assert more["name"] == "capa" and torch.equal(more["rows"][0], torch.zeros(2))
layer.size = 9
assert layer.size == 9
1.0
""")


def test_gradients_cross_the_boundary(tests):
    tests("""
import torch
from torch import nn
layer, oracle = Layer(), nn.Linear(3, 3)
oracle.load_state_dict({k[6:]: v for k, v in layer.state_dict().items() if k.startswith("inner")})
x = torch.randn(5, 3, requires_grad=True)
z = x.detach().clone().requires_grad_()
for factor in (1.0, 2.0):  # los gradientes se acumulan a los dos lados
    y, more = layer(x * factor)
    (y.pow(2).sum() + more["mean"]).backward()
    w = oracle(z * factor)
    (w.pow(2).sum() + w.mean()).backward()
assert torch.allclose(x.grad, z.grad, atol=1e-5)
found = {name: p.grad for name, p in layer.named_parameters()}
assert torch.allclose(found["inner.weight"], oracle.weight.grad, atol=1e-5)
layer.zero_grad()
assert all(p.grad is None for p in layer.parameters())
with torch.no_grad():
    assert not layer(x)[0].requires_grad
assert same(x).requires_grad
1.0
""")


def test_errors_and_changes_arrive(tests):
    tests("""
import torch
for kind, error in (("mine", ValueError), ("key", KeyError), ("exit", RuntimeError)):
    try:
        fail(kind)
    except error as caught:
        assert "motivo" in str(caught)
x = torch.ones(3)
spoil(x)
assert x.sum() == 0
try:
    not_there
except NameError:
    pass
1.0
""")


@pytest.mark.skipif(os.geteuid() != 0, reason="ya lo prueba todo lo demás, sin ser root")
def test_works_as_an_ordinary_user(tmp_path_factory):
    """El mismo aislamiento, sin ser root: con un espacio de usuario de bwrap."""
    reachable = [sys.prefix, sys.base_prefix, str(ROOT)]
    if any(not _others_can_enter(Path(path)) for path in reachable):
        pytest.skip("otra persona de esta máquina no puede leer el curso o su Python")
    code = (
        "from autograder.course import Course; from autograder.assignments import Assignment\n"
        "from autograder.grading import grade_notebook; from autograder.notebooks import read\n"
        f"path = Course().root / 'solutions/{NAME}/{NAME}.ipynb'\n"
        f"print(grade_notebook(read(path), Assignment.load('{NAME}', Course())).points)\n"
    )
    nobody = pwd.getpwnam("nobody")
    result = subprocess.run(
        [sys.executable, "-c", code],
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        cwd=ROOT,
        env={**os.environ, "HOME": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "18.0", result.stderr


def _others_can_enter(path):
    return all(part.stat().st_mode & 0o001 for part in [path, *path.parents])
