"""La línea de órdenes: `python -m autograder …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Annotated, Any

import typer

from autograder.assignments import Assignment, recognise
from autograder.conventions import ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.notebooks import dumps, read
from autograder.screen import CohortTable, console, progress, show_graded

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


INTERRUPTED = 130  # el código con el que terminan las órdenes que detiene Ctrl-C


class Interrupted(CourseError):
    """Quien dio la orden la detuvo."""


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
        return INTERRUPTED if isinstance(error, Interrupted) else 2
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
    from autograder.masters import master_names

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
    from autograder.grading import grade_notebook

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
    show_graded(graded)


@app.command("recover", cls=_Command)
def recover_command(
    notebook: Annotated[
        Path, typer.Argument(metavar="CUADERNO", help="El cuaderno estropeado (.ipynb).")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="ARCHIVO",
            help="Dónde escribirlo; si falta, al lado, con «recuperado» en el nombre.",
            show_default=False,
        ),
    ] = None,
    course_dir: CourseDir = ROOT,
) -> None:
    """Devuelve a un cuaderno las celdas y los metadatos que perdió, en un archivo nuevo."""
    from autograder.recovery import recover

    submission = read(notebook)
    recovered = recover(submission, recognise(submission, Course(course_dir)))
    if not recovered.notes:
        console.print("No le falta nada: se puede entregar como está.")
        return
    path = output or notebook.with_name(f"{notebook.stem}.recuperado.ipynb")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(dumps(recovered.notebook))
    except FileExistsError:
        raise CourseError(f"Ya existe {path}, y no se toca: da otro nombre con --output.") from None
    except OSError as error:
        raise CourseError(f"No se puede escribir {path}: {error.strerror}.") from None
    for note in recovered.notes:
        console.print(f"  {note}", markup=False, highlight=False)
    console.print(f"Recuperado en {path}", markup=False, highlight=False, soft_wrap=True)


@app.command("grade", cls=_Command)
def grade_command(
    assignment: Annotated[
        str, typer.Argument(metavar="ENTREGA", help="Por ejemplo, 06_autoatencion.")
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Cuántas a la vez; si falta, una por núcleo.",
            show_default=False,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="DIRECCIÓN",
            help="Un planificador de Dask: corrigen sus trabajadores (véase docs/escala.md).",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Corrige también lo que no ha cambiado.")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="ARCHIVO", help="Escribe también ahí los resultados."),
    ] = None,
    course_dir: CourseDir = ROOT,
    no_sandbox: NoSandbox = False,
) -> None:
    """Corrige todas las entregas de submitted/ y las anota en el libro de nbgrader."""
    if not scheduler:
        _prepare_workers()
    from autograder.cohort import grade_cohort
    from autograder.gradebook import submissions

    course = _course(course_dir, no_sandbox)
    table = CohortTable(Assignment.load(assignment, course))
    total = len(submissions(course, assignment))
    with _interruptible(), progress(total) as tally:
        for result in grade_cohort(course, assignment, workers, scheduler, force):
            table.add(result)
            tally.add(result)
    table.show()
    console.print(tally.summary, highlight=False)
    if json_file:
        from autograder.report import write_json

        write_json(course, assignment, json_file)


def _prepare_workers() -> None:
    """Importa lo que necesita un trabajador en otro proceso, del que nacerán todos por fork.

    Mientras, este importa lo suyo. Lo usa `distributed.worker.multiprocessing-method`, que fija
    `autograder.cluster`.
    """
    forkserver.set_forkserver_preload(["autograder.worker"])
    forkserver.ensure_running()


@app.command("report", cls=_Command)
def report_command(
    assignment: Annotated[
        str, typer.Argument(metavar="ENTREGA", help="Por ejemplo, 06_autoatencion.")
    ],
    course_dir: CourseDir = ROOT,
) -> None:
    """Una página sobre lo corregido: notas, qué se le escapó a la clase, tiempos y avisos."""
    from autograder.report import write_report

    path = write_report(Course(course_dir), assignment)
    console.print(f"Informe: {path}", highlight=False, soft_wrap=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C no es un fallo: lo corregido queda guardado."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrumpido. Lo ya corregido está guardado y anotado: repite la orden para seguir "
            "donde estaba."
        ) from None


def _course(folder: Path, no_sandbox: bool) -> Course:
    course = Course(folder)
    if no_sandbox:
        course.config.IsolatedExecute.isolated = False
    return course
