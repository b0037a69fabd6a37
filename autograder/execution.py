"""Ejecutar una entrega: aquí, como lo hace nbgrader, en un kernel corriente."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, setenv


@dataclass(frozen=True)
class Limits:
    """Lo más que puede gastar una entrega."""

    cell_seconds: int = 30

    def timeout_error(self) -> dict[str, object]:
        """El error que se anota en una celda que supera su tiempo, como lo quiere nbgrader."""
        message = f"La celda tardó más de {self.cell_seconds} s y se interrumpió."
        return {
            "ename": "TiempoAgotado",
            "evalue": message,
            "traceback": [f"\x1b[0;31mTiempoAgotado\x1b[0m: {message}"],
        }


def execute(notebook: NotebookNode, limits: Limits) -> NotebookNode:
    """Ejecuta el cuaderno en una carpeta temporal y devuelve una copia con sus salidas.

    Los errores y los tiempos agotados se anotan en su celda y se sigue con la próxima. Si el
    kernel muere, las celdas de pruebas que quedaban por ejecutar llevan un error que lo dice.
    """
    step = Execute(
        timeout=limits.cell_seconds,
        error_on_timeout=limits.timeout_error(),
    )
    with tempfile.TemporaryDirectory() as folder, setenv(NBGRADER_EXECUTION="autograde"):
        try:
            executed, _ = step.preprocess(notebook, {"metadata": {"path": folder}})
        except DeadKernelError:
            executed = step.nb
            _mark_dead_kernel(executed)
    return executed


def _mark_dead_kernel(notebook: NotebookNode) -> None:
    message = "El kernel murió antes de llegar a esta celda o mientras la ejecutaba."
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_grade(cell) and cell.execution_count is None:
            error = new_output("error", ename="KernelMuerto", evalue=message, traceback=[message])
            cell.outputs.append(error)
