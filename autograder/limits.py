"""Lo que puede gastar una entrega."""

from __future__ import annotations

from dataclasses import dataclass

MAX_NOTEBOOK = 20 * 2**20  # bytes de un cuaderno; uno con muchas figuras ocupa unos pocos MB


@dataclass(frozen=True)
class Limits:
    """Lo más que puede gastar una entrega.

    Args:
        cell_seconds: lo que dura una celda.
        notebook_seconds: lo que dura el cuaderno entero.
        memory: bytes de todos sus procesos juntos.
        disk: bytes de sus archivos, que son temporales y están en memoria.
        processes: procesos e hilos a la vez.
        output: caracteres que se guardan de las salidas de una celda.
        isolated: si se ejecuta encerrada; si no, con los permisos de quien corrige.
    """

    cell_seconds: int = 30
    notebook_seconds: int = 300
    memory: int = 2 * 2**30
    disk: int = 256 * 2**20
    processes: int = 64
    output: int = 200_000
    isolated: bool = True


@dataclass(frozen=True)
class ZipLimits:
    """Lo más que se lee de un .zip bajado de un LMS, y de los que traiga dentro.

    Args:
        notebook: bytes de un cuaderno; los mismos que admite la corrección.
        archive: bytes del .zip de una persona, y de lo que suman los cuadernos que se leen de él.
        entries: entradas del .zip de una persona; más no son una entrega, son una carpeta entera.
        class_entries: entradas del .zip de toda la clase.
        ratio: cuántas veces mayor puede ser un archivo que comprimido, pasado el primer MiB; un
            cuaderno se comprime de 3 a 30 veces, y una bomba, más de 1000.
        name: caracteres de una ruta; Moodle y Canvas cortan los nombres en 255.
    """

    notebook: int = MAX_NOTEBOOK
    archive: int = 60 * 2**20
    entries: int = 1000
    class_entries: int = 50_000
    ratio: int = 200
    name: int = 1000
