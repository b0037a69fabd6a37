"""Construir el curso: de cada maestro salen su pareja ejecutada, source, release y solutions."""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbclient
import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbgrader.converters import GenerateSolution
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade

from autograder import checks
from autograder.assignments import student_version
from autograder.colab import add_link
from autograder.conventions import COVER_TAG, COVERS, HELPERS, MASTERS, ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.inlining import inline_helpers
from autograder.masters import master_names, read_master
from autograder.notebooks import dumps, read, tags

WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_TIMEOUT = 600


def build(names: list[str]) -> Iterator[tuple[Path, bool]]:
    """Construye los cuadernos y va dando cada archivo, y si ha cambiado.

    Raises:
        CourseError: si un maestro incumple una regla o una de sus celdas falla.
    """
    course = Course()
    for name in names:
        master = read_master(name)
        pair = with_outputs(master, name)
        products = {MASTERS / f"{name}.ipynb": pair, **_derived(course, name, master, pair)}
        for path, notebook in products.items():
            yield path, _write(path, dumps(notebook).encode())
        cover = _cover(pair)
        if cover:
            path = COVERS / f"{name}.png"
            yield path, _write(path, cover)


def stale(names: list[str]) -> list[str]:
    """Lo que no corresponde a los maestros, sin ejecutar nada; vacío si todo está al día.

    Raises:
        CourseError: si un maestro incumple una regla.
    """
    course = Course()
    problems = [
        f"{path} acabaría en release/ (nbgrader copia todo lo que no es cuaderno): bórralo."
        for path in _relative(ROOT.glob("source/*/*"))
        if path.suffix != ".ipynb" and not path.name.startswith(".")
    ]
    for name in names:
        master = read_master(name)
        products = {MASTERS / f"{name}.ipynb": master, **_derived(course, name, master, master)}
        for path, notebook in products.items():
            shown = path.relative_to(ROOT)
            if not path.exists():
                problems.append(f"{shown} no existe.")
            elif _inputs(read(path)) != _inputs(notebook):
                problems.append(f"{shown} no corresponde a su maestro.")
            elif path.parent == MASTERS and _stored_code(path) != _fingerprint(master, name):
                problems.append(f"{shown} tiene las salidas de un código anterior.")
    known = set(master_names())
    for folder in ("source", "release", "solutions"):
        found = [p for p in _relative(ROOT.glob(f"{folder}/*")) if not p.name.startswith(".")]
        problems += [f"{p} no tiene maestro: bórralo." for p in found if p.name not in known]
    return problems


def _relative(paths: Iterable[Path]) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in paths)


def _derived(
    course: Course, name: str, master: NotebookNode, pair: NotebookNode
) -> dict[Path, NotebookNode]:
    """source, release y solutions de un maestro; solutions lleva las salidas de la pareja."""
    source = make_source(master, name)
    products = {
        "source": source,
        "release": student_version(course, name, source),
        "solutions": _copy_outputs(pair, make_solutions(course, name, source)),
    }
    return {ROOT / folder / name / f"{name}.ipynb": nb for folder, nb in products.items()}


# --- La pareja ejecutada --------------------------------------------------------------------------


def with_outputs(master: NotebookNode, name: str) -> NotebookNode:
    """El maestro con sus salidas: las guardadas si su código no ha cambiado, o ejecutándolo.

    Raises:
        CourseError: si una celda falla o escribe avisos.
    """
    path = MASTERS / f"{name}.ipynb"
    fingerprint = _fingerprint(master, name)
    pair = copy.deepcopy(master)
    pair.metadata["autograder"]["code"] = fingerprint
    if path.exists() and _stored_code(path) == fingerprint:
        return _copy_outputs(read(path), pair)
    _execute(pair, name)
    return pair


def _stored_code(path: Path) -> str | None:
    """La huella del código que produjo las salidas de una pareja."""
    return read(path).metadata.get("autograder", {}).get("code")


def _fingerprint(master: NotebookNode, name: str) -> str:
    """Huella de todo el código del que dependen las salidas: celdas, ayudas y comprobaciones."""
    cells = [cell.source for cell in inline_helpers(master).cells if cell.cell_type == "code"]
    check_files = [Path(checks.__file__), Path(checks.__file__).parent / f"{name}.py"]
    texts = [*cells, *(path.read_text(encoding="utf-8") for path in check_files if path.exists())]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


class NoWidgetsClient(nbclient.NotebookClient):
    """Un cliente que no atiende a los controles interactivos.

    Contestándoles, la construcción se quedaba a veces parada en su celda, con el kernel ya ocioso:
    nbclient les envía mensajes por el mismo socket en el que espera el final de la celda, y lo
    probable es que así se pierda el aviso de que ha llegado.
    """

    def handle_comm_msg(self, outs: list, msg: dict, cell_index: int) -> None:
        return None


def _execute(notebook: NotebookNode, name: str) -> None:
    client = NoWidgetsClient(
        notebook,
        timeout=CELL_TIMEOUT,
        skip_cells_with_tag="",
        record_timing=False,
        resources={"metadata": {"path": str(MASTERS)}},
    )
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        index = next(i for i, c in enumerate(notebook.cells) if _has_error(c))
        raise CourseError(
            f"{name}: la celda {index} ({notebook.cells[index].id}) falla: "
            f"{error.ename}: {error.evalue}"
        ) from None
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError) as error:
        raise CourseError(f"{name}: no se pudo ejecutar: {error}") from None
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
        noise = [o.text.strip() for o in cell.outputs if o.get("name") == "stderr"]
        if noise:
            raise CourseError(f"{name}: la celda {index} ({cell.id}) escribe avisos: {noise[0]}")
    CoalesceStreamsPreprocessor().preprocess(notebook, {})


def _has_error(cell: NotebookNode) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def _copy_outputs(origin: NotebookNode, target: NotebookNode) -> NotebookNode:
    """Una copia de `target` con las salidas de las celdas de `origin` del mismo identificador.

    Si la celda de pruebas ya no tiene región oculta, tampoco lleva lo que esta mostró.
    """
    target = copy.deepcopy(target)
    stored = {cell.id: cell for cell in origin.cells if cell.cell_type == "code"}
    for cell in target.cells:
        if cell.cell_type != "code" or cell.id not in stored:
            continue
        cell.execution_count = stored[cell.id].execution_count
        cell.outputs = copy.deepcopy(stored[cell.id].outputs)
        if is_grade(cell) and "BEGIN HIDDEN TESTS" not in cell.source:
            cell.outputs = [o for o in cell.outputs if o.output_type == "stream"]
    return target


def _cover(pair: NotebookNode) -> bytes | None:
    """La imagen de la celda con la etiqueta de portada, si el cuaderno tiene una."""
    for cell in pair.cells:
        if COVER_TAG in tags(cell):
            data = [output.get("data", {}) for output in cell.get("outputs", [])]
            images = [bundle["image/png"] for bundle in data if "image/png" in bundle]
            if not images:
                raise CourseError(f"La celda {cell.id} es la portada y no dibuja ninguna figura.")
            return base64.b64decode(images[0])
    return None


# --- source, release y solutions ------------------------------------------------------------------


def make_source(master: NotebookNode, name: str) -> NotebookNode:
    """La entrada de nbgrader: el maestro sin salidas y con las ayudas dentro."""
    source = inline_helpers(master)
    for cell in source.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if cell.source.startswith("# @title"):
                cell["id"] = HELPERS
    add_link(source, name)
    return source


def make_solutions(course: Course, name: str, source: NotebookNode) -> NotebookNode:
    """La versión resuelta, con los preprocesadores de `nbgrader generate_solution`."""
    steps = GenerateSolution(coursedir=course.directory, config=course.config).preprocessors
    return course.preprocess(source, [s for s in steps if s is not Execute], name)


def _inputs(notebook: NotebookNode) -> str:
    """El cuaderno sin nada de lo que produce ejecutarlo, para comparar."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.get("autograder", {}).pop("code", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook)


def _write(path: Path, content: bytes) -> bool:
    """Escribe el archivo si su contenido es otro; dice si lo era."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True
