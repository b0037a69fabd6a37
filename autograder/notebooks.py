"""Cuadernos: leerlos, escribirlos y sacar de ellos definiciones sin ejecutar sus experimentos."""

from __future__ import annotations

import linecache
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from autograder.conventions import EXPORT_TAG, MASTERS, SKIP_TAG
from autograder.errors import CourseError
from autograder.inlining import inline_helpers


def read(path: Path) -> NotebookNode:
    """Lee un cuaderno `.ipynb`, o uno `.py` en formato percent.

    Raises:
        CourseError: si el archivo no está, no se puede leer o no es un cuaderno.
    """
    text = read_text(path)
    if path.suffix == ".py":
        return jupytext.reads(text, fmt="py:percent")
    return parse(text, str(path))


def read_text(path: Path) -> str:
    """El texto de un archivo.

    Raises:
        CourseError: si no está o no se puede leer.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CourseError(f"No existe el archivo {path}: revisa la ruta.") from None
    except IsADirectoryError:
        raise CourseError(
            f"{path} es una carpeta: indica el archivo .ipynb que hay dentro."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"No se puede leer {path}: {error}.") from None


def parse(text: str, name: str) -> NotebookNode:
    """El cuaderno que hay en un texto; `name` es como se le llama en los errores.

    Raises:
        CourseError: si no es un cuaderno.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # nbformat avisa de lo que arregla
            notebook = _repaired(nbformat.reads(text, as_version=4))
    except nbformat.reader.NotJSONError:
        raise CourseError(
            f"{name} no es JSON: parece incompleto o dañado; vuelve a descargarlo o exportarlo."
        ) from None
    except Exception:  # nbformat lanza errores muy variados ante un JSON cualquiera
        raise CourseError(
            f"{name} es JSON, pero no un cuaderno de Jupyter: le faltan las celdas o son inválidas."
        ) from None
    for cell in notebook.cells:
        if not isinstance(_get(cell, "nbgrader", "grade_id"), str):
            cell.metadata.pop("nbgrader", None)
    if not isinstance(_get(notebook, "autograder", "assignment"), str):
        notebook.metadata.pop("autograder", None)
    return notebook


def _repaired(notebook: NotebookNode) -> NotebookNode:
    """El cuaderno sin lo que Colab y otros editores añaden, y con lo que olvidan."""
    notebook["nbformat_minor"] = max(notebook.nbformat_minor, 5)
    for cell in notebook.cells:
        cell.source = printable(cell.source).replace("\r\n", "\n")
        if cell.cell_type == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)
        if not cell.get("id"):
            cell.pop("id", None)
    _, notebook = nbformat.validator.normalize(
        notebook, relax_add_props=True, strip_invalid_metadata=True
    )
    nbformat.validate(notebook, relax_add_props=True)
    return notebook


def printable(text: str) -> str:
    """El texto sin medios caracteres («\\ud800»), que JSON admite y ningún archivo puede tener."""
    return text.encode(errors="replace").decode()


def _get(holder: NotebookNode, owner: str, key: str) -> Any:
    """Un dato de los metadatos, que en un cuaderno ajeno pueden ser cualquier cosa."""
    data = holder.metadata.get(owner)
    return data.get(key) if isinstance(data, dict) else None


def dumps(notebook: NotebookNode) -> str:
    """El texto de un `.ipynb`, siempre igual para el mismo cuaderno."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def tags(cell: NotebookNode) -> list[str]:
    """Las etiquetas de una celda."""
    return cell.metadata.get("tags", [])


def is_executed(cell: NotebookNode) -> bool:
    """Si una celda se ejecuta al corregir."""
    return cell.cell_type == "code" and bool(cell.source.strip()) and SKIP_TAG not in tags(cell)


def grade_id(cell: NotebookNode) -> str | None:
    """El identificador de nbgrader de una celda, si lo tiene."""
    return _get(cell, "nbgrader", "grade_id")


def load(notebook: str | Path | NotebookNode) -> ModuleType:
    """Las definiciones de un cuaderno, en un módulo nuevo; sus experimentos no se ejecutan.

    Ejecuta solo las celdas con la etiqueta `export`. Los errores muestran la línea de la celda.

    Args:
        notebook: el nombre de un cuaderno del curso (`"09_bidaf"`: se lee su maestro), la ruta de
            cualquier `.py` o `.ipynb`, o un cuaderno ya leído.

    Raises:
        CourseError: si no se puede leer.
    """
    if isinstance(notebook, NotebookNode):
        name, cells = "cuaderno", notebook
    else:
        is_name = isinstance(notebook, str) and not Path(notebook).suffix
        path = MASTERS / f"{notebook}.py" if is_name else Path(notebook)
        name, cells = path.stem, read(path)
    module = ModuleType(f"cuaderno_{name}")
    sys.modules[module.__name__] = module  # dataclasses y typing buscan ahí el módulo
    for index, cell in enumerate(inline_helpers(cells).cells):
        if cell.cell_type == "code" and EXPORT_TAG in tags(cell):
            _execute(cell.source, f"<{name}, celda {index}>", module)
    return module


def _execute(source: str, filename: str, module: ModuleType) -> None:
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    exec(compile(source, filename, "exec"), module.__dict__)
