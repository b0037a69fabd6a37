"""Meter en un cuaderno el código de las ayudas de `apoyo.py` que importa."""

from __future__ import annotations

import ast
import copy
import re
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode

from autograder.conventions import EXPORT_TAG, HELPERS, MASTERS
from autograder.errors import CourseError

HELPER_IMPORT = re.compile(rf"^\s*(from|import)\s+{HELPERS}\b", re.M)


@dataclass(frozen=True)
class _Piece:
    """Una importación o definición de `apoyo.py`: los nombres que da y los que necesita."""

    source: str
    gives: frozenset[str]
    needs: frozenset[str]
    is_import: bool


def inline_helpers(notebook: NotebookNode) -> NotebookNode:
    """Una copia en la que `from apoyo import …` es una celda plegada con el código importado.

    Lleva solo las ayudas pedidas y lo que estas necesitan. Sin importaciones de `apoyo`, la copia
    es igual al original.

    Raises:
        CourseError: si se pide una ayuda que no existe, o de una forma que no sea esa.
    """
    notebook = copy.deepcopy(notebook)
    wanted: set[str] = set()
    first = None
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not HELPER_IMPORT.search(cell.source):
            continue
        cell.source, names = _without_helper_imports(cell.source)
        if names and first is None:
            first = index
        wanted |= names
    if first is not None:
        notebook.cells.insert(first, _helpers_cell(helper_source(wanted)))
    return notebook


def _without_helper_imports(source: str) -> tuple[str, set[str]]:
    """El código sin sus `from apoyo import …`, y los nombres que importaban."""
    lines: list[str | None] = list(source.splitlines())
    names: set[str] = set()
    rest = []
    for node in _statements(source):
        if not isinstance(node, ast.ImportFrom) or node.module != HELPERS:
            rest.append(ast.dump(node))
            continue
        if any(alias.asname or alias.name == "*" for alias in node.names):
            raise CourseError(f"Importa de {HELPERS} nombres sueltos, sin «as» ni «*».")
        names |= {alias.name for alias in node.names}
        for line in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[line] = None
    kept = "\n".join(line for line in lines if line is not None)
    if HELPER_IMPORT.search(kept) or [ast.dump(node) for node in _statements(kept)] != rest:
        raise CourseError(
            f"Escribe «from {HELPERS} import nombre» en su propia línea y sin sangrar, y nunca "
            f"«import {HELPERS}»: al publicar se quita."
        )
    return kept, names


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise CourseError(f"Una celda que importa de {HELPERS} no es Python: {error}.") from None


def helper_source(names: set[str]) -> str:
    """El código de unas ayudas de `apoyo.py` y de todo lo que necesitan, en su orden.

    Raises:
        CourseError: si alguna no existe.
    """
    pieces = _pieces((MASTERS / f"{HELPERS}.py").read_text(encoding="utf-8"))
    needed, pending = set(), set(names)
    while pending:
        name = pending.pop()
        owner = next((p for p in pieces if name in p.gives), None)
        if owner is None:
            raise CourseError(f"{HELPERS}.py no define «{name}».")
        if owner not in needed:
            needed.add(owner)
            known = {given for piece in pieces for given in piece.gives}
            pending |= owner.needs & known
    used = [piece for piece in pieces if piece in needed]
    imports = "\n".join(piece.source for piece in used if piece.is_import)
    definitions = [piece.source for piece in used if not piece.is_import]
    return "\n\n\n".join([imports, *definitions] if imports else definitions)


def _pieces(source: str) -> list[_Piece]:
    pieces = []
    for node in ast.parse(source).body:
        text = "\n".join(source.splitlines()[_first_line(node) - 1 : node.end_lineno])
        if isinstance(node, ast.Import | ast.ImportFrom):
            given = {alias.asname or alias.name.split(".")[0] for alias in node.names}
            pieces.append(_Piece(text, frozenset(given), frozenset(), True))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            pieces.append(_Piece(text, frozenset([node.name]), _names_read(node), False))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            given = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            pieces.append(_Piece(text, frozenset(given), _names_read(node), False))
    return pieces


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


def _names_read(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _helpers_cell(source: str) -> NotebookNode:
    """La celda de las ayudas: plegada en JupyterLab y en Colab."""
    cell = nbformat.v4.new_code_cell(f"# @title Ayudas del curso (no hace falta leerlas)\n{source}")
    cell.metadata = nbformat.from_dict(
        {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": [EXPORT_TAG]}
    )
    return cell
