"""De quién es un archivo bajado de un LMS, y quién es esa persona en el libro de notas."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autograder.lms.archives import Refused

# «Ana Pérez_12345_assignsubmission_file_tarea.ipynb», o la carpeta «…_file» o «…_file_». Moodle no
# deja guiones bajos en los nombres: lo que vaya detrás, que elige quien entrega, no los cambia.
MOODLE = re.compile(
    r"(?P<name>[^_]+)_(?P<number>[0-9]{1,18})_assignsubmission_[a-z]+(?:_(?P<file>.*))?", re.DOTALL
)
# «perezana_12345_678901_tarea.ipynb», con «_LATE» tras el nombre si llegó tarde. Canvas no deja en
# los nombres números entre guiones bajos. Los textos y enlaces no llevan número de archivo.
CANVAS = re.compile(
    r"(?P<name>\w+?)(?:_LATE)?_(?P<number>[0-9]{1,18})_"
    r"(?:(?P<attachment>[0-9]{1,18})_(?P<file>.+)|text\.html|link\.html)",
    re.DOTALL,
)
VERSION = re.compile(r"-([0-9]{1,3})(?: ?\([0-9]+\))?\.\w+$")  # Canvas: «tarea-2.ipynb»
FOLDER = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,128}(?<![ .])")


@dataclass(frozen=True)
class Sender:
    """Quien entregó algo, como lo nombra el LMS."""

    lms: str
    number: str  # en Canvas, el de la persona; en Moodle, el que tiene en esa tarea
    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """Lo que no comparte con nadie. En Canvas cada cual puede cambiarse el nombre."""
        return ("Canvas", self.number) if self.lms == "Canvas" else (self.number, plain(self.name))

    def __str__(self) -> str:
        return f"{self.name} ({self.lms}, {self.number})"


@dataclass(frozen=True)
class Upload:
    """Lo que dice el nombre de un archivo."""

    sender: Sender
    version: tuple[int, int]  # entre los de una persona, cuanto mayor, más nuevo; a falta de fecha


def upload_of(path: str) -> Upload | None:
    """De quién es un archivo, por la primera parte de su ruta que lo diga: la que puso el LMS."""
    for part in unicodedata.normalize("NFC", path).split("/"):
        if match := MOODLE.fullmatch(part):
            return Upload(Sender("Moodle", match["number"], match["name"].strip()), (0, 0))
        if match := CANVAS.fullmatch(part):
            version = VERSION.search(match["file"] or "")
            order = (int(match["attachment"] or 0), int(version[1]) if version else 0)
            return Upload(Sender("Canvas", match["number"], match["name"]), order)
    return None


class Register:
    """Las personas del libro de notas.

    Args:
        students: sus filas, con `id`, `first_name`, `last_name` y `lms_user_id`.
    """

    def __init__(self, students: Iterable[Any]):
        self.lms_ids: dict[str, str] = {}
        self.known: dict[tuple[str, str], list[str]] = defaultdict(list)
        for student in students:
            self.lms_ids[student.id] = (student.lms_user_id or "").strip()
            name = plain(f"{student.first_name or ''} {student.last_name or ''}")
            for key in (("Canvas", self.lms_ids[student.id]), ("Moodle", name)):
                if key[1]:
                    self.known[key].append(student.id)

    def find(self, sender: Sender) -> str | None:
        """El identificador de alguien en el libro, si está.

        Raises:
            Refused: si podría ser más de una persona, o su identificador no puede ser una carpeta.
        """
        number_or_name = sender.number if sender.lms == "Canvas" else plain(sender.name)
        found = self.known.get((sender.lms, number_or_name), [])
        if len(found) > 1:
            raise Refused(f"en el libro hay varias personas así ({', '.join(found)})")
        if found and not FOLDER.fullmatch(found[0]):
            raise Refused(f"su identificador en el libro, «{found[0]}», no puede ser una carpeta")
        return found[0] if found else None

    def make(self, sender: Sender) -> str:
        """El identificador de quien no está en el libro; con su número, para que nadie lo comparta.

        Raises:
            Refused: si es el de otra persona.
        """
        slug = plain(sender.name).encode("ascii", "ignore").decode().replace(" ", "_")
        identifier = f"{slug[:60] or 'participante'}_{sender.number}"
        if sender.lms == "Canvas":
            identifier = sender.number
        if self.lms_ids.get(identifier):
            raise Refused(
                f"su número es el identificador de otra persona del libro, «{identifier}»"
            )
        return identifier


def plain(name: str) -> str:
    """Un nombre sin mayúsculas, acentos, signos ni espacios de más (Moodle quita los signos)."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(c for c in letters if c.isalnum() or c.isspace()).split())
