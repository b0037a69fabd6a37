"""Lo que conviene mirar en una entrega: no quita puntos ni acusa a nadie, avisa."""

from __future__ import annotations

import ast
from collections import Counter

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_locked

from autograder.assignments import Assignment
from autograder.masters import HIDDEN_REGION
from autograder.notebooks import grade_id

# Lo que ningún ejercicio pide, y sirve para mirar o tocar lo que no es de uno.
MODULES = {"builtins", "ctypes", "gc", "importlib", "inspect", "os", "socket", "subprocess", "sys"}
NAMES = {"__builtins__", "__import__", "compile", "eval", "exec", "get_ipython", "globals"}


def notices(submission: NotebookNode, assignment: Assignment) -> list[str]:
    """Los avisos de una entrega, una línea cada uno."""
    return [*_about_tests(submission, assignment), *_about_code(submission, assignment)]


def _about_tests(submission: NotebookNode, assignment: Assignment) -> list[str]:
    """Celdas de pruebas cambiadas, borradas, repetidas o inventadas."""
    official = {
        str(grade_id(c)): _visible(c.source)
        for c in assignment.notebook.cells
        if is_grade(c) and is_locked(c)
    }
    named = [(str(grade_id(c)), c.source) for c in submission.cells]
    submitted = [(name, source) for name, source in named if name in official]
    counts = Counter(name for name, _ in submitted)
    edited = {name for name, source in submitted if _visible(source) != official[name]}
    missing = [name for name in official if name not in counts]
    repeated = [name for name, count in counts.items() if count > 1]
    invented = [
        str(grade_id(c)) for c in submission.cells
        if grade_id(c) and grade_id(c) not in assignment.grade_ids
    ]  # fmt: skip
    found = {
        "cambiadas": sorted(edited),
        "borradas": missing,
        "repetidas": repeated,
        "que no son del curso": invented,
    }
    return [f"pruebas {what}: {', '.join(names)}" for what, names in found.items() if names]


def _visible(source: str) -> str:
    return HIDDEN_REGION.sub("", source).strip()


def _about_code(submission: NotebookNode, assignment: Assignment) -> list[str]:
    """Módulos y nombres fuera de lugar en el código que no venía en el cuaderno."""
    given = {cell.source.strip() for cell in assignment.notebook.cells}
    given |= {_visible(source) for source in given}
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
        nodes = list(ast.walk(ast.parse(code)))
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
