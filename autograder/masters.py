"""Los cuadernos maestros: leerlos, darles identificadores fijos y comprobar sus reglas."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise

import nbformat
from markdown_it import MarkdownIt
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from autograder.checks import checks_of
from autograder.conventions import EXPORT_TAG, MASTERS, ROOT
from autograder.errors import CourseError
from autograder.notebooks import grade_id, read, tags
from autograder.source import free_names

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
HIDDEN_REGION = re.compile(r"\n### BEGIN HIDDEN TESTS\n(.*?)\n### END HIDDEN TESTS\s*\Z", re.S)
MAX_CODE_LINES = 40
# Lo que acompaña a un cuaderno con ejercicios: la lista de CONTRIBUTING.md, «Un mecanismo nuevo».
COMPANIONS = {
    "autograder/checks/{}.py": "sus comprobaciones",
    "tests/checks/variants/{}.py": "las respuestas correctas e incorrectas que las ponen a prueba",
    "tests/references/test_{}.py": "la prueba de su implementación de referencia",
}
PURE_BUILTINS = {"dict", "enumerate", "len", "list", "range", "set", "sorted", "tuple", "zip"}


def master_names() -> list[str]:
    """Los nombres de los cuadernos del curso, en orden."""
    return sorted(path.stem for path in MASTERS.glob("[0-9][0-9]_*.py"))


def read_master(name: str) -> NotebookNode:
    """El maestro `name`, completo y comprobado.

    Raises:
        CourseError: si no existe o si incumple alguna regla; una línea por problema.
    """
    notebook = read(MASTERS / f"{name}.py")
    notebook.metadata = nbformat.from_dict(
        {
            "autograder": {"assignment": name},
            "kernelspec": KERNELSPEC,
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        _complete_nbgrader_metadata(cell)
    set_cell_ids(notebook)
    found = [*_companion_problems(name, notebook), *find_problems(name, notebook)]
    problems = [f"{name}: {problem}" for problem in found]
    if problems:
        raise CourseError("\n".join(problems))
    return notebook


def _companion_problems(name: str, notebook: NotebookNode) -> Iterator[str]:
    """Lo que le falta a un cuaderno con ejercicios fuera de su maestro."""
    if not any(is_grade(cell) for cell in notebook.cells):
        return
    for template, content in COMPANIONS.items():
        path = template.format(name)
        if not (ROOT / path).exists():
            yield f"falta {path}, con {content}."
    if f"(release/{name}/{name}.ipynb)" not in (ROOT / "README.md").read_text(encoding="utf-8"):
        yield "README.md no tiene su fila en la tabla de los cuadernos."


def _complete_nbgrader_metadata(cell: NotebookNode) -> None:
    """Añade a lo escrito en el maestro (`grade_id`, `solution`, `grade`, `points`) lo que falta."""
    written = cell.metadata.get("nbgrader")
    if not isinstance(written, dict):
        return
    grade, solution = written.get("grade", False), written.get("solution", False)
    cell.metadata["nbgrader"] = nbformat.from_dict(
        {
            "schema_version": 3,
            "task": False,
            "locked": grade and not solution,
            **written,
            "grade": grade,
            "solution": solution,
        }
    )


def set_cell_ids(notebook: NotebookNode) -> None:
    """Identificadores de celda que no cambian si no cambia la celda.

    Son el `grade_id`, o una huella del contenido; las celdas repetidas se numeran.
    """
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        base = grade_id(cell) or digest
        seen[base] = seen.get(base, 0) + 1
        cell["id"] = base if seen[base] == 1 else f"{base}-{seen[base]}"


def marker(cell: NotebookNode) -> str:
    """La primera línea que debe tener una celda de ejercicio o de pruebas."""
    text = f"ejercicio: {grade_id(cell)}" if is_solution(cell) else f"pruebas: {grade_id(cell)}"
    return f"# {text}" if cell.cell_type == "code" else f"<!-- {text} -->"


def find_problems(name: str, notebook: NotebookNode) -> list[str]:
    """Las reglas que incumple un cuaderno maestro; una línea por problema."""
    problems = list(_basic_problems(notebook))
    if problems:  # sin esto no se puede comprobar lo demás
        return problems
    problems = [
        *_identifier_problems(notebook),
        *_order_problems(notebook),
        *_narrative_problems(notebook),
        *_heading_problems(notebook),
    ]
    exported = _exported_names(notebook)
    for index, cell in enumerate(notebook.cells):
        problems += [f"celda {index}: {problem}" for problem in _cell_problems(cell)]
        if is_grade(cell) and not is_solution(cell):
            problems += [f"{grade_id(cell)}: {p}" for p in _test_problems(name, cell, exported)]
    return problems


def _basic_problems(notebook: NotebookNode) -> Iterator[str]:
    """Metadatos incompletos y código que no se puede leer."""
    for index, cell in enumerate(notebook.cells):
        data = cell.metadata.get("nbgrader", {"grade_id": ""})
        if not isinstance(data, dict) or not isinstance(data.get("grade_id"), str):
            yield f"celda {index}: a sus metadatos de nbgrader les falta el grade_id."
        elif is_grade(cell) and not isinstance(data.get("points"), int | float):
            yield f"{data['grade_id']}: le faltan los puntos, que deben ser un número."
        elif cell.cell_type == "code" and (EXPORT_TAG in tags(cell) or is_grade(cell)):
            try:
                ast.parse(cell.source)
            except SyntaxError as error:
                yield f"celda {index}: no es Python: {error.msg} (en su línea {error.lineno})."


def _identifier_problems(notebook: NotebookNode) -> Iterator[str]:
    seen = set()
    for cell in notebook.cells:
        identifier = grade_id(cell)
        if identifier is None:
            continue
        if not re.fullmatch(r"[a-z][a-z0-9_]*", identifier):
            yield f"el grade_id «{identifier}» solo puede tener minúsculas, cifras y _."
        if identifier in seen:
            yield f"el grade_id «{identifier}» está repetido."
        seen.add(identifier)
        if cell.source.split("\n")[0] != marker(cell):
            yield f"{identifier}: la primera línea debe ser «{marker(cell)}»."


def _order_problems(notebook: NotebookNode) -> Iterator[str]:
    """Cada celda de solución va seguida, antes de la próxima, por sus pruebas."""
    pending = None
    for cell in notebook.cells:
        if is_grade(cell) and not is_solution(cell):
            pending = None
        elif is_solution(cell) and not is_grade(cell):
            if pending:
                yield f"{pending}: no la sigue ninguna celda de pruebas."
            pending = grade_id(cell)
    if pending:
        yield f"{pending}: no la sigue ninguna celda de pruebas."


def _narrative_problems(notebook: NotebookNode) -> Iterator[str]:
    """Antes de cada celda de código hay un texto que dice para qué es."""
    before = None
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (before is None or before.cell_type == "code"):
            yield f"celda {index}: falta un párrafo que la presente."
        before = cell


def _heading_problems(notebook: NotebookNode) -> Iterator[str]:
    """Quien se mueve por el cuaderno de título en título tiene que encontrarlos en orden."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = headings("\n\n".join(texts))
    levels = [level for level, _ in found]
    if levels[:1] != [1] or levels.count(1) > 1:
        yield "su primer título debe ser de nivel 1 (#), y el único."
    for (before, _), (level, title) in pairwise(found):
        if level > before + 1:
            yield f"los títulos saltan de nivel, del {before} al {level}: «{title}»."


def headings(text: str) -> list[tuple[int, str]]:
    """El nivel y el texto de los títulos de un texto en Markdown."""
    tokens = MarkdownIt().parse(text)
    return [
        (int(token.tag[1]), title.content)
        for token, title in pairwise(tokens)
        if token.type == "heading_open"
    ]


def _cell_problems(cell: NotebookNode) -> Iterator[str]:
    if cell.cell_type != "code":
        return
    if "plt.show(" in cell.source:
        yield "llama a plt.show(): usa show(…), de apoyo, que lleva la descripción de la figura."
    lines = len(cell.source.splitlines())
    if lines > MAX_CODE_LINES and not re.search(r"^class ", cell.source, re.M):
        yield f"tiene {lines} líneas de código; divídela (como mucho, {MAX_CODE_LINES})."
    marks = re.findall(r"### (BEGIN|END) SOLUTION", cell.source)
    if is_solution(cell) and marks != ["BEGIN", "END"] * max(1, len(marks) // 2):
        yield "la solución no está entre ### BEGIN SOLUTION y ### END SOLUTION."
    if is_solution(cell) and EXPORT_TAG not in tags(cell):
        yield f"es una solución y le falta la etiqueta {EXPORT_TAG}."
    if EXPORT_TAG in tags(cell):
        yield from export_problems(cell.source)


def export_problems(source: str) -> Iterator[str]:
    """Lo que una celda `export` tiene y no debe: solo importa, define y fija constantes."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
            if all(isinstance(f, ast.Name) and f.id in PURE_BUILTINS for f in calls):
                continue
        yield f"tiene la etiqueta {EXPORT_TAG} y hace algo más que definir: «{ast.unparse(node)}»."


def _exported_names(notebook: NotebookNode) -> set[str]:
    """Las clases y funciones que definen las celdas `export`."""
    return {
        node.name
        for cell in notebook.cells
        if cell.cell_type == "code" and EXPORT_TAG in tags(cell)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _test_problems(name: str, cell: NotebookNode, exported: set[str]) -> Iterator[str]:
    """Las reglas de una celda de pruebas: se basta sola y termina en la región oculta."""
    found = HIDDEN_REGION.search(cell.source)
    if not found:
        yield "no termina con una región oculta (### BEGIN HIDDEN TESTS … ### END HIDDEN TESTS)."
        return
    visible, hidden = cell.source[: found.start()], found.group(1)
    for node in ast.parse(visible).body:
        if isinstance(node, ast.Expr):
            yield (
                f"«{ast.unparse(node)}» es una expresión suelta, que nbgrader podría tomar por la "
                "nota: asígnala a una variable o quítala."
            )
    if not 1 <= len([line for line in hidden.splitlines() if line.strip()]) <= 3:
        yield "la región oculta debe tener de 1 a 3 líneas."
    call = _last_expression(hidden)
    expected = f"grade({name!r}, {grade_id(cell)!r}"
    if not isinstance(call, ast.Call) or not ast.unparse(call).startswith(expected):
        yield f"la región oculta debe terminar en «{expected}, …)»."
    points = sum(c.points for c in checks_of(name, grade_id(cell)))
    if points != cell.metadata["nbgrader"].get("points"):
        yield f"sus comprobaciones suman {points:g} puntos, no los de la celda."
    for missing in sorted(free_names(cell.source) - exported):
        yield f"usa «{missing}», que no importa ni define ninguna celda {EXPORT_TAG}."


def _last_expression(source: str) -> ast.expr | None:
    """La expresión con la que termina una celda, o None si no termina en una."""
    body = ast.parse(source).body
    return body[-1].value if body and isinstance(body[-1], ast.Expr) else None
