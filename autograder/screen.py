"""Lo que la línea de órdenes enseña: tablas de notas y el avance de una corrección."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Table

from autograder.assignments import Assignment
from autograder.notebooks import grade_id

if TYPE_CHECKING:  # importarlos cuesta un segundo: el de PyTorch
    from autograder.grading import ExerciseResult, GradedNotebook
    from autograder.results import Result

console = Console()
aside = Console(stderr=True)  # lo que se ve mientras se corrige, y no es un resultado


def show_graded(graded: GradedNotebook) -> None:
    """Un cuaderno: cada ejercicio con sus comprobaciones."""
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


# --- El avance ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """La cuenta de una corrección en marcha."""

    total: int
    done: int = 0
    reused: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)
    first: float | None = None  # cuándo llegó el primero que se ha corregido ahora
    refresh: Callable[[], None] = lambda: None

    def add(self, result: Result) -> None:
        """Cuenta un resultado más."""
        self.done += 1
        self.reused += result.reused
        self.failed += bool(result.problem)
        if self.first is None and not result.reused:
            self.first = time.monotonic()
        self.refresh()

    @property
    def summary(self) -> str:
        """Lo que se dice al final."""
        parts = [f"{self.done - self.reused - self.failed} corregidas"]
        parts += [f"{self.reused} sin cambios, ya corregidas"] if self.reused else []
        parts += [f"{self.failed} sin nota"] if self.failed else []
        return f"{', '.join(parts)}; {_duration(time.monotonic() - self.started)}."

    @property
    def line(self) -> str:
        """Ritmo, tiempo que queda y fallos."""
        after_first = self.done - self.reused - 1  # sin contar lo que tarda en arrancar
        parts = [f"{self.reused} ya estaban"] if self.reused else []
        if self.first and after_first > 0:
            rate = after_first / max(time.monotonic() - self.first, 1e-3)
            left = (self.total - self.done) / rate
            parts += [f"{rate:.1f} por segundo", f"quedan {_duration(left)}"]
        parts += [f"{self.failed} sin nota"] if self.failed else []
        return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def progress(total: int) -> Iterator[Tally]:
    """Una barra con lo hecho, el ritmo, lo que queda y los fallos; se actualiza con `Tally.add`."""
    columns = [
        SpinnerColumn(),
        TextColumn("Corrigiendo"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
    ]
    tally = Tally(total)
    with Progress(*columns, console=aside, transient=True) as bar:
        task = bar.add_task("arrancando…", total=total)
        tally.refresh = lambda: bar.update(task, completed=tally.done, description=tally.line)
        yield tally


# --- La tabla -------------------------------------------------------------------------------------


class CohortTable:
    """La tabla de una clase: una fila por estudiante y una columna por ejercicio.

    Guarda de cada resultado solo su fila, para que una clase enorme quepa en memoria.
    """

    def __init__(self, assignment: Assignment):
        self.name = assignment.name
        groups = [_group(str(grade_id(cell))) for cell in assignment.graded_cells]
        self.groups = list(dict.fromkeys(groups))
        self.rows: dict[str, list[str]] = {}

    def add(self, result: Result) -> None:
        self.rows[result.student] = self._row(result)

    def show(self) -> None:
        """La tabla, por orden de estudiante, y una fila final con la media de cada columna."""
        table = Table(title=f"Entrega {self.name}")
        table.add_column("Estudiante", no_wrap=True)
        for title in [*self.groups, "Puntos", "%"]:
            table.add_column(title, justify="right")
        table.add_column("Observaciones")
        for student in sorted(self.rows):
            table.add_row(*map(escape, [student, *self.rows[student]]))
        table.add_section()
        table.add_row("Media", *self._means())
        console.print(table)

    def _row(self, result: Result) -> list[str]:
        if result.problem:
            return [*["—"] * len(self.groups), "—", "—", result.problem]
        automatic = [e for e in result.exercises if not e.manual]
        by_group = [_total(e for e in automatic if _group(e.grade_id) == g) for g in self.groups]
        notes = [f"a mano: {', '.join(result.pending)}"] if result.pending else []
        notes += sorted({e.message for e in automatic if "se interrumpió" in e.message})
        notes += ["míralo en el informe"] if result.notices else []
        percent = f"{100 * result.points / result.max_points:.0f}" if result.max_points else "—"
        return [*(f"{p:g}" for p in by_group), f"{result.points:g}", percent, "; ".join(notes)]

    def _means(self) -> list[str]:
        columns = zip(*(row[:-1] for row in self.rows.values()), strict=True)
        return [_mean([float(v) for v in column if v != "—"]) for column in columns]


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else "—"


def _total(exercises: Iterable[ExerciseResult]) -> float:
    return sum(e.points or 0.0 for e in exercises)


def _group(grade_id: str) -> str:
    """El ejercicio de una celda: la primera parte de su `grade_id`."""
    return grade_id.split("_")[0].removeprefix("ej")
