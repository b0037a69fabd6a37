"""Ejecutar una celda de pruebas aquí, con los objetos de la entrega en su kernel."""

from __future__ import annotations

import ast
import contextlib
import socket
import time
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.checks import showing
from autograder.isolation.proxies import Channel
from autograder.source import free_names


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
        outputs.append(new_output("display_data", data=shown._repr_mimebundle_()))

    token = showing.set(show)
    try:
        value = _execute(source, _namespace(source, channel))
        if value is not None:
            outputs.append(new_output("execute_result", data={"text/plain": repr(value)}))
    except (Exception, SystemExit) as error:
        outputs.append(error_output(type(error).__name__, str(error)))
    finally:
        showing.reset(token)
    return outputs


def error_output(name: str, message: str) -> NotebookNode:
    """Un error, como lo guarda un cuaderno."""
    return new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


def _namespace(source: str, channel: Channel) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for name in sorted(free_names(source)):
        try:
            namespace[name] = channel.request("name", name=name)
        except NameError:
            continue  # quien lo use verá el mismo error que en un cuaderno
    return namespace


def _execute(source: str, namespace: dict[str, Any]) -> Any:
    """Ejecuta el código y devuelve el valor de su última expresión, si termina en una."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "<pruebas>", "exec"), namespace)
        return None
    del tree.body[-1]
    exec(compile(tree, "<pruebas>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<pruebas>", "eval"), namespace)
