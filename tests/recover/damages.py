"""Lo que le pasa a un cuaderno por el camino: cada función estropea el texto de uno resuelto."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import is_grade, is_solution

from autograder.notebooks import dumps, grade_id, is_executed

DAMAGES: dict[str, Callable[[NotebookNode], str]] = {}


def damage(name: str):
    """Anota un daño: una función que cambia el cuaderno, o que devuelve su texto."""

    def register(change):
        def text(notebook: NotebookNode) -> str:
            found = change(notebook)
            return found if isinstance(found, str) else dumps(found or notebook)

        DAMAGES[name] = text
        return change

    return register


def answers(notebook, kind="code"):
    return [c for c in notebook.cells if is_solution(c) and c.cell_type == kind]


def tests(notebook):
    return [c for c in notebook.cells if is_grade(c) and not is_solution(c)]


def lesson(notebook):
    """Las celdas de la lección que se ejecutan al corregir."""
    return [c for c in notebook.cells if is_executed(c) and not grade_id(c)]


def stripped(notebook):
    for i, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell["id"] = f"nueva{i}"


def unmarked(cell):
    cell.source = cell.source.split("\n", 1)[1]


def replaced(notebook, cell, *others):
    place = next(i for i, c in enumerate(notebook.cells) if c is cell)
    notebook.cells[place : place + 1] = others


# --- Metadatos e identificadores ------------------------------------------------------------------


@damage("sin metadatos en las celdas")
def _(nb):
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({})


@damage("sin metadatos en el cuaderno")
def _(nb):
    nb.metadata = nbformat.from_dict({})


@damage("con los metadatos de nbgrader a medias")
def _(nb):
    for cell in nb.cells:
        if grade_id(cell):
            cell.metadata = nbformat.from_dict({"nbgrader": {"grade_id": grade_id(cell)}})


@damage("con los metadatos de nbgrader, y sin el nombre")
def _(nb):
    for cell in nb.cells:
        if grade_id(cell):
            del cell.metadata["nbgrader"]["grade_id"]


@damage("sin las etiquetas")
def _(nb):
    for cell in nb.cells:
        cell.metadata.pop("tags", None)


@damage("con otros identificadores de celda")
def _(nb):
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"nueva{i}"


@damage("sin metadatos ni identificadores")
def _(nb):
    stripped(nb)


@damage("sin metadatos, identificadores ni primera línea")
def _(nb):
    for cell in answers(nb) + tests(nb):
        unmarked(cell)
    stripped(nb)


@damage("guardado por Colab")
def _(nb):
    nb.metadata = nbformat.from_dict(
        {"colab": {"provenance": []}, "accelerator": "GPU", "kernelspec": {"name": "python3"}}
    )
    for i, cell in enumerate(nb.cells):
        del cell["id"]
        cell.metadata = nbformat.from_dict(
            {"id": f"a{i}", "colab": {"base_uri": "x"}, "outputId": "y"}
        )
        if cell.cell_type == "code":
            del cell["execution_count"]
    nb.nbformat_minor = 0
    return json.dumps(nb)


@damage("guardado por VS Code")
def _(nb):
    for cell in nb.cells:
        cell.metadata.pop("nbgrader", None)
        cell.metadata["vscode"] = {"languageId": "python"}
        del cell["id"]
    nb.nbformat_minor = 2
    return json.dumps(nb)


# --- Celdas repetidas, partidas, unidas y movidas -------------------------------------------------


@damage("con cada respuesta repetida, y la copia vacía detrás")
def _(nb):
    for cell in answers(nb):
        marker = cell.source.split("\n", 1)[0]
        copy = new_code_cell(marker, metadata=cell.metadata)
        replaced(nb, cell, cell, copy)


@damage("con una copia de cada prueba")
def _(nb):
    for cell in tests(nb):
        replaced(nb, cell, cell, new_code_cell(cell.source, metadata=cell.metadata))


@damage("con cada respuesta en una celda nueva, y la repartida intacta")
def _(nb):
    for cell in answers(nb):
        answer = new_code_cell(cell.source.split("\n", 1)[1])
        cell.source = cell.source.split("\n", 1)[0] + "\n"
        replaced(nb, cell, cell, answer)


@damage("con las respuestas partidas entre dos líneas")
def _(nb):
    for cell in answers(nb):
        lines = cell.source.split("\n")
        half = len(lines) // 2
        second = new_code_cell("\n".join(lines[half:]))
        cell.source = "\n".join(lines[:half])
        replaced(nb, cell, cell, second)


@damage("con las respuestas en tres trozos")
def _(nb):
    for cell in answers(nb):
        lines = cell.source.split("\n")
        a, b = len(lines) // 3, 2 * len(lines) // 3
        parts = [new_code_cell("\n".join(lines[i:j])) for i, j in ((a, b), (b, len(lines)))]
        cell.source = "\n".join(lines[:a])
        replaced(nb, cell, cell, *parts)


@damage("con cada respuesta unida a la prueba que la sigue")
def _(nb):
    merge(nb, lambda a, b: is_solution(a) and is_grade(b) and not is_solution(b))


@damage("con cada ejercicio unido al código anterior")
def _(nb):
    merge(nb, lambda a, b: a.cell_type == "code" and is_solution(b))


@damage("con las celdas de código seguidas, unidas")
def _(nb):
    merge(nb, lambda a, b: True)


def merge(nb, together):
    """Une las celdas seguidas del mismo tipo que se digan; quedan los metadatos de la primera."""
    cells = [nb.cells[0]]
    for cell in nb.cells[1:]:
        last = cells[-1]
        if last.cell_type == cell.cell_type == "code" and together(last, cell):
            last.source += f"\n\n{cell.source}"
        else:
            cells.append(cell)
    nb.cells = cells


@damage("al revés")
def _(nb):
    nb.cells.reverse()


@damage("barajado")
def _(nb):
    random.Random(0).shuffle(nb.cells)


@damage("barajado y sin metadatos ni identificadores")
def _(nb):
    random.Random(1).shuffle(nb.cells)
    stripped(nb)


# --- Tipos y textos -------------------------------------------------------------------------------


@damage("con las respuestas convertidas en texto")
def _(nb):
    for cell in answers(nb):
        replaced(nb, cell, new_markdown_cell(cell.source, metadata=cell.metadata))


@damage("con el código convertido en texto, entre vallas")
def _(nb):
    for cell in answers(nb) + lesson(nb):
        replaced(nb, cell, new_markdown_cell(f"```python\n{cell.source}\n```"))


@damage("con las respuestas escritas convertidas en código")
def _(nb):
    for cell in answers(nb, "markdown"):
        replaced(nb, cell, new_code_cell(cell.source, metadata=cell.metadata))


@damage("con la respuesta escrita partida en dos")
def _(nb):
    for cell in answers(nb, "markdown"):
        lines = cell.source.split("\n")
        second = new_markdown_cell("\n".join(lines[2:]))
        cell.source = "\n".join(lines[:2])
        replaced(nb, cell, cell, second)


@damage("con las pruebas cambiadas")
def _(nb):
    for cell in tests(nb):
        cell.source = f"{cell.source.split(chr(10), 1)[0]}\n1.5"


@damage("sin las pruebas")
def _(nb):
    nb.cells = [c for c in nb.cells if not (is_grade(c) and not is_solution(c))]


@damage("sin el código de la lección")
def _(nb):
    gone = {cell.id for cell in lesson(nb)}
    nb.cells = [cell for cell in nb.cells if cell.id not in gone]


@damage("solo las respuestas, copiadas a un cuaderno nuevo")
def _(nb):
    kept = [c for c in nb.cells if is_solution(c)]
    return new_notebook(cells=[
        (new_code_cell if c.cell_type == "code" else new_markdown_cell)(c.source) for c in kept
    ])  # fmt: skip


# --- El archivo -----------------------------------------------------------------------------------


@damage("en formato nbformat 3")
def _(nb):
    return json.dumps(nbformat.convert(nb, 3))


@damage("con BOM")
def _(nb):
    return "\ufeff" + dumps(nb)


@damage("con fines de línea de Windows, dentro y fuera")
def _(nb):
    for cell in nb.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    return dumps(nb).replace("\n", "\r\n")


@damage("con espacios al final de las líneas")
def _(nb):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = "\n".join(f"{line}  " for line in cell.source.split("\n"))
