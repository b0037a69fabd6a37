"""Lo que da corregir una entrega, y dónde se guarda para no corregirla dos veces."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autograder.checks import CheckResult
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import ExerciseResult, Scored

FOLDER = "results"
SUFFIX = ".json.gz"


@dataclass(frozen=True)
class Result(Scored):
    """Una entrega corregida, o por qué no se pudo.

    Args:
        key: de qué es resultado: un resumen de la entrega, de las pruebas y de quien corrige.
        seconds: lo que se tardó en corregirla.
        problem: por qué no tiene nota; vacío si la tiene.
        retry: si el problema no es de la entrega, y conviene intentarlo otra vez.
        reused: si no se ha corregido ahora: ya estaba guardado.
        unanswered: las celdas de respuesta que se dejaron como estaban.
        notices: lo que conviene que una persona mire.
        notebook: el texto del cuaderno corregido, con sus salidas.
    """

    student: str
    exercises: tuple[ExerciseResult, ...] = ()
    key: str = ""
    seconds: float = 0.0
    problem: str = ""
    retry: bool = False
    reused: bool = False
    unanswered: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    notebook: str = field(default="", repr=False)

    def to_json(self) -> dict[str, Any]:
        """Lo que se cuenta de una entrega, sin el cuaderno."""
        numbers = super().to_json() if self.exercises else {}
        return {
            "student": self.student,
            "seconds": round(self.seconds, 2),
            "error": self.problem,
            "notices": list(self.notices),
            **numbers,
        }


class Store:
    """Los resultados de una entrega del curso, un archivo por estudiante en `results/`.

    Cada uno lleva la clave de lo que se corrigió: si la entrega o las pruebas cambian, deja de
    valer. Mientras se usa, nadie más puede corregir la misma entrega.
    """

    def __init__(self, course: Course, assignment: str):
        self.folder = course.root / FOLDER / assignment
        self.assignment = assignment
        self.lock = FileLock(self.folder / ".cerrojo", timeout=0)

    def __enter__(self) -> Store:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire()
        except Timeout:
            raise CourseError(
                f"Ya hay otra corrección de «{self.assignment}» en marcha: espera a que acabe."
            ) from None
        return self

    def __exit__(self, *_: Any) -> None:
        self.lock.release()

    def put(self, result: Result) -> None:
        """Guarda un resultado, en lugar del que hubiera."""
        path = self._path(result.student)
        partial = path.with_suffix(".parcial")
        text = json.dumps(asdict(result))
        partial.write_bytes(gzip.compress(text.encode(), compresslevel=1))
        partial.replace(path)  # de una vez: nunca queda un archivo a medias

    def get(self, student: str) -> Result | None:
        """El resultado de una persona, si hay uno y está entero."""
        try:
            text = gzip.decompress(self._path(student).read_bytes())
            return _result(json.loads(text))
        except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError):
            return None

    def __iter__(self) -> Iterator[Result]:
        """Todos los resultados, por orden de estudiante."""
        names = sorted(path.name for path in self.folder.glob(f"*{SUFFIX}"))
        results = (self.get(name.removesuffix(SUFFIX)) for name in names)
        return (result for result in results if result)

    def _path(self, student: str) -> Path:
        return self.folder / f"{student}{SUFFIX}"


def _result(data: dict[str, Any]) -> Result:
    exercises = tuple(
        ExerciseResult(**{**e, "checks": tuple(CheckResult(**c) for c in e["checks"])})
        for e in data.pop("exercises")
    )
    for name in ("unanswered", "notices"):
        data[name] = tuple(data[name])
    return Result(**data, exercises=exercises)
