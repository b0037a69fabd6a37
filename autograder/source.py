"""Preguntas sobre el código de una celda, sin ejecutarlo."""

from __future__ import annotations

import ast
import builtins
import threading

# Hasta Python 3.11.8 y 3.12.2, `ast.parse` falla a veces con SystemError si dos hilos lo usan a la
# vez: comparten un contador (github.com/python/cpython/issues/106905).
_parsing = threading.Lock()


def parse(source: str) -> ast.Module:
    """El árbol de un código, también desde varios hilos.

    Raises:
        SyntaxError, ValueError, RecursionError o MemoryError, como `ast.parse`.
    """
    with _parsing:
        return ast.parse(source)


def is_python(source: str) -> bool:
    """Si un código es de Python, sin órdenes de IPython."""
    try:
        parse(source)
    except SyntaxError:
        return False
    return True


def free_names(source: str) -> set[str]:
    """Los nombres que un código usa sin importarlos ni definirlos."""
    read: set[str] = set()
    given = set(dir(builtins))
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else given).add(node.id)
        elif isinstance(node, ast.alias):
            given.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
    return read - given


def defined_names(source: str) -> set[str]:
    """Los nombres que un código importa o define, fuera de toda función; vacío si no es Python."""
    try:
        body = parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {
                n.id
                for n in ast.walk(node)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
    return names
