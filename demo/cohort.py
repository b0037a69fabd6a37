"""Una cohorte de muestra: entregas inventadas de cada clase, para ver el curso funcionar.

    python demo/cohort.py CARPETA

Crea en CARPETA un curso con `source/` y con una entrega de cada clase en `submitted/`.
"""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENT = "06_autoatencion"
FILE = f"{ASSIGNMENT}.ipynb"

# Errores típicos: en qué celda, qué se cambia de la solución y por qué.
SCALE = ("ej1a_clase", "math.sqrt(q.size(-1))", "math.sqrt(E)")
STRICT_CAUSAL = ("ej1a_clase", "allowed.tril()", "allowed.tril(-1)")
TRANSPOSED = ("ej1b_dibujo", "ax.imshow(weights,", "ax.imshow(weights.T,")
ENDLESS = (
    "ej1b_lista",
    "    values, indices = torch.topk(weights, min(k, len(tokens)), dim=-1)\n",
    "    values, indices = torch.topk(weights, min(k, len(tokens)), dim=-1)\n"
    "    while indices.size(-1) < k:  # nunca termina si k es mayor que n\n"
    "        pass\n",
)
CHEAT = 'get_ipython().input_transformers_post.append(lambda lines: ["pass\\n"])'
EXERCISE_1A = ("ej1a_clase", "ej1a_copia")
EXERCISE_1B = ("ej1b_mapa", "ej1b_dibujo", "ej1b_lista", "ej1b_analisis")


def make_cohort(course: Path) -> dict[str, str]:
    """Crea el curso de muestra y devuelve qué clase de entrega es la de cada estudiante."""
    empty = nbformat.read(ROOT / "release" / ASSIGNMENT / FILE, as_version=4)
    solutions = nbformat.read(ROOT / "solutions" / ASSIGNMENT / FILE, as_version=4)
    solved = with_answers(empty, solutions, EXERCISE_1A + EXERCISE_1B)
    kinds = {
        "perfecta": solved,
        "parcial: solo el ejercicio 1a": with_answers(empty, solutions, EXERCISE_1A),
        "vacía": empty,
        "error: escala con √E": edited(solved, *SCALE),
        "error: máscara causal estricta": edited(solved, *STRICT_CAUSAL),
        "error: mapa traspuesto": edited(solved, *TRANSPOSED),
        "bucle sin fin": edited(solved, *ENDLESS),
        "archivo que no es JSON": None,
        "tramposa: anula las celdas de pruebas": with_first_cell(empty, CHEAT),
    }
    shutil.copytree(ROOT / "source" / ASSIGNMENT, course / "source" / ASSIGNMENT)
    students = {f"estudiante_{i:02}": kind for i, kind in enumerate(kinds, start=1)}
    for student, kind in students.items():
        folder = course / "submitted" / student / ASSIGNMENT
        folder.mkdir(parents=True)
        notebook = kinds[kind]
        text = nbformat.writes(notebook) if notebook else '{"cells": [\n'
        (folder / FILE).write_text(text, encoding="utf-8")
    return students


def edited(notebook: NotebookNode, grade_id: str, old: str, new: str) -> NotebookNode:
    """Una copia con un cambio en el código de una celda."""
    notebook = copy.deepcopy(notebook)
    cell = cells_by_id(notebook)[grade_id]
    if cell.source.count(old) != 1:
        raise ValueError(f"{grade_id} debería contener una vez «{old}».")
    cell.source = cell.source.replace(old, new)
    return notebook


def with_first_cell(notebook: NotebookNode, source: str) -> NotebookNode:
    """Una copia con una celda más, al principio."""
    notebook = copy.deepcopy(notebook)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(source))
    return notebook


def with_answers(
    notebook: NotebookNode, answered: NotebookNode, grade_ids: tuple[str, ...]
) -> NotebookNode:
    """Una copia con las respuestas de otro cuaderno en unas celdas."""
    notebook = copy.deepcopy(notebook)
    for grade_id in grade_ids:
        cells_by_id(notebook)[grade_id].source = cells_by_id(answered)[grade_id].source
    return notebook


def cells_by_id(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Las celdas que nbgrader conoce, por su `grade_id`."""
    return {
        cell.metadata["nbgrader"]["grade_id"]: cell
        for cell in notebook.cells
        if "grade_id" in cell.metadata.get("nbgrader", {})
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if folder.exists():
        sys.exit(f"{folder} ya existe: bórrala o da otra carpeta.")
    for student, kind in make_cohort(folder).items():
        print(f"{student}  {kind}")
