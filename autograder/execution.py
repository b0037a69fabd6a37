"""Ejecutar una entrega: aquí, como lo hace nbgrader, en un kernel corriente."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_solution, setenv


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

    Los errores y los tiempos agotados se anotan en su celda y se sigue con la próxima. Una celda de
    pruebas que no llegó a su resultado (porque murió el kernel, por ejemplo) lleva un error que lo
    dice: nbgrader daría todos los puntos a una celda sin salidas.
    """
    step = Execute(timeout=limits.cell_seconds, error_on_timeout=limits.timeout_error())
    with tempfile.TemporaryDirectory() as folder, setenv(NBGRADER_EXECUTION="autograde"):
        try:
            executed, _ = step.preprocess(notebook, {"metadata": {"path": folder}})
        except DeadKernelError:
            executed = step.nb
    for cell in executed.cells:
        if is_grade(cell) and not is_solution(cell) and not _has_outcome(cell):
            cell.outputs.append(_unfinished())
    return executed


def _has_outcome(cell: NotebookNode) -> bool:
    return any(output.output_type in ("execute_result", "error") for output in cell.outputs)


def _unfinished() -> NotebookNode:
    message = "Las pruebas no llegaron al final: el programa se cerró antes o durante ellas."
    return new_output("error", ename="ProgramaCerrado", evalue=message, traceback=[message])
