"""Ejecutar una entrega: sus celdas en un kernel aislado, y las de pruebas en este proceso."""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_solution
from traitlets import Bool, Integer, Tuple

from autograder.isolation.provisioner import SandboxKernelManager
from autograder.isolation.trusted import AgentListener, error_output, run_cell
from autograder.isolation.warm import shared_server
from autograder.limits import Limits
from autograder.notebooks import is_executed

SAFE_TYPES = ("text/plain", "image/png", "image/jpeg")  # nada que un navegador pueda ejecutar
GRACE_SECONDS = 2


class IsolatedExecute(Execute):
    """`Execute` de nbgrader, con el kernel encerrado y las pruebas fuera de él.

    Las celdas de pruebas no pasan nunca por el kernel: se ejecutan aquí, y los nombres que definió
    la entrega son objetos que viven allí (`autograder.isolation.proxies`).
    """

    isolated = Bool(True, help="Encerrar el código de las entregas.").tag(config=True)
    notebook_timeout = Integer(Limits.notebook_seconds, help="Segundos.").tag(config=True)
    memory = Integer(Limits.memory, help="Bytes.").tag(config=True)
    disk = Integer(Limits.disk, help="Bytes.").tag(config=True)
    processes = Integer(Limits.processes, help="Procesos e hilos.").tag(config=True)
    prelude = Tuple(help="El código con el que empieza el cuaderno, si no es de quien estudia.")
    max_output = Integer(Limits.output, help="Caracteres por celda.").tag(config=True)

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        message = f"La celda tardó más de {self.timeout} s y se interrumpió."
        self.error_on_timeout = {
            "ename": "TiempoAgotado",
            "evalue": message,
            "traceback": [f"TiempoAgotado: {message}"],
        }
        self.shutdown_kernel = "immediate"
        self.timeout_func = self._cell_seconds
        self.record_timing = False

    def create_kernel_manager(self) -> KernelManager:
        limits = {"memory": self.memory, "disk": self.disk, "processes": self.processes}
        self.km = SandboxKernelManager(shared_server(self.isolated, self.prelude), limits)
        return self.km

    def preprocess(
        self, nb: NotebookNode, resources: dict | None = None, km: Any = None
    ) -> tuple[NotebookNode, dict]:
        self.deadline = time.monotonic() + self.notebook_timeout
        self.ended = ""  # por qué no se puede ejecutar nada más
        self.extra_seconds = 0
        self.done = len(self.prelude)  # las celdas que el kernel ya encuentra ejecutadas
        return super().preprocess(nb, resources or {}, km=km)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple:
        self.written = 0
        if time.monotonic() > self.deadline:
            self.ended = self.ended or f"El cuaderno tardó más de {self.notebook_timeout} s."
        if self.ended:
            if _is_test(cell):
                cell.outputs = [error_output("ProgramaCerrado", self.ended)]
            return cell, resources
        if self.done and is_executed(cell):
            self.done -= 1
            return cell, resources
        if _is_test(cell):
            return self._grade_cell(cell, resources, index), resources
        self._execute_inside(cell, resources, index)
        return cell, resources

    def _execute_inside(self, cell: NotebookNode, resources: dict, index: int) -> None:
        """Ejecuta una celda en el kernel; si ya no se puede contar con él, lo anota."""
        try:
            super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self.ended = self._why_dead()
        except CellTimeoutError:  # ni siquiera atiende a la interrupción
            self.km.kill_at_once()
            cell.outputs.append(NotebookNode(output_type="error", **self.error_on_timeout))
            self.ended = "El programa no atendió a la interrupción y se cerró."

    # --- Las celdas de pruebas ---

    def _grade_cell(self, cell: NotebookNode, resources: dict, index: int) -> NotebookNode:
        """Ejecuta aquí una celda de pruebas, mientras el kernel atiende a lo que le pide."""
        home = "/kernel" if self.isolated else self.km.home
        serve = _code_cell(f"__import__('agent').serve('{home}/agent', globals())")
        deadline = time.monotonic() + self._cell_seconds(cell)
        cells, self.nb.cells = self.nb.cells, [*self.nb.cells[:index], serve]
        self.extra_seconds = GRACE_SECONDS  # el tiempo de la celda lo cuentan las pruebas
        with ThreadPoolExecutor(1) as pool, closing(AgentListener(self.km.home)) as listener:
            graded = pool.submit(self._run_tests, cell.source, listener, deadline)
            self._execute_inside(serve, resources, index)
        self.extra_seconds = 0
        self.nb.cells = cells
        printed = [output for output in serve.outputs if output.get("name") == "stdout"]
        cell.outputs = [*printed, *graded.result()]
        if self.ended and not any(o.output_type == "execute_result" for o in cell.outputs):
            cell.outputs = [*printed, error_output("ProgramaCerrado", self.ended)]
        return cell

    def _run_tests(
        self, source: str, listener: AgentListener, deadline: float
    ) -> list[NotebookNode]:
        try:
            channel = listener.accept(deadline)
        except OSError:
            return [error_output("ProgramaCerrado", self._why_dead())]
        with channel.connection:
            outputs = run_cell(source, channel)
        if isinstance(channel.problem, TimeoutError):
            return [NotebookNode(output_type="error", **self.error_on_timeout)]
        return outputs

    # --- Lo que llega del kernel ---

    def process_message(self, msg: dict, cell: NotebookNode, cell_index: int) -> Any:
        """Como en nbclient, pero solo con salidas que no pueden ejecutar nada, y con un límite."""
        kind, content = msg["msg_type"], msg["content"]
        if kind.startswith("comm") or kind == "update_display_data":
            return None
        if kind in ("display_data", "execute_result"):
            data = content.get("data", {})
            content["data"] = {key: data[key] for key in SAFE_TYPES if key in data}
            content["metadata"], content["transient"] = {}, {}
        if kind in ("stream", "display_data", "execute_result", "error"):
            self.written += len(str(content))
            if self.written > self.max_output:
                return None
        return super().process_message(msg, cell, cell_index)

    def _cell_seconds(self, cell: NotebookNode) -> int:
        left = self.deadline - time.monotonic()
        return max(1, int(min(self.timeout, left))) + self.extra_seconds

    def _why_dead(self) -> str:
        if self.km.death_reason == "memoria":
            return f"El programa usó más de {self.memory >> 20} MB de memoria y se cerró."
        return "Las pruebas no llegaron al final: el programa se cerró antes o durante ellas."


def _code_cell(source: str) -> NotebookNode:
    """Una celda de código. `nbformat.v4.new_code_cell` la comprobaría, que cuesta 1 ms."""
    empty: dict[str, Any] = {"metadata": NotebookNode(), "outputs": [], "execution_count": None}
    return NotebookNode(cell_type="code", source=source, **empty)


def _is_test(cell: NotebookNode) -> bool:
    return is_grade(cell) and not is_solution(cell) and cell.cell_type == "code"


def execute(notebook: NotebookNode, limits: Limits, prelude: tuple[str, ...] = ()) -> NotebookNode:
    """Una copia del cuaderno con sus salidas; los errores y los límites superados, en su celda.

    Args:
        prelude: el código de sus primeras celdas, si es del curso. Se ejecuta una vez para muchas
            entregas, y esas celdas se quedan sin salidas.
    """
    step = IsolatedExecute(
        timeout=limits.cell_seconds,
        notebook_timeout=limits.notebook_seconds,
        memory=limits.memory,
        disk=limits.disk,
        processes=limits.processes,
        max_output=limits.output,
        isolated=limits.isolated,
        prelude=prelude,
    )
    return step.preprocess(copy.deepcopy(notebook), {})[0]
