"""Recoger las entregas bajadas de Moodle o Canvas, con `nbgrader zip_collect`.

nbgrader saca los archivos de `downloaded/ENTREGA/archive/` a `extracted/`, y de ahí los copia a
`submitted/`. Aquí se decide qué se saca: un cuaderno por persona, ya con su nombre definitivo.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy.exc
from nbgrader.api import Gradebook, Student
from nbgrader.plugins import ExtractorPlugin, FileNameCollectorPlugin

from autograder.assignments import Assignment, is_of
from autograder.course import Course
from autograder.errors import CourseError
from autograder.limits import ZipLimits
from autograder.lms import archives
from autograder.lms.archives import File, Refusals, Refused
from autograder.lms.senders import Register, Sender, Upload, upload_of
from autograder.notebooks import parse

REPLACED = "replaced"  # junto a archive/: lo que --force sustituyó

Uploads = dict[Sender, list[tuple[Upload, File]]]


class LmsExtractor(ExtractorPlugin):
    """Saca de lo que se bajó del LMS el cuaderno de cada persona, y rechaza lo peligroso.

    Lo que ya se recogió no se toca: con `--force` se sustituye si ha cambiado, y se guarda lo
    anterior. Las fechas de entrega no se recogen: la de un .zip puede ser la de la descarga.
    """

    limits = ZipLimits()

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Deja en `extracted_path` cada entrega nueva: `ESTUDIANTE/ENTREGA.ipynb`."""
        self.ready: set[Path] = set()  # lo que el colector puede pasar a nbgrader
        self.unchanged = 0
        self.refusals = Refusals()
        self.downloaded, self.extracted = Path(archive_path).parent, Path(extracted_path)
        try:
            self.course.source_path(self.parent.coursedir.assignment_id)  # que exista
            with ExitStack() as opened:
                uploads = self._uploads(Path(archive_path), opened)
                for student, sender in self._identify(uploads).items():
                    self._extract_one(student, sender, uploads[sender])
        except CourseError as error:
            self.log.error("%s", error)
            sys.exit(1)
        except OSError as error:
            self.log.error("No se puede escribir en %s: %s.", self.downloaded, error.strerror)
            sys.exit(1)
        for line in self.refusals.lines():
            self.log.warning("%s", line)
        self.log.info(
            "Entregas nuevas: %d. Ya recogidas, y sin cambios: %d. Avisos: %d.",
            len(self.ready), self.unchanged, len(self.refusals.files),
        )  # fmt: skip

    @cached_property
    def course(self) -> Course:
        """El curso en el que se recoge."""
        return Course(Path(self.parent.coursedir.root))

    @cached_property
    def assignment(self) -> Assignment:
        """La entrega que se recoge."""
        return Assignment.load(self.parent.coursedir.assignment_id, self.course)

    # --- De quién es cada archivo ---

    def _uploads(self, archive_path: Path, opened: ExitStack) -> Uploads:
        """Los archivos de cada persona, todavía sin leer."""
        uploads: Uploads = defaultdict(list)
        seen: dict[tuple[str, ...], Sender] = {}
        for origin, file in self._files(archive_path, opened):
            if archives.is_junk(file.path):
                continue
            if upload := upload_of(file.path):
                sender = seen.setdefault(upload.sender.key, upload.sender)
                uploads[sender].append((upload, file))
                continue
            with self.refusals.noting(origin, file.path):
                file.check()
                if file.path.lower().endswith((".ipynb", ".zip", *archives.OTHER_ARCHIVES)):
                    raise Refused("su nombre no es de los que ponen Moodle y Canvas")
        return uploads

    def _files(self, archive_path: Path, opened: ExitStack) -> Iterator[tuple[str, File]]:
        """Los archivos sueltos y los que hay en los .zip de la clase, y dónde estaban."""
        for path in sorted(archive_path.rglob("*")):
            name = path.relative_to(archive_path).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                self.refusals.add(archive_path.name, name, archives.SPECIAL)
            elif not path.is_file():
                continue
            elif archives.is_zip(name) and upload_of(name) is None:
                with self.refusals.noting(archive_path.name, name):
                    stream = opened.enter_context(path.open("rb"))
                    yield from ((name, f) for f in archives.class_zip(stream, self.limits))
            else:
                yield archive_path.name, archives.loose_file(path, name, self.limits)

    def _identify(self, uploads: Uploads) -> dict[str, Sender]:
        """El identificador de cada persona; si dos tendrían el mismo, no se recoge a ninguna."""
        register = Register(self._students())
        senders: dict[str, list[Sender]] = defaultdict(list)
        unknown = []
        for sender in uploads:
            try:
                student = register.find(sender)
                if student is None:
                    student = register.make(sender)
                    unknown += [sender] if sender.lms == "Moodle" else []
                senders[student].append(sender)
            except Refused as reason:
                self._refuse_all(uploads, sender, reason)
        for student, homonyms in senders.items():
            for sender in homonyms if len(homonyms) > 1 else []:
                self._refuse_all(
                    uploads, sender, f"otra persona se llama igual, y sería «{student}»"
                )
        if unknown:
            self.log.warning(
                "%s",
                archives.shown(
                    f"{len(unknown)} personas de Moodle no están en el libro de notas (la primera, "
                    f"{unknown[0]}): tendrán un identificador distinto en cada tarea. Regístralas "
                    "antes con «nbgrader db student import» (docs/lms.md)."
                ),
            )
        return {student: found[0] for student, found in senders.items() if len(found) == 1}

    def _refuse_all(self, uploads: Uploads, sender: Sender, reason: object) -> None:
        for _, file in uploads[sender]:
            self.refusals.add(str(sender), file.path, reason)

    def _students(self) -> list[sa.Row]:
        directory = self.parent.coursedir
        columns = Student.__table__.c
        wanted = [columns[c] for c in ("id", "first_name", "last_name", "lms_user_id")]
        try:
            with Gradebook(directory.db_url, directory.course_id) as book:
                return list(book.db.execute(sa.select(*wanted)))
        except sa.exc.SQLAlchemyError as error:
            reason = getattr(error, "orig", error)
            raise CourseError(
                f"No se puede usar el libro de notas ({directory.db_url}): {reason}."
            ) from None

    # --- El cuaderno de cada persona ---

    def _extract_one(
        self, student: str, sender: Sender, uploads: list[tuple[Upload, File]]
    ) -> None:
        newest_first = sorted(uploads, key=lambda u: (u[0].version, u[1].date), reverse=True)
        notebooks = self._notebooks(sender, [file for _, file in newest_first])
        if not notebooks:
            if not any(who == str(sender) for who, _ in self.refusals.files):
                self._refuse_all(
                    {sender: uploads}, sender, "no hay ningún cuaderno (.ipynb) en lo que entregó"
                )
            return
        if len(notebooks) > 1:  # del curso antes que ajenos; entre iguales, el más nuevo
            notebooks.sort(key=lambda notebook: not self._is_expected(notebook[1]))
        (path, data), *others = notebooks
        for other, _ in others:
            name = path.rpartition("/")[2]
            self.refusals.add(str(sender), other, f"envió varios cuadernos, y se recoge «{name}»")
        self._hand_over(student, sender, path, data)

    def _notebooks(self, sender: Sender, files: list[File]) -> list[tuple[str, bytes]]:
        """Los cuadernos distintos que entregó alguien, en el mismo orden."""
        found: dict[bytes, str] = {}
        for file in self._opened(sender, files):
            with self.refusals.noting(str(sender), file.path):
                if sum(map(len, found)) > self.limits.archive:
                    raise Refused(f"sus cuadernos suman más de {self.limits.archive >> 20} MB")
                data = file.read(self.limits.notebook)
                found.setdefault(data, file.path)
        return [(path, data) for data, path in found.items()]

    def _opened(self, sender: Sender, files: list[File], inside: bool = False) -> Iterator[File]:
        """Los cuadernos que hay entre unos archivos, y dentro de los .zip que haya entre ellos."""
        for file in files:
            path = file.path.lower()
            with self.refusals.noting(str(sender), file.path):
                if archives.is_junk(file.path):
                    continue
                file.check()
                if path.endswith(archives.OTHER_ARCHIVES):
                    raise Refused(archives.NOT_A_ZIP)
                if path.endswith(".ipynb"):
                    yield file
                if not archives.is_zip(path):
                    continue
                if inside:
                    raise Refused("es un .zip dentro de otro: pide que lo envíe sin comprimir")
                data = file.read(self.limits.archive)
                entries = archives.personal_zip(data, self.limits)
                entries.sort(key=lambda entry: entry.date, reverse=True)
                yield from self._opened(sender, entries, inside=True)

    def _is_expected(self, data: bytes) -> bool:
        try:
            return is_of(parse(data.decode("utf-8-sig"), "el cuaderno"), self.assignment)
        except (CourseError, UnicodeDecodeError):
            return False

    def _hand_over(self, student: str, sender: Sender, path: str, data: bytes) -> None:
        """Deja el cuaderno donde nbgrader lo recogerá, si no se recogió ya."""
        directory, name = self.parent.coursedir, self.parent.coursedir.assignment_id
        folder = Path(directory.format_path(directory.submitted_directory, student, name))
        collected = folder / f"{name}.ipynb"
        if collected.is_file() and collected.read_bytes() == data:
            self.unchanged += 1
            return
        if folder.is_dir() and any(folder.iterdir()):
            if not self.force:
                self.refusals.add(
                    str(sender),
                    path,
                    f"«{student}» ya tiene otra entrega, que se conserva (con --force se sustituye "
                    f"por esta, y la de antes se guarda en {REPLACED}/)",
                )
                return
            now = datetime.now().strftime("%Y-%m-%d_%H.%M.%S.%f")
            shutil.copytree(folder, self.downloaded / REPLACED / student / now)
        target = self.extracted / student / f"{name}.ipynb"
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
        self.ready.add(target)


class LmsCollector(FileNameCollectorPlugin):
    """Dice a nbgrader de quién es cada cuaderno que `LmsExtractor` acaba de sacar."""

    def collect(self, submitted_file: str) -> dict | None:
        """Lo que pide nbgrader; None para lo que no sea de esta misma orden."""
        path = Path(submitted_file)
        if path not in getattr(self.parent.extractor_plugin_inst, "ready", ()):
            return None
        return {"student_id": path.parent.name, "file_id": path.stem}
