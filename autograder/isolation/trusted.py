"""Ejecutar una celda de pruebas aquí, con los objetos de la entrega en su kernel."""

from __future__ import annotations

import ast
import contextlib
import socket
import time
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

from nbformat import NotebookNode

from autograder.checks import showing
from autograder.isolation.proxies import Channel
from autograder.source import free_names, parse


class AgentListener:
    """El lugar donde el kernel de una entrega se pone al habla."""

    def __init__(self, home: Path):
        self.path = home / "agent"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path.unlink(missing_ok=True)
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)
        self.socket.listen(1)

    def accept(self, deadline: float) -> Channel:
        """Espera al kernel.

        Raises:
            OSError: si no llega a tiempo, o si deja de esperarse.
        """
        self.socket.settimeout(max(deadline - time.monotonic(), 1e-3))
        connection, _ = self.socket.accept()
        return Channel(connection, deadline)

    def close(self) -> None:
        """Deja de esperar: quien esté esperando recibe un error."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.path.unlink(missing_ok=True)


def run_cell(source: str, channel: Channel) -> list[NotebookNode]:
    """Las salidas de una celda de pruebas, con los nombres que no define tomados de la entrega."""
    outputs: list[NotebookNode] = []

    def show(shown: Any) -> None:
        outputs.append(_output("display_data", data=shown._repr_mimebundle_()))

    token = showing.set(show)
    try:
        value = _execute(source, channel)
        if value is not None:
            data = {"text/plain": repr(value)}
            outputs.append(_output("execute_result", data=data, execution_count=None))
    except (Exception, SystemExit) as error:
        outputs.append(error_output(type(error).__name__, str(error)))
    finally:
        showing.reset(token)
    return outputs


def error_output(name: str, message: str) -> NotebookNode:
    """Un error, como lo guarda un cuaderno."""
    traceback = [f"{name}: {message}"]
    return NotebookNode(output_type="error", ename=name, evalue=message, traceback=traceback)


def _output(kind: str, data: dict[str, Any], **fields: Any) -> NotebookNode:
    """Una salida con datos. `nbformat.v4.new_output` la comprobaría, que cuesta 1 ms."""
    return NotebookNode(output_type=kind, data=data, metadata=NotebookNode(), **fields)


@cache
def _compiled(source: str) -> tuple[list[str], CodeType, CodeType | None]:
    """Los nombres que no define un código, y él, con su última expresión aparte si acaba en una.

    Una celda de pruebas es la misma en todas las entregas.
    """
    tree = parse(source)
    last = tree.body[-1] if tree.body else None
    value = None
    if isinstance(last, ast.Expr):
        del tree.body[-1]
        value = compile(ast.Expression(last.value), "<pruebas>", "eval")
    return sorted(free_names(source)), compile(tree, "<pruebas>", "exec"), value


def _execute(source: str, channel: Channel) -> Any:
    """Ejecuta el código y devuelve el valor de su última expresión, si termina en una."""
    names, body, value = _compiled(source)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for name in names:
        # Quien use un nombre que no existe verá el mismo error que en un cuaderno.
        with contextlib.suppress(NameError):
            namespace[name] = channel.request("name", name=name)
    exec(body, namespace)
    return eval(value, namespace) if value else None
