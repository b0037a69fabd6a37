"""Preguntas sobre el código de una celda, sin ejecutarlo."""

from __future__ import annotations

import ast
import builtins


def is_python(source: str) -> bool:
    """Si un código es de Python, sin órdenes de IPython."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def free_names(source: str) -> set[str]:
    """Los nombres que un código usa sin importarlos ni definirlos."""
    read: set[str] = set()
    given = set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else given).add(node.id)
        elif isinstance(node, ast.alias):
            given.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
    return read - given
