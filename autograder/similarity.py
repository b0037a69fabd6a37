"""Soluciones casi iguales: cuáles se parecen entre sí, y cuáles a la publicada.

Parecerse no es copiar: en un ejercicio corto, las respuestas correctas se parecen.
"""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz, process

from autograder.assignments import Assignment
from autograder.results import Result

CUTOFF = 95.0  # desde qué parecido, de 0 a 100, dos soluciones son casi iguales
MIN_LENGTH = 200  # con menos código, parecerse no dice nada
MAX_LENGTH = 20_000  # lo que se mira de una celda: comparar cuesta el cuadrado
MAX_COMPARED = 1000  # con más entregas, solo se buscan las iguales
_ROWS = 256


@dataclass(frozen=True)
class Group:
    """Entregas casi iguales, cada una con alguna de las otras.

    Args:
        similarity: el menor parecido, de 0 a 100, de las parejas que pasan del corte.
    """

    students: tuple[str, ...]
    similarity: float


class Solutions:
    """El código de las respuestas de una clase, sin lo que no cambia lo que hace.

    Args:
        exact: si solo se buscan las iguales; entonces guarda un resumen de cada una.
    """

    def __init__(self, assignment: Assignment, exact: bool = False):
        self.exact = exact
        self.source = {name: normalise(text) for name, text in _cells(assignment.notebook).items()}
        self.authors: dict[str, list[str]] = {}
        self.published: list[tuple[str, float]] = []

    def add(self, result: Result) -> None:
        """Añade lo que respondió una persona, si da para comparar."""
        if not result.notebook:
            return
        written = _cells(json.loads(result.notebook))
        names = [n for n in self.source if n in written and n not in result.unanswered]
        code = "\n".join(normalise(written[name]) for name in names)
        if len(code) < MIN_LENGTH:
            return
        official = "\n".join(self.source[name] for name in names)
        score = 100.0 * (code == official)
        if not self.exact:
            score = fuzz.ratio(code, official, score_cutoff=CUTOFF)
        if score:
            self.published.append((result.student, score))
        key = hashlib.sha256(code.encode(errors="replace")).hexdigest() if self.exact else code
        self.authors.setdefault(key, []).append(result.student)

    def groups(self) -> list[Group]:
        """Los grupos de entregas casi iguales, del mayor al menor."""
        codes = list(self.authors)
        links = [] if self.exact else list(_links(codes))
        groups = []
        for members, similarity in _components(len(codes), links):
            students = sorted(s for index in members for s in self.authors[codes[index]])
            if len(students) > 1:
                groups.append(Group(tuple(students), similarity))
        return sorted(groups, key=lambda group: (-len(group.students), group.students))


def normalise(source: str) -> str:
    """El código sin comentarios, textos de documentación ni diferencias de espacios.

    Si no se puede analizar, sus líneas sin los espacios de los lados.
    """
    source = source[:MAX_LENGTH]
    try:
        with warnings.catch_warnings(action="ignore"):  # los del código de la entrega
            tree = ast.parse(source)
        for node in ast.walk(tree):
            _drop_docstring(node)
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(line.strip() for line in source.splitlines() if line.strip())


def _drop_docstring(node: ast.AST) -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds) and node.body and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.Pass()]


def _cells(notebook: Mapping[str, Any]) -> dict[str, str]:
    """El código de cada celda de respuesta; en un archivo, puede venir línea a línea."""
    cells = {}
    for cell in notebook["cells"]:
        data = cell["metadata"].get("nbgrader", {})
        if data.get("solution") and cell["cell_type"] == "code":
            cells[str(data["grade_id"])] = "".join(cell["source"])
    return cells


def _links(codes: list[str]) -> Iterable[tuple[int, int, float]]:
    """Las parejas casi iguales; por tandas de filas, para que la tabla quepa en memoria."""
    for start in range(0, len(codes), _ROWS):
        rows, rest = codes[start : start + _ROWS], codes[start:]
        scores = process.cdist(rows, rest, scorer=fuzz.ratio, score_cutoff=CUTOFF, workers=1)
        for row, column in zip(*scores.nonzero(), strict=True):
            if row < column:
                yield start + int(row), start + int(column), float(scores[row, column])


def _components(
    count: int, links: list[tuple[int, int, float]]
) -> Iterable[tuple[list[int], float]]:
    """Lo que queda unido por las parejas, y el menor parecido de cada conjunto."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for one, other, _ in links:
        parent[root(one)] = root(other)
    lowest: dict[int, float] = {}
    for one, _, score in links:
        lowest[root(one)] = min(score, lowest.get(root(one), 100.0))
    members: dict[int, list[int]] = {}
    for index in range(count):
        members.setdefault(root(index), []).append(index)
    return [(found, lowest.get(top, 100.0)) for top, found in members.items()]
