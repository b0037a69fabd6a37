"""La página de rendimiento: todas las medidas, en una pasada, cada una frente a su alternativa.

    python benchmarks/page.py

La enseña y la escribe en docs/rendimiento.md. Cada parte es un programa de esta carpeta, y también
se puede medir sola.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil
import torch

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "rendimiento.md"

# El título de cada parte, la orden que la mide y lo que hay que saber para leerla.
PARTS = [
    (
        "Corregir, frente a nbgrader",
        "throughput.py 24",
        "24 entregas honradas y distintas del cuaderno 06, con órdenes enteras y en procesos "
        "nuevos: `nbgrader autograde` recién instalado, que no aísla nada, y este curso.",
    ),
    (
        "Kernels: en frío y en caliente",
        "kernels.py",
        "Un kernel corriente de Jupyter, y uno aislado que nace de un proceso que ya importó "
        "PyTorch.",
    ),
    (
        "Las implementaciones, frente a otra directa y a la de PyTorch",
        "implementations.py",
        "Lotes de 32, un hilo. Una razón de 2× quiere decir que la alternativa tarda el doble. Las "
        "dos dan lo mismo, y se comprueba antes de medir.",
    ),
    (
        "El flujo de atención de BiDAF",
        "bidaf_flow.py",
        "La similitud, partida en tres productos o con un vector para cada pareja de palabras.",
    ),
    (
        "Cómo crece el coste con la longitud",
        "growth.py",
        "Un ejemplo, un hilo, sin gradiente; las dos secuencias, de longitud n. El exponente es el "
        "de la ley de potencias que mejor se ajusta: con 1, al doblar n se dobla el coste; con 2, "
        "se multiplica por cuatro.",
    ),
    (
        "Los cuadernos",
        "notebooks.py",
        "Cada cuaderno resuelto, con Jupyter, dos a la vez y un hilo cada uno: entero, y sin las "
        "celdas de la lección que los ejercicios no necesitan, que es lo que se ejecuta al "
        "corregir. Sin los datos de la última sección.",
    ),
]


def main() -> None:
    start = time.perf_counter()
    parts = [measured(*part) for part in PARTS]
    minutes = (time.perf_counter() - start) / 60
    text = "\n\n".join([introduction(minutes), *parts]) + "\n"
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def measured(title: str, order: str, explanation: str) -> str:
    """Una parte de la página, con lo que escribe su programa."""
    print(f"{title}…", file=sys.stderr, flush=True)
    program, *arguments = order.split()
    run = subprocess.run(
        [sys.executable, str(HERE / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        problem = f"python benchmarks/{order} no terminó bien; la página queda como estaba."
        sys.exit(f"{problem}\n{run.stderr}")
    return f"## {title}\n\n`python benchmarks/{order}`\n\n{explanation}\n\n{run.stdout.strip()}"


def introduction(minutes: float) -> str:
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{os.cpu_count()} núcleos (`{processor()}`), {memory:.0f} GiB de memoria, sin GPU"
    versions = f"Python {platform.python_version()}, PyTorch `{torch.__version__}`"
    return (
        "# Rendimiento\n\n"
        "Esta página la escribe `make bench`; no la edites. Cada medida va frente a su "
        "alternativa, en la misma pasada: fíate de las razones más que de los tiempos, que "
        "dependen de la máquina.\n\n"
        f"**Máquina**: {machine}; {platform.system()}. {versions}. "
        f"**Fecha**: {date.today().isoformat()}. Todo, en {minutes:.1f} minutos."
    )


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    main()
