"""Lo que gasta quien coordina en cada entrega, y a cuántos trabajadores puede alimentar.

    python benchmarks/coordinator.py [--sizes 2000 20000] [--reales 24] [--precio 0.04]

Primero se corrigen de verdad unas cuantas entregas honradas, con todos los núcleos ocupados, para
saber cuánto tarda cada una. Después, miles que no se corrigen: el trabajador devuelve al instante
un resultado de los de verdad, y todo lo demás es el camino de siempre (leer, resumir, enviar por un
clúster local de Dask, guardar, anotar en el libro y escribir `autograded/`). Cada tamaño va en un
proceso nuevo, con el planificador de Dask dentro. Con esos dos tiempos se simula una clase grande.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from autograder import cohort  # noqa: E402
from autograder.cluster import AHEAD, Cluster  # noqa: E402
from autograder.course import Course  # noqa: E402
from autograder.results import Result, Store  # noqa: E402
from autograder.worker import Job  # noqa: E402

NAME = "06_autoatencion"
FILE = f"{NAME}.ipynb"
SOLVED = "estudiante_0000"  # la primera de `honest_class` está resuelta
STORED = ("results", "autograded", "gradebook.db")
STUDENTS, NOTEBOOKS = 100_000, 9
WORKERS = (2, 8, 16, 32, 64, 128)


@functools.cache
def _model(folder: Path) -> Result:
    result = Store(Course(folder), NAME).get(SOLVED)
    assert result, "la entrega de muestra no está guardada"
    return result


def answer(folder: Path, job: Job) -> Result:
    """La tarea del trabajador: el resultado ya calculado de otra entrega."""
    return replace(_model(folder), student=job.student, key=job.key)


# --- Medir ----------------------------------------------------------------------------------------


def grade_some(folder: Path, size: int) -> list[float]:
    """Los segundos de unas entregas de verdad, con un trabajador por núcleo."""
    from benchmarks.throughput import honest_class, make_course

    course = Course(make_course(folder, honest_class(size)))
    results = list(cohort.grade_cohort(course, NAME))
    assert all(result.exercises for result in results), [r.problem for r in results if r.problem]
    return [result.seconds for result in results]


def fill(folder: Path, model: Path, size: int) -> None:
    """Un curso con muchas entregas, todas el mismo archivo."""
    shutil.copytree(ROOT / "source" / NAME, folder / "source" / NAME)
    original = shutil.copy(model / "submitted" / SOLVED / NAME / FILE, folder / FILE)
    for index in range(size):
        place = folder / "submitted" / f"estudiante_{index:06}" / NAME
        place.mkdir(parents=True)
        os.link(original, place / FILE)


def measure(folder: Path, model: Path, workers: int) -> dict[str, float]:
    """Lo que gasta este proceso en coordinar una corrección, contado desde el primer resultado.

    Antes de él están el repaso de todas las entregas, que se cuenta aparte, y los arranques.
    """
    fast = functools.partial(Cluster, task=functools.partial(answer, model))
    review, known = 0.0, cohort._known

    def timed(*arguments) -> Result | None:
        nonlocal review
        begin = time.perf_counter()
        found = known(*arguments)
        review += time.perf_counter() - begin
        return found

    with mock.patch.multiple(cohort, Cluster=fast, _known=timed):
        results = cohort.grade_cohort(Course(folder), NAME, workers)
        next(results)
        start = time.perf_counter(), time.process_time()
        count = 0  # sin el primero
        for result in results:
            assert result.exercises, result.problem
            count += 1
            end = time.perf_counter(), time.process_time()
    return {
        "review": review / (count + 1),
        "wall": (end[0] - start[0]) / count,
        "cpu": (end[1] - start[1]) / count,
        "peak": _peak(),
    }


def _peak() -> int:
    """El máximo de memoria de este proceso. `ru_maxrss` no vale: hereda el de quien lo lanzó."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def disk(path: Path) -> int:
    """Los bytes que ocupa en el disco."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)


def run(size: int, model: Path, workers: int) -> dict[str, float]:
    """Una medida en un proceso nuevo, y el disco que ha necesitado cada entrega."""
    with tempfile.TemporaryDirectory(prefix="coordinador-") as temporary:
        folder = Path(temporary)
        fill(folder, model, size)
        command = [sys.executable, __file__, "--medir", temporary, str(model), str(workers)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        sizes = {name: disk(folder / name) / size for name in STORED}
        return {**json.loads(done.stdout.splitlines()[-1]), **sizes}


# --- Simular --------------------------------------------------------------------------------------


def simulate(
    workers: int, submissions: int, times: list[float], cost: float
) -> tuple[float, float]:
    """Los segundos de una clase entera y la parte de ellos en que los trabajadores trabajan.

    Cada trabajador tiene enviadas `AHEAD` entregas. Quien coordina atiende los resultados de uno en
    uno, por orden de llegada, y entonces envía otra entrega a ese trabajador.
    """
    draw = random.Random(0)
    sent = min(submissions, AHEAD * workers)
    waiting = [deque([0.0] * len(range(w, sent, workers))) for w in range(workers)]
    working: list[tuple[float, int]] = []
    busy = free = 0.0

    def begin(worker: int, now: float) -> None:
        nonlocal busy
        if waiting[worker]:
            seconds = draw.choice(times)
            busy += seconds
            heapq.heappush(working, (max(now, waiting[worker].popleft()) + seconds, worker))

    for worker in range(workers):
        begin(worker, 0.0)
    while working:
        now, worker = heapq.heappop(working)
        free = max(free, now) + cost
        if sent < submissions:
            sent += 1
            waiting[worker].append(free)
        begin(worker, now)
    return free, busy / workers / free


def show_class(times: list[float], cost: float, review: float, price: float) -> None:
    """La simulación de la clase grande, con cada número de trabajadores."""
    print(f"\nsimulación de {STUDENTS:_} estudiantes x {NOTEBOOKS} cuadernos".replace("_", " "))
    print(f"(los otros {NOTEBOOKS - 1} cuadernos no se han medido: se suponen como {NAME})")
    print(f"(precio de ejemplo: {price:g} $ por núcleo y hora; un núcleo más para coordinar)")
    for workers in WORKERS:
        seconds, share = simulate(workers, STUDENTS, times, cost)
        seconds += review * STUDENTS
        share *= (seconds - review * STUDENTS) / seconds
        hours = NOTEBOOKS * seconds / 3600
        cores = hours * (workers + 1)
        print(
            f"  {workers:3} trabajadores: {STUDENTS * 3600 / seconds:8.0f} entregas por hora, "
            f"eficiencia {share:4.0%}; en total {hours:6.1f} h, {cores:5.0f} horas de núcleo, "
            f"{cores * price:6.2f} $"
        )


def main() -> None:
    if sys.argv[1:2] == ["--medir"]:
        folder, model, workers = sys.argv[2:]
        print(json.dumps(measure(Path(folder), Path(model), int(workers))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 20000], metavar="ENTREGAS")
    parser.add_argument("--workers", type=int, default=2, help="trabajadores que no corrigen")
    parser.add_argument("--reales", type=int, default=24, help="entregas que se corrigen de verdad")
    parser.add_argument("--precio", type=float, default=0.04, help="dólares por núcleo y hora")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coordinador-") as temporary:
        model = Path(temporary)
        times = grade_some(model, options.reales)
        mean = statistics.mean(times)
        print(
            f"{len(times)} entregas de verdad, {os.cpu_count()} a la vez: {mean:.2f} s de media "
            f"(de {min(times):.2f} a {max(times):.2f})",
            flush=True,
        )
        measures = {}
        for size in options.sizes:
            measures[size] = got = run(size, model, options.workers)
            print(
                f"{size} entregas, {options.workers} trabajadores que responden al instante: "
                f"{1000 * got['cpu']:.1f} ms de procesador y {1000 * got['wall']:.1f} ms de reloj "
                f"por entrega; {got['peak'] / 2**20:.0f} MiB como mucho; "
                f"{1000 * got['review']:.1f} ms por entrega en el repaso, antes de enviar nada",
                flush=True,
            )
    small, large = measures[min(measures)], measures[max(measures)]
    print("KiB de disco por entrega: ", end="")
    print(", ".join(f"{name} {large[name] / 1024:.0f}" for name in STORED))
    if len(measures) > 1:
        ratio = large["peak"] / small["peak"]
        print(f"memoria de {max(measures)} frente a {min(measures)}: {ratio:.2f} veces ", end="")
        print("(bien)" if ratio <= 1.3 else "(MAL: más de 1.3)")
    cost = large["wall"]
    print(f"quien coordina alimenta a {mean / cost:.0f} trabajadores ({mean:.2f} s / {cost:.4f} s)")
    show_class(times, cost, large["review"], options.precio)


if __name__ == "__main__":
    # Con su nombre de módulo, los trabajadores la importan en lugar de recibirla entera cada vez.
    from benchmarks import coordinator

    coordinator.main()
