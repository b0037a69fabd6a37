"""Lo que puede gastar una entrega."""

from __future__ import annotations

from dataclasses import dataclass


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
