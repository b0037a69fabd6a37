"""Corregir todas las entregas de una asignación, a la vez, y anotarlas según llegan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from autograder import gradebook
from autograder.assignments import Assignment
from autograder.cluster import Cluster
from autograder.course import Course
from autograder.errors import CourseError
from autograder.gradebook import Ledger
from autograder.limits import MAX_NOTEBOOK
from autograder.notebooks import read_text
from autograder.results import Result, Store
from autograder.worker import Grader, Job


def grade_cohort(
    course: Course,
    name: str,
    workers: int | None = None,
    scheduler: str | None = None,
    force: bool = False,
) -> Iterator[Result]:
    """Corrige y anota cada entrega de `submitted/`; una que falla no detiene a las demás.

    Cada resultado se guarda antes de anotarlo: si esto se interrumpe, la próxima vez seguirá donde
    estaba, y lo que no haya cambiado no se corrige de nuevo.

    Args:
        workers: cuántos procesos corrigen a la vez en esta máquina; si falta, uno por núcleo.
        scheduler: la dirección de un planificador de Dask, para que corrijan sus trabajadores.
        force: corregir también lo que no ha cambiado.

    Raises:
        CourseError: si no existe la asignación, nadie ha entregado o no se puede anotar.
    """
    assignment = Assignment.load(name, course)
    found = gradebook.submissions(course, name)
    grader = Grader(course, assignment)
    with Store(course, name) as store, Ledger(course, assignment) as ledger:
        pending: dict[str, Path] = {}
        for student, path in found.items():
            result = _known(student, path, grader, store, force)
            if result is None:
                pending[student] = path
                continue
            if result.reused and not ledger.has(result):
                ledger.add(result)
            yield result
        if not pending:
            return
        jobs = (_job(student, path, grader) for student, path in pending.items())
        needed = min(workers or os.cpu_count() or 1, len(pending))
        with Cluster(grader, needed, scheduler) as cluster:
            for result in cluster.grade(jobs):
                store.put(result)
                ledger.add(result)
                yield result


def _known(student: str, path: Path, grader: Grader, store: Store, force: bool) -> Result | None:
    """El resultado que no hay que calcular: el ya guardado, o el problema que tiene su carpeta."""
    try:
        gradebook.submitted_at(path.parent)
        job = _job(student, path, grader)
    except CourseError as error:
        problem = str(error).replace(f"{grader.course.root}/", "")
        store.put(result := Result(student, problem=problem))
        return result
    stored = store.get(student)
    if force or stored is None or stored.retry or stored.key != job.key:
        return None
    return replace(stored, reused=True)


def _job(student: str, path: Path, grader: Grader) -> Job:
    text = read_text(path)
    if len(text) > MAX_NOTEBOOK:
        size = f"{len(text) >> 20} MB, y el tope es de {MAX_NOTEBOOK >> 20}"
        raise CourseError(f"{path} ocupa {size}: pide que lo entregue sin salidas.")
    return Job(student, text, grader.key(text))
