"""Lo que conviene mirar en el código de una entrega: no quita puntos ni acusa a nadie, avisa."""

from __future__ import annotations

import ast

from nbformat import NotebookNode

from autograder.assignments import Assignment
from autograder.source import parse

# Lo que ningún ejercicio pide, y sirve para mirar o tocar lo que no es de uno.
MODULES = {"builtins", "ctypes", "gc", "importlib", "inspect", "os", "socket", "subprocess", "sys"}
NAMES = {"__builtins__", "__import__", "compile", "eval", "exec", "get_ipython", "globals"}


def notices(submission: NotebookNode, assignment: Assignment) -> list[str]:
    """Los avisos: módulos y nombres fuera de lugar en el código que no venía en el cuaderno."""
    given = {cell.source.strip() for cell in assignment.given.cells}
    used: set[str] = set()
    for cell in submission.cells:
        if cell.cell_type == "code" and cell.source.strip() not in given:
            used |= _out_of_place(cell.source)
    return [f"su código usa {', '.join(sorted(used))}"] if used else []


def _out_of_place(source: str) -> set[str]:
    lines = source.splitlines()
    code = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
    found = {"órdenes del sistema (!)" for line in lines if line.lstrip().startswith("!")}
    try:
        nodes = list(ast.walk(parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & MODULES
        elif isinstance(node, ast.Name):
            found |= {node.id} & NAMES
    return found
