"""Leer lo que se baja de un LMS sin fiarse de ello: carpetas, .zip, y los .zip que traigan dentro.

Aquí no se escribe nada: quien llama recibe los bytes, ya medidos, y elige dónde van.
"""

from __future__ import annotations

import contextlib
import io
import re
import stat
import time
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from autograder.errors import CourseError
from autograder.limits import ZipLimits

RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
OTHER_ARCHIVES = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz")
JUNK = {"__MACOSX", ".DS_Store", ".ipynb_checkpoints"}
ENTRY_MARK = b"PK\x01\x02"  # el principio de cada entrada en el índice de un .zip

DAMAGED = "está dañado, o no es un .zip: pide que lo suba otra vez"
NOT_A_ZIP = "solo se abren archivos .zip: pide que vuelva a comprimirlo como .zip"
SPECIAL = "es un enlace o un archivo especial"

Date = tuple[int, int, int, int, int, int]


class Refused(CourseError):
    """Por qué no se recoge un archivo, dicho de forma que pueda ir detrás de su nombre."""


@dataclass(frozen=True)
class File:
    """Un archivo bajado, todavía sin leer."""

    path: str  # relativa, con «/»; quizá con cualquier cosa dentro: solo sirve para mirarla
    date: Date
    check: Callable[[], None]  # `Refused`, si no se debe leer
    read: Callable[[int], bytes]  # sus bytes, que no pueden pasar de tantos; si no, `Refused`


@dataclass
class Refusals:
    """Lo que no se recoge: cada motivo de cada persona, una vez."""

    files: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, who: str, path: str, reason: object) -> None:
        """Anota que no se recoge un archivo de alguien."""
        self.files[who, str(reason)].append(path.rpartition("/")[2] or path)

    def lines(self) -> list[str]:
        """Una línea por persona y motivo."""
        return [
            shown(f"{who}: no se recoge {_listed(paths)}: {reason}.")
            for (who, reason), paths in self.files.items()
        ]

    @contextlib.contextmanager
    def noting(self, who: str, path: str) -> Iterator[None]:
        """Lo que se rechaza dentro, se anota y no detiene lo demás."""
        try:
            yield
        except Refused as reason:
            self.add(who, path, reason)
        except OSError as error:
            self.add(who, path, f"no se puede leer ({error.strerror})")


def shown(text: str) -> str:
    """El texto sin caracteres que una terminal pueda obedecer."""
    return "".join(c if c.isprintable() else "?" for c in text)


def is_zip(path: str) -> bool:
    """Si un archivo dice ser un .zip."""
    return path.lower().endswith(".zip")


def is_junk(path: str) -> bool:
    """Si es lo que dejan en las carpetas macOS o Jupyter, y no lo que se entrega."""
    return any(part in JUNK or part.startswith("._") for part in path.split("/"))


def loose_file(path: Path, name: str, limits: ZipLimits) -> File:
    """Un archivo del disco."""

    def read(limit: int) -> bytes:
        _check_size(path.stat().st_size, limit)
        return path.read_bytes()

    date = time.localtime(path.stat().st_mtime)[:6]
    return File(name, date, partial(check_name, name, limits), read)


def class_zip(file: BinaryIO, limits: ZipLimits) -> list[File]:
    """Los archivos del .zip de toda la clase, que hizo el LMS.

    Raises:
        Refused: si no se puede abrir.
    """
    return _files(file, limits, limits.class_entries)


def personal_zip(data: bytes, limits: ZipLimits) -> list[File]:
    """Los archivos del .zip que hizo una persona.

    Raises:
        Refused: si no se puede abrir, o tiene demasiadas entradas (sin leer antes su índice, que
            puede ocupar cien veces más en la memoria).
    """
    if data.count(ENTRY_MARK) > limits.entries:
        raise Refused(f"tiene más de {limits.entries} archivos: pide que envíe solo su cuaderno")
    return _files(io.BytesIO(data), limits, limits.entries)


def _files(file: BinaryIO, limits: ZipLimits, max_entries: int) -> list[File]:
    try:
        archive = _open(file)
    except Exception:  # zipfile lanza errores muy variados ante unos bytes cualesquiera
        raise Refused(DAMAGED) from None
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > max_entries:
        raise Refused(f"tiene más de {max_entries} archivos")
    return [
        File(
            entry.orig_filename,
            entry.date_time,
            partial(check_entry, entry, limits),
            partial(_read, archive, entry, limits),
        )
        for entry in entries
    ]


def _open(file: BinaryIO) -> zipfile.ZipFile:
    """El .zip, con los nombres en UTF-8 aunque no lo diga (así los hace macOS)."""
    try:
        return zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(file)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: ZipLimits, limit: int) -> bytes:
    check_entry(entry, limits)
    _check_size(entry.file_size, limit)
    try:
        with archive.open(entry) as content:
            data = content.read(limit + 1)  # lo que dice que ocupa puede ser mentira
    except Exception:  # como al abrirlo
        raise Refused(DAMAGED) from None
    _check_size(len(data), limit)
    return data


def check_entry(entry: zipfile.ZipInfo, limits: ZipLimits) -> None:
    """Que una entrada se pueda leer sin riesgo.

    Raises:
        Refused: si no.
    """
    name = entry.orig_filename
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise Refused(SPECIAL)
    check_name(name, limits)
    if entry.flag_bits & 0x1:
        raise Refused("está cifrado: pide que lo envíe sin contraseña")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"está comprimido con un método poco común; {NOT_A_ZIP}")
    if entry.file_size > limits.ratio * entry.compress_size + 2**20:
        raise Refused(f"al descomprimirlo crecería más de {limits.ratio} veces")


def check_name(name: str, limits: ZipLimits) -> None:
    """Que un nombre no intente salir de su carpeta, ni confundir a quien lo lee.

    Raises:
        Refused: si lo intenta.
    """
    parts = name.split("/")
    if "\\" in name or ".." in parts or PureWindowsPath(name).anchor:
        raise Refused("su ruta sale de su carpeta")
    if len(name) > limits.name or max(map(len, parts)) > 255:
        raise Refused("su nombre es demasiado largo")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise Refused("su nombre tiene caracteres de control")
    if any(RESERVED.fullmatch(part.strip()) for part in parts):
        raise Refused("su nombre está reservado en Windows")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise Refused(
            f"ocupa más de {limit >> 20} MB, que es el tope: pide que lo envíe sin salidas"
        )


def _listed(paths: list[str], most: int = 3) -> str:
    names = ", ".join(f"«{path if len(path) < 80 else path[:79] + '…'}»" for path in paths[:most])
    return names if len(paths) <= most else f"{names} y {len(paths) - most} más"
