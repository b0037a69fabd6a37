"""Escribir un archivo entero o nada."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from autograder.errors import CourseError


@contextlib.contextmanager
def replacing(
    path: Path, afterwards: str = "", encoding: str = "utf-8", newline: str | None = None
) -> Iterator[TextIO]:
    """Un archivo que ocupa su sitio al acabar: nunca queda uno a medias.

    Raises:
        CourseError: si no se puede escribir; `afterwards` dice qué se conserva.
    """
    partial = path.with_name(f"{path.name}.parcial")
    try:
        with explained(path, afterwards):
            with partial.open(
                "w", encoding=encoding, errors="backslashreplace", newline=newline
            ) as file:
                yield file
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(path: Path, afterwards: str = "") -> Iterator[None]:
    """Un error del sistema al escribir, dicho en una línea.

    Raises:
        CourseError: en lugar de OSError.
    """
    try:
        yield
    except OSError as error:
        raise CourseError(f"No se puede escribir {path}: {error.strerror}.{afterwards}") from None
