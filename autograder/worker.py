"""Lo que hace un trabajador: recibe el texto de una entrega y devuelve su resultado.

No lee ni escribe nada del curso: todo lo que necesita llega con `Grader`, una sola vez.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import signal
import threading
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from distributed import Worker, WorkerPlugin, get_worker
from nbgrader.converters import Autograde
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    Execute,
    SaveAutoGrades,
)

import autograder
from autograder.assignments import Assignment
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import grade_notebook
from autograder.isolation.warm import close_shared_servers, shared_server
from autograder.notebooks import dumps, parse, printable
from autograder.notices import notices
from autograder.results import Result

NAME = "corrector"
STUCK_SECONDS = 120  # de más sobre el tope de un cuaderno: algo no va a terminar nunca


@dataclass(frozen=True)
class Job:
    """Una entrega por corregir."""

    student: str
    text: str
    key: str


@dataclass(frozen=True)
class Grader:
    """Corrige las entregas de una asignación; se puede enviar a otra máquina."""

    course: Course
    assignment: Assignment

    def grade(self, job: Job) -> Result:
        """El resultado de una entrega, con nota o con el problema que tiene."""
        start = time.perf_counter()
        result = Result(job.student, key=job.key)
        try:
            submission = parse(job.text, "El archivo entregado")
        except CourseError as error:
            return replace(result, problem=str(error))
        graded = grade_notebook(submission, self.assignment, self.course.limits)
        name = self.assignment.name
        finished = self.course.preprocess(graded.notebook, self._last_steps, name, job.student)
        return replace(
            result,
            exercises=graded.exercises,
            unanswered=tuple(graded.unanswered),
            notices=(*graded.recovered, *notices(submission, self.assignment)),
            notebook=printable(dumps(finished)),
            seconds=time.perf_counter() - start,
        )

    def key(self, text: str) -> str:
        """De qué sería resultado corregir este texto: si algo de ello cambia, hay que repetir."""
        return hashlib.sha256(f"{self._fingerprint}\n{text}".encode()).hexdigest()

    @cached_property
    def _fingerprint(self) -> str:
        limits = json.dumps(asdict(self.course.limits))
        return "\n".join([code_version(), limits, dumps(self.assignment.notebook)])

    @cached_property
    def _last_steps(self) -> list[type]:
        """Los preprocesadores de `nbgrader autograde` que quedan por pasar.

        No los que ejecutan o anotan, ni el que comprueba los metadatos: son los del curso.
        """
        steps = Autograde(config=self.course.config).autograde_preprocessors
        others = (AssignLatePenalties, CheckCellMetadata, Execute, SaveAutoGrades)
        return [step for step in steps if not issubclass(step, others)]


def code_version() -> str:
    """Un resumen del programa que corrige: el paquete, con las pruebas ocultas, y PyTorch."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(autograder.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


class GraderPlugin(WorkerPlugin):
    """Prepara cada trabajador: lo que necesita para corregir y un proceso caliente.

    Args:
        interruptible: si Ctrl-C lo detiene; a los que arranca la propia orden los detiene ella.
    """

    name = NAME

    def __init__(self, grader: Grader, interruptible: bool):
        self.grader = grader
        self.interruptible = interruptible
        self.version = code_version()

    def setup(self, worker: Worker) -> None:
        if not self.interruptible and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if code_version() != self.version:
            raise CourseError(
                f"El trabajador {worker.address} tiene otra versión del curso o de PyTorch: "
                "instala en él la misma que donde das la orden."
            )
        torch.set_num_threads(1)  # hay un trabajador por núcleo
        shared_server(self.grader.course.limits.isolated, self.grader.assignment.prelude)

    def teardown(self, worker: Worker) -> None:
        close_shared_servers()


def grade_job(job: Job) -> Result:
    """La tarea que se envía a un trabajador.

    Si algo va mal que no es culpa de la entrega, el próximo intento empezará con otro proceso
    caliente; si no termina nunca, el trabajador se suicida y la tarea se repetirá en otro.
    """
    grader: Any = get_worker().plugins[NAME].grader  # type: ignore[attr-defined]
    limits = grader.course.limits
    faulthandler.dump_traceback_later(limits.notebook_seconds + STUCK_SECONDS, exit=True)
    try:
        return grader.grade(job)
    except Exception:
        close_shared_servers()
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
