"""Repartir entregas entre trabajadores de Dask, aquí o en otras máquinas, y recoger resultados."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.security import Security

from autograder.errors import CourseError
from autograder.results import Result
from autograder.worker import Grader, GraderPlugin, Job, grade_job

AHEAD = 2  # entregas enviadas por cada trabajador: la que corrige y la siguiente
ATTEMPTS = 3
CONNECT_SECONDS = 10
LOST_SECONDS = 60  # lo que se espera a que vuelva algún trabajador, si no queda ninguno
CHECK_SECONDS = 2.0
dask.config.set(
    {
        # Recuerda los últimos 1000 mensajes de cada conexión, y en los nuestros van cuadernos.
        "distributed.admin.low-level-log-length": 16,
        "distributed.worker.profile.enabled": False,  # nadie lo mira, y cuesta un 8 %
        "distributed.worker.multiprocessing-method": "forkserver",
    }
)
NOWHERE = "127.0.0.1:0"  # para lo que Dask enseña en una página: solo en esta máquina


class Cluster:
    """Los trabajadores que corrigen las entregas de una asignación.

    Args:
        workers: cuántos arrancar aquí.
        scheduler: la dirección de un planificador de Dask que ya está en marcha, con los suyos.
        task: lo que hace un trabajador con cada entrega.

    Raises:
        CourseError: si no se puede conectar, o los trabajadores no pueden corregir.
    """

    def __init__(
        self,
        grader: Grader,
        workers: int,
        scheduler: str | None = None,
        task: Any = grade_job,
    ):
        self.grader = grader
        self.workers = workers
        self.scheduler = scheduler
        self.task = task

    def __enter__(self) -> Cluster:
        self.closing = contextlib.ExitStack()
        try:
            self.client = self._connect()
            self.closing.callback(self.client.close)
            self.client.register_plugin(GraderPlugin(self.grader, self.scheduler is not None))
        except BaseException:
            self.closing.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.close()

    def _connect(self) -> Client:
        if self.scheduler:
            try:
                return Client(self.scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise CourseError(
                    f"No responde ningún planificador de Dask en {self.scheduler} ({error}): "
                    "arráncalo con «dask scheduler» y da su dirección."
                ) from None
        cluster = LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            memory_limit=0,  # lo que gastan las entregas ya tiene su límite
            dashboard_address=NOWHERE,
            worker_dashboard_address=NOWHERE,
            # Quien comparta esta máquina no debe poder hablar con los trabajadores.
            security=Security.temporary(),
            protocol="tls://",
            silence_logs=logging.CRITICAL,
            # Las repeticiones se cuentan aquí.
            scheduler_kwargs={"allowed_failures": 0, "dashboard": False},
        )
        self.closing.callback(cluster.close)
        return Client(cluster, set_as_default=False)

    # --- Repartir ---

    def grade(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Los resultados, según llegan. Solo lee los trabajos que va a enviar.

        Un trabajo que mata a su trabajador se repite en otro. El último intento se hace a solas,
        para que nadie cargue con la culpa de quien compartía trabajador.
        """
        waiting, arrived = iter(jobs), SimpleQueue[Future]()
        flying: dict[Any, tuple[Job, int, bool]] = {}
        again: list[tuple[Job, int]] = []
        last: list[tuple[Job, int]] = []

        def send(job: Job, failures: int, alone: bool = False) -> None:
            future = self.client.submit(self.task, job, key=f"corregir-{uuid4().hex}", pure=False)
            flying[future.key] = job, failures, alone
            future.add_done_callback(arrived.put)

        while True:
            room = self._room() - len(flying)
            for job, failures in _take(again, room):
                send(job, failures)
            for job in islice(waiting, max(0, self._room() - len(flying))):
                send(job, 0)
            if not flying and last:
                send(*last.pop(), alone=True)
            if not flying:
                return
            future = self._next(arrived)
            job, failures, alone = flying.pop(future.key)
            problem, deaths = _failure(future)
            if not deaths:
                yield future.result()
                continue
            failures += deaths
            if alone:
                yield Result(job.student, key=job.key, problem=problem, retry=True)
            elif failures >= ATTEMPTS - 1:
                last.append((job, failures))
            else:
                again.append((job, failures))

    def _room(self) -> int:
        """Cuántas entregas pueden estar enviadas a la vez."""
        now = time.monotonic()
        if now > getattr(self, "_counted", 0) + CHECK_SECONDS:
            self._counted = now
            self._threads = sum(self.client.nthreads().values())
        return AHEAD * max(1, self._threads)

    def _next(self, arrived: SimpleQueue[Future]) -> Future:
        """El próximo resultado que llegue.

        Raises:
            CourseError: si se han ido todos los trabajadores y no vuelve ninguno.
        """
        alone_since = None
        while True:
            with contextlib.suppress(Empty):
                return arrived.get(timeout=CHECK_SECONDS)
            if self.client.nthreads():
                alone_since = None
                continue
            alone_since = alone_since or time.monotonic()
            if time.monotonic() > alone_since + LOST_SECONDS:
                raise CourseError(
                    "No queda ningún trabajador. Lo ya corregido está guardado: arráncalos y "
                    "repite la orden para seguir."
                )


def _take(items: list[Any], count: int) -> list[Any]:
    """Saca de una lista los primeros elementos."""
    taken, items[:] = items[: max(0, count)], items[max(0, count) :]
    return taken


def _failure(future: Future) -> tuple[str, int]:
    """Por qué no hay resultado y cuántos intentos ha costado; ninguno si lo hay."""
    if future.status == "finished":
        return "", 0
    if future.status == "cancelled":
        return "El planificador anuló la tarea.", 1
    error = future.exception()
    if isinstance(error, KilledWorker):
        deaths = error.allowed_failures + 1
        return "Cada vez que se corrige, el programa que la corrige se cierra.", deaths
    return f"No se pudo corregir ({type(error).__name__}: {error}).", 1
