"""El informe de una entrega: una página para quien enseña, y los mismos números en JSON.

Lee los resultados de uno en uno y guarda de cada cual solo su fila: una clase enorme cabe.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from autograder.assignments import Assignment
from autograder.checks import CheckResult
from autograder.course import Course
from autograder.errors import CourseError
from autograder.gradebook import submissions
from autograder.grading import ExerciseResult
from autograder.notebooks import grade_id
from autograder.results import Result, Store
from autograder.similarity import CUTOFF, MAX_COMPARED, MIN_LENGTH, Solutions
from autograder.writing import explained, replacing

FOLDER = "reports"
TEMPLATES = Path(__file__).parent / "templates" / "report_es"
UNSOLVED = "Está sin resolver"  # como empiezan los mensajes de lo que nadie intentó
COLOUR = "#0b4f8a"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_SHOWN_MESSAGE = 300
_DISTINCT_MESSAGES = 500  # por comprobación: cada entrega podría escribir los suyos


def write_json(course: Course, assignment: str, path: Path) -> None:
    """Escribe lo que dieron las entregas actuales, por orden de estudiante.

    Raises:
        CourseError: si no se puede escribir.
    """
    with replacing(path, " Las notas ya están en el libro.") as file:
        file.write(f'{{"assignment": {json.dumps(assignment)}, "submissions": [')
        separator = "\n"
        for result in _results(course, assignment):
            file.write(separator + json.dumps(result.to_json(), ensure_ascii=False))
            separator = ",\n"
        file.write("\n]}\n")


def write_report(course: Course, assignment: str) -> Path:
    """Escribe la página de una entrega en `reports/`, y dice dónde.

    Raises:
        CourseError: si el curso no tiene la entrega, aún no está corregida o no se puede escribir.
    """
    summary = Summary(Assignment.load(assignment, course), len(submissions(course, assignment)))
    for result in _results(course, assignment):
        summary.add(result)
    if not summary.rows and not summary.problems:
        raise CourseError(
            f"Aún no hay nada corregido de «{assignment}»: da antes "
            f"«python -m autograder grade {assignment}»."
        )
    path = course.root / FOLDER / f"{assignment}.html"
    with explained(path):
        path.parent.mkdir(exist_ok=True)
    page = _environment().get_template("report.html.j2").stream(summary=summary)
    page.enable_buffering(200)
    with replacing(path) as file:
        file.writelines(page)
    return path


def _results(course: Course, assignment: str) -> Iterator[Result]:
    """Los resultados de las entregas que hay ahora, por orden de estudiante."""
    store = Store(course, assignment)
    found = (store.get(student) for student in submissions(course, assignment))
    return (result for result in found if result)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # nombres y mensajes los escriben las entregas
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "percent": _percent, "seconds": _seconds}
    return environment


# --- Lo que se cuenta -----------------------------------------------------------------------------


@dataclass
class CheckTally:
    """Cómo le fue a la clase en una comprobación."""

    exercise: str
    name: str
    passed: int = 0
    failed: int = 0
    unsolved: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, result: CheckResult) -> None:
        """Cuenta una más; los mensajes que solo difieren en los números son el mismo."""
        if result.passed:
            self.passed += 1
        elif result.message.startswith(UNSOLVED):
            self.unsolved += 1
        else:
            self.failed += 1
            key = _NUMBER.sub("0", result.message[:_SHOWN_MESSAGE])
            if key in self.messages or len(self.messages) < _DISTINCT_MESSAGES:
                self.messages[key] += 1
                self.examples.setdefault(key, _shortened(result.message))

    @property
    def tried(self) -> int:
        """Cuántas entregas lo intentaron."""
        return self.passed + self.failed

    @property
    def rate(self) -> float:
        """Qué parte de quienes lo intentaron lo consiguió."""
        return self.passed / self.tried if self.tried else 0.0

    @property
    def commonest(self) -> tuple[str, int]:
        """Un ejemplo del fallo más frecuente, y cuántas veces ocurrió."""
        if not self.messages:
            return "", 0
        key, count = self.messages.most_common(1)[0]
        return self.examples[key], count


@dataclass(frozen=True)
class Row:
    """La fila de una entrega con nota: los puntos de cada celda y el total."""

    student: str
    cells: tuple[str, ...]
    points: float
    max_points: float
    by_hand: bool


class Summary:
    """Lo que cuenta la página, a medida que llegan los resultados.

    Args:
        total: cuántas entregas hay, corregidas o no.
    """

    def __init__(self, assignment: Assignment, total: int):
        self.name = assignment.name
        self.total = total
        self.exact = total > MAX_COMPARED
        self.columns = {
            str(grade_id(c)): float(c.metadata["nbgrader"]["points"])
            for c in assignment.graded_cells
        }
        self.rows: list[Row] = []
        self.problems: list[tuple[str, str]] = []
        self.notices: list[tuple[str, tuple[str, ...]]] = []
        self.seconds: list[tuple[float, str]] = []
        self.checks: dict[tuple[str, str], CheckTally] = {}
        self.solutions = Solutions(assignment, self.exact)

    def add(self, result: Result) -> None:
        """Cuenta un resultado más."""
        if result.notices:
            self.notices.append((result.student, result.notices))
        if result.problem:
            self.problems.append((result.student, result.problem))
            return
        self.seconds.append((result.seconds, result.student))
        self.rows.append(self._row(result))
        self.solutions.add(result)
        for exercise in result.exercises:
            for check in exercise.checks:
                key = (exercise.grade_id, check.name)
                self.checks.setdefault(key, CheckTally(*key)).add(check)

    def _row(self, result: Result) -> Row:
        found = {e.grade_id: _cell(e) for e in result.exercises}
        cells = tuple(found.get(name, "—") for name in self.columns)
        return Row(result.student, cells, result.points, result.max_points, bool(result.pending))

    # --- Notas ---

    @property
    def points(self) -> list[float]:
        """Los puntos de las entregas con nota."""
        return [row.points for row in self.rows]

    @property
    def max_points(self) -> float:
        """Los puntos posibles sin los que pone una persona."""
        return max((row.max_points for row in self.rows), default=0.0)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.points)

    @property
    def median(self) -> float:
        return statistics.median(self.points)

    @property
    def by_hand(self) -> int:
        """Cuántas entregas esperan la nota de una persona."""
        return sum(row.by_hand for row in self.rows)

    @property
    def missing(self) -> int:
        """Cuántas entregas aún no se han corregido."""
        return self.total - len(self.rows) - len(self.problems)

    @property
    def points_chart(self) -> Chart:
        width = max(1, math.ceil(self.max_points / 10))
        return histogram(self.points, width, "puntos")

    # --- Comprobaciones ---

    @property
    def by_exercise(self) -> list[tuple[str, list[CheckTally]]]:
        """Las comprobaciones de cada celda de pruebas, en el orden del cuaderno."""
        tallies = list(self.checks.values())
        groups = [(name, [t for t in tallies if t.exercise == name]) for name in self.columns]
        return [(name, found) for name, found in groups if found]

    @property
    def hardest(self) -> list[CheckTally]:
        """Las comprobaciones que más fallaron quienes las intentaron, hasta tres."""
        failed = [tally for tally in self.checks.values() if tally.failed]
        return sorted(failed, key=lambda tally: (tally.rate, -tally.failed))[:3]

    # --- Tiempos ---

    @property
    def times(self) -> list[float]:
        return sorted(seconds for seconds, _ in self.seconds)

    @property
    def median_time(self) -> float:
        return statistics.median(self.times)

    @property
    def slow_time(self) -> float:
        """El percentil 90: nueve de cada diez tardaron eso o menos."""
        return self.times[math.ceil(0.9 * len(self.times)) - 1]

    @property
    def slowest(self) -> tuple[float, str]:
        return max(self.seconds)

    @property
    def time_chart(self) -> Chart:
        return histogram(self.times, _round_step(self.slowest[0] / 8), "segundos")

    # --- Parecidos ---

    min_length, max_compared, cutoff = MIN_LENGTH, MAX_COMPARED, CUTOFF


def _cell(exercise: ExerciseResult) -> str:
    return "a mano" if exercise.points is None else _number(exercise.points)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_MESSAGE else f"{text[:_SHOWN_MESSAGE]}…"


def _number(value: float) -> str:
    return f"{round(value, 2):g}"


def _percent(value: float) -> str:
    """Un porcentaje entero: 100 % es solo todo, y 0 %, solo nada."""
    rounded = round(100 * value)
    if 0 < value < 1:
        rounded = min(max(rounded, 1), 99)
    return f"{rounded} %"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else f"{value // 60:.0f} min {value % 60:.0f} s"


# --- Dibujos --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """Un dibujo que va dentro de la página, y lo que dice, con sus números."""

    data: str
    text: str


def histogram(values: list[float], step: float, unit: str) -> Chart:
    """Cuántos valores hay en cada tramo de anchura `step`, desde 0."""
    bins = max(1, math.ceil(max(values) / step - 1e-9))
    counts = [0] * bins
    for value in values:
        counts[min(int(value / step + 1e-9), bins - 1)] += 1
    edges = [_number(index * step) for index in range(bins + 1)]
    labels = [f"de {edges[i]} a {edges[i + 1]}" for i in range(bins)]
    parts = [f"{label}, {count}" for label, count in zip(labels, counts, strict=True) if count]
    return Chart(_bars(counts, edges, unit), f"Entregas por {unit}: {'; '.join(parts)}.")


def _bars(counts: list[int], edges: list[str], unit: str) -> str:
    """El SVG, en base64, de unas barras contiguas con su número encima."""
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(range(len(counts)), counts, 1.0, align="edge", color=COLOUR, edgecolor="white")
    axes.bar_label(bars, labels=[str(count) if count else "" for count in counts], padding=2)
    axes.set_xticks(range(len(edges)), edges)
    axes.set(xlabel=unit.capitalize(), ylabel="Entregas", yticks=[], xlim=(0, len(counts)))
    axes.margins(y=0.18)
    axes.spines[["top", "right", "left"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return base64.b64encode(file.getvalue()).decode()


def _round_step(step: float) -> float:
    """El paso de 1, 2 o 5 (por una potencia de diez) igual o mayor."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
