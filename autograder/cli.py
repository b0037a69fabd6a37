"""La línea de órdenes: `python -m autograder …`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autograder.assignments import Assignment, recognise
from autograder.cohort import Outcome, grade_submissions
from autograder.conventions import ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import ExerciseResult, GradedNotebook, grade_notebook
from autograder.masters import master_names
from autograder.notebooks import read

# Lo que typer escribe en inglés en sus ayudas.
HELP_WORDS = {
    "Usage:": "Uso:",
    "[OPTIONS]": "[OPCIONES]",
    "COMMAND [ARGS]...": "ORDEN [ARGUMENTOS]...",
    "Options:": "Opciones:",
    "Arguments:": "Argumentos:",
    "Commands:": "Órdenes:",
    "Show this message and exit.": "Muestra esta ayuda.",
    "[required]": "",
}


class _SpanishHelp:
    def get_help(self, ctx: Any) -> str:
        text = super().get_help(ctx)  # type: ignore[misc]
        for english, spanish in HELP_WORDS.items():
            text = text.replace(english, spanish)
        return text


class _Group(_SpanishHelp, typer.core.TyperGroup):  # type: ignore[misc]
    pass


class _Command(_SpanishHelp, typer.core.TyperCommand):  # type: ignore[misc]
    pass


app = typer.Typer(
    cls=_Group,
    help="Construye el curso y corrige sus ejercicios.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console()

NoSandbox = Annotated[
    bool,
    typer.Option(
        "--sin-sandbox",
        help="Ejecuta las entregas sin aislar, con tus permisos (véase docs/seguridad.md).",
    ),
]
CourseDir = Annotated[
    Path,
    typer.Option(
        "--course-dir",
        metavar="CARPETA",
        help="La del curso, como en nbgrader; si falta, este repositorio.",
        show_default=False,
    ),
]


def main(arguments: list[str] | None = None) -> int:
    """Ejecuta una orden y devuelve su código: 2 si quien la da puede arreglar lo que falla."""
    try:
        code = app(arguments, prog_name="python -m autograder", standalone_mode=False)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        if not hasattr(error, "format_message"):  # no es un error de uso
            raise
        print(f"{_usage_problem(error)} Mira «python -m autograder --help».", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def _usage_problem(error: Any) -> str:
    """Qué tiene mal escrito la orden, según el error de typer."""
    name = type(error).__name__
    if name == "NoSuchOption":
        return f"No existe la opción {error.option_name}."
    if name == "MissingParameter":
        return f"Falta {error.param.metavar}."
    return "La orden no se entiende."


@app.command("build", cls=_Command)
def build_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CUADERNO]...", help="Si faltan, todos.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Solo comprueba que todo esté al día.")
    ] = False,
) -> None:
    """De cada maestro: su pareja ejecutada, source, release y solutions."""
    from autograder.build import build, stale

    chosen = names or master_names()
    unknown = sorted(set(chosen) - set(master_names()))
    if unknown:
        raise CourseError(f"No hay maestro de {', '.join(unknown)} en notebooks/.")
    if check:
        problems = stale(chosen)
        if problems:
            problems.append("Ejecuta «python -m autograder build» y confirma los cambios.")
            raise CourseError("\n".join(problems))
        console.print(f"Al día: {', '.join(chosen)}.")
        return
    for path, changed in build(chosen):
        console.print(f"{'escrito ' if changed else 'sin cambios'} {path.relative_to(ROOT)}")


@app.command("check", cls=_Command)
def check_command(
    notebook: Annotated[
        Path, typer.Argument(metavar="CUADERNO", help="El cuaderno resuelto (.ipynb).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Escribe el resultado en JSON.")] = False,
    course_dir: CourseDir = ROOT,
    no_sandbox: NoSandbox = False,
) -> None:
    """Corrige un cuaderno sin anotar nada."""
    submission = read(notebook)
    course = _course(course_dir, no_sandbox)
    graded = grade_notebook(submission, recognise(submission, course), course.limits)
    if as_json:
        print(
            json.dumps(
                {"notebook": str(notebook), **graded.to_json()}, ensure_ascii=False, indent=1
            )
        )
        return
    _print_graded(graded)


@app.command("grade", cls=_Command)
def grade_command(
    assignment: Annotated[
        str, typer.Argument(metavar="ENTREGA", help="Por ejemplo, 06_autoatencion.")
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="ARCHIVO", help="Escribe también ahí los resultados."),
    ] = None,
    course_dir: CourseDir = ROOT,
    no_sandbox: NoSandbox = False,
) -> None:
    """Corrige todas las entregas de submitted/ y las anota en el libro de nbgrader."""
    course = _course(course_dir, no_sandbox)
    outcomes = []
    for outcome in grade_submissions(course, assignment):
        outcomes.append(outcome)
        state = outcome.problem or "corregida"
        line = f"{outcome.student}: {state} ({outcome.seconds:.1f} s)"
        console.print(line, markup=False, highlight=False)
    console.print(_cohort_table(Assignment.load(assignment, course), outcomes))
    if json_file:
        results = {"assignment": assignment, "submissions": [o.to_json() for o in outcomes]}
        _write_json(json_file, results)


def _course(folder: Path, no_sandbox: bool) -> Course:
    course = Course(folder)
    if no_sandbox:
        course.config.IsolatedExecute.isolated = False
    return course


def _write_json(path: Path, results: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError as error:
        raise CourseError(
            f"No se puede escribir {path}: {error.strerror}. Las notas ya están en el libro."
        ) from None


# --- Tablas ---------------------------------------------------------------------------------------


def _print_graded(graded: GradedNotebook) -> None:
    for exercise in graded.exercises:
        console.print(f"[bold]{exercise.grade_id}[/]  {_score(exercise)}", highlight=False)
        if exercise.message:
            console.print(f"  {exercise.message}", markup=False, highlight=False)
        for result in exercise.checks:
            mark = "[green]✓[/]" if result.passed else "[red]✗[/]"
            console.print(f"  {mark} {result.name} ({result.points:g}/{result.max_points:g})")
            if result.message and not exercise.message:
                console.print(f"      {result.message}", markup=False, highlight=False)
    console.print(
        f"[bold]Total: {graded.points:g} de {graded.max_points:g} puntos[/]", highlight=False
    )


def _score(exercise: ExerciseResult) -> str:
    if exercise.points is None:
        return f"a mano, de {exercise.max_points:g}"
    return f"{exercise.points:g} de {exercise.max_points:g}"


def _cohort_table(assignment: Assignment, outcomes: list[Outcome]) -> Table:
    """Una fila por estudiante y una columna por ejercicio (la primera parte del `grade_id`)."""
    table = Table(title=f"Entrega {assignment.name}")
    table.add_column("Estudiante", no_wrap=True)
    groups: dict[str, float] = {}
    for cell in assignment.graded_cells:
        name = _group(cell.metadata["nbgrader"]["grade_id"])
        groups[name] = groups.get(name, 0)
    for name in groups:
        table.add_column(name, justify="right")
    for title in ("Puntos", "%"):
        table.add_column(title, justify="right")
    table.add_column("Observaciones")
    for outcome in outcomes:
        table.add_row(*map(escape, [outcome.student, *_cells(outcome, list(groups))]))
    return table


def _group(grade_id: str) -> str:
    return grade_id.split("_")[0].removeprefix("ej")


def _cells(outcome: Outcome, groups: list[str]) -> list[str]:
    graded = outcome.graded
    if graded is None:
        return [*["—"] * len(groups), "—", "—", outcome.problem]
    automatic = [e for e in graded.exercises if not e.manual]
    by_group = [
        sum(e.points or 0.0 for e in automatic if _group(e.grade_id) == name) for name in groups
    ]
    notes = [f"a mano: {', '.join(graded.pending)}"] if graded.pending else []
    notes += sorted({e.message for e in automatic if "se interrumpió" in e.message})
    percent = f"{100 * graded.points / graded.max_points:.0f}" if graded.max_points else "—"
    total = f"{graded.points:g}/{graded.max_points:g}"
    return [*(f"{points:g}" for points in by_group), total, percent, "; ".join(notes)]
