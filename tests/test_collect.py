"""Recoger entregas bajadas de Moodle y Canvas, con `nbgrader zip_collect`."""

import contextlib
import csv
import io
import json
import logging
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbgrader.api import Gradebook
from nbgrader.apps.zipcollectapp import ZipCollectApp

from autograder.conventions import ROOT
from autograder.limits import ZipLimits
from autograder.lms import archives
from autograder.lms.archives import Refused
from autograder.lms.senders import FOLDER, Register, Sender, upload_of
from autograder.notebooks import dumps
from tests.support import published

NAME = "06_autoatencion"
MOODLE = "Ana Pérez_101_assignsubmission_file_"
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@cache
def notebook(folder: str, name: str = NAME) -> bytes:
    """Un cuaderno publicado del curso."""
    return dumps(published(folder, name)).encode()


def zipped(files: dict[str, bytes], date=(2026, 3, 1, 10, 0, 0)) -> bytes:
    """Un .zip con esos archivos; cada nombre puede ser también una entrada ya hecha."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


class CourseFolder:
    """Un curso con una entrega, en el que se recoge lo que se deja en su carpeta de descargas."""

    def __init__(self, root: Path):
        self.root = root
        self.archive = root / "downloaded" / NAME / "archive"
        self.archive.mkdir(parents=True)
        shutil.copytree(ROOT / "source" / NAME, root / "source" / NAME)
        config = f'c = get_config()\nload_subconfig("nbgrader_config.py", path={str(ROOT)!r})\n'
        (root / "nbgrader_config.py").write_text(config, encoding="utf-8")

    def download(self, name: str, data: bytes) -> None:
        path = self.archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def register(self, **students: dict) -> None:
        with Gradebook(f"sqlite:///{self.root / 'gradebook.db'}") as book:
            for student, data in students.items():
                book.add_student(student, **data)

    def collect(self, *flags: str) -> list[str]:
        """Da la orden y devuelve las líneas de aviso del curso (las de nbgrader van en inglés)."""
        app = ZipCollectApp()
        app.initialize([NAME, *flags])
        lines = Lines()
        app.log.addHandler(lines)
        try:
            app.start()
        finally:
            app.log.removeHandler(lines)
        return lines.seen

    @property
    def collected(self) -> dict[str, bytes]:
        """El cuaderno de cada estudiante en `submitted/`."""
        found = self.root.glob(f"submitted/*/{NAME}/*")
        return {path.parent.parent.name: path.read_bytes() for path in found}


class Lines(logging.Handler):
    """Guarda los avisos que dan las piezas del curso."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.seen = []

    def emit(self, record):
        if f"{os.sep}autograder{os.sep}" in record.pathname:
            self.seen.append(record.getMessage())


@pytest.fixture
def course(tmp_path, monkeypatch, empty_gradebook):
    root = tmp_path / "curso"
    root.mkdir()
    shutil.copy(empty_gradebook, root)
    monkeypatch.chdir(root)
    return CourseFolder(root)


# --- De quién es ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sender"),
    [
        ("Ana Pérez_101_assignsubmission_file_tarea.ipynb", ("Moodle", "101", "Ana Pérez")),
        ("Ana Pérez_101_assignsubmission_file_/tarea.ipynb", ("Moodle", "101", "Ana Pérez")),
        ("Ana Pérez_101_assignsubmission_file/sub/tarea.ipynb", ("Moodle", "101", "Ana Pérez")),
        (
            "clase/Ana Pe\u0301rez_101_assignsubmission_file_/t.ipynb",
            ("Moodle", "101", "Ana Pérez"),
        ),
        ("perezana_12_345_tarea.ipynb", ("Canvas", "12", "perezana")),
        ("perezana_LATE_12_345_tarea-1.ipynb", ("Canvas", "12", "perezana")),
        ("pérez_ana_12_345_otra_6_7_tarea.ipynb", ("Canvas", "12", "pérez_ana")),
        ("perezana_12_text.html", ("Canvas", "12", "perezana")),
        # Lo que elige quien entrega no cambia de quién es.
        ("perezana_12_345_Otra_9_assignsubmission_file_a.ipynb", ("Canvas", "12", "perezana")),
        ("Ana_101_assignsubmission_file_/otra_9_8_a.ipynb", ("Moodle", "101", "Ana")),
    ],
)
def test_sender(path, sender):
    assert upload_of(path).sender == Sender(*sender)


@pytest.mark.parametrize("path", ["tarea.ipynb", "06_autoatencion (1).ipynb", "a_1.ipynb", ""])
def test_no_sender(path):
    assert upload_of(path) is None


def person(student, **data):
    return SimpleNamespace(
        id=student, **{"first_name": None, "last_name": None, "lms_user_id": None, **data}
    )


def test_register_finds_people():
    register = Register(
        [
            person("estudiante_01", first_name="Ana  María", last_name="PÉREZ O'Neill"),
            person("estudiante_02", lms_user_id="777"),
        ]
    )
    assert register.find(Sender("Moodle", "1", "ana mari\u0301a perez oneill")) == "estudiante_01"
    assert register.find(Sender("Canvas", "777", "x")) == "estudiante_02"
    assert register.find(Sender("Canvas", "778", "x")) is None


def test_register_never_mixes_people():
    homonyms = [person(f"e{n}", first_name="Ana", last_name="Pérez") for n in (1, 2)]
    with pytest.raises(Refused, match=r"varias personas.*e1, e2"):
        Register(homonyms).find(Sender("Moodle", "1", "Ana Pérez"))
    taken = Register([person("555", lms_user_id="444")])
    with pytest.raises(Refused, match="555"):
        taken.make(Sender("Canvas", "555", "x"))
    with pytest.raises(Refused, match="carpeta"):
        Register([person("../x", lms_user_id="1")]).find(Sender("Canvas", "1", "x"))


@given(
    st.text(), st.from_regex(r"[0-9]{1,18}", fullmatch=True), st.sampled_from(["Moodle", "Canvas"])
)
def test_made_ids_are_plain_folders(name, number, lms):
    identifier = Register([]).make(Sender(lms, number, name))
    assert FOLDER.fullmatch(identifier)
    assert identifier.isascii()
    assert identifier.replace("_", "").isalnum()


# --- Recoger --------------------------------------------------------------------------------------


def test_class_zip_folders_loose_files_and_personal_zips(course):
    course.register(
        estudiante_01={"first_name": "Ana", "last_name": "Pérez"},
        estudiante_02={"lms_user_id": "12"},
    )
    course.download(
        "curso-tarea.zip",
        zipped(
            {
                "Ana PÉREZ_101_assignsubmission_file_/Copia de 06_autoatencion (1).ipynb": b"uno",
                "Ana PÉREZ_101_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
                "Luz Gil_102_assignsubmission_file_mío.zip": zipped(
                    {
                        "carpeta/tarea.ipynb": b"dos",
                        "__MACOSX/carpeta/._tarea.ipynb": b"x",
                        "carpeta/.ipynb_checkpoints/tarea-checkpoint.ipynb": b"y",
                    }
                ),
            }
        ),
    )
    course.download("perezana_LATE_12_345_tarea-1.ipynb", b"tres")
    course.download("solano_13_346_tarea.ipynb", b"cuatro")
    lines = course.collect()
    assert course.collected == {
        "estudiante_01": b"uno",
        "luz_gil_102": b"dos",
        "estudiante_02": b"tres",
        "13": b"cuatro",
    }
    assert len(lines) == 1
    assert "Luz Gil (Moodle, 102)" in lines[0]
    assert "nbgrader db student import" in lines[0]


def test_homonyms_are_not_mixed(course):
    course.register(estudiante_01={"first_name": "Ana", "last_name": "Pérez"})
    course.download("Ana Pérez_101_assignsubmission_file_a.ipynb", b"uno")
    course.download("ana perez_102_assignsubmission_file_a.ipynb", b"dos")
    course.download("Luz Gil_103_assignsubmission_file_a.ipynb", b"tres")
    course.download("Luz Gil_104_assignsubmission_file_a.ipynb", b"cuatro")
    lines = course.collect()
    assert course.collected == {"luz_gil_103": b"tres", "luz_gil_104": b"cuatro"}
    assert sum("se llama igual" in line for line in lines) == 2


def test_who_changes_name_in_canvas_is_the_same_person(course):
    course.download("perezana_12_300_a.ipynb", b"antes")
    course.download("perezluz_12_301_a.ipynb", b"ahora")
    course.collect()
    assert course.collected == {"12": b"ahora"}


def test_best_notebook_of_several(course):
    solved, other = notebook("release"), notebook("release", "07_clave_valor_prediccion")
    newer = solved.replace(b'"nbformat_minor": 5', b'"nbformat_minor":  5')
    course.download("ana_12_300_tarea.ipynb", solved)
    course.download("ana_12_301_tarea-1.ipynb", newer)
    course.download("ana_12_302_otra.ipynb", other)
    course.download("ana_12_303_roto.ipynb", b"{")
    old, new = (2026, 3, 1, 9, 0, 0), (2026, 3, 2, 9, 0, 0)
    course.download("a.zip", zipped({f"{MOODLE}/a.ipynb": solved}, new))
    course.download("b.zip", zipped({f"{MOODLE}/a.ipynb": newer}, old))
    lines = course.collect()
    assert course.collected["12"] == newer
    assert course.collected["ana_perez_101"] == solved
    (line,) = (line for line in lines if "Canvas" in line)
    for name in (
        "otra.ipynb",
        "roto.ipynb",
        "_300_tarea.ipynb",
        "se recoge «ana_12_301_tarea-1.ipynb»",
    ):
        assert name in line


def test_unreadable_notebook_is_collected_when_alone(course):
    course.download(f"{MOODLE}a.ipynb", b"\xff{")
    course.collect()
    assert course.collected == {"ana_perez_101": b"\xff{"}


def test_same_file_twice_is_one(course):
    course.download("hoy.zip", zipped({f"{MOODLE}a.ipynb": NOTEBOOK}))
    course.download("ayer.zip", zipped({f"{MOODLE}a.ipynb": NOTEBOOK}))
    assert all("no se recoge" not in line for line in course.collect())
    assert course.collected == {"ana_perez_101": NOTEBOOK}


def test_repeating_loses_nothing(course):
    course.download("ana_12_300_a.ipynb", b"uno")
    course.collect()
    course.download("luz_13_301_a.ipynb", b"dos")
    assert course.collect() == []
    assert course.collected == {"12": b"uno", "13": b"dos"}

    course.download("ana_12_302_a-1.ipynb", b"nuevo")
    (course.archive / "ana_12_300_a.ipynb").unlink()
    (line,) = course.collect()
    assert "--force" in line
    assert course.collected["12"] == b"uno"

    course.collect("--force")
    assert course.collected == {"12": b"nuevo", "13": b"dos"}
    kept = course.archive.parent.glob(f"replaced/12/*/{NAME}.ipynb")
    assert [path.read_bytes() for path in kept] == [b"uno"]


def test_old_extracted_files_do_not_replace_anything(course):
    """Sin archive/, nbgrader pasa al colector lo que quedara de la última vez."""
    course.download("ana_12_300_a.ipynb", b"uno")
    course.collect()
    (course.root / "submitted" / "12" / NAME / f"{NAME}.ipynb").write_bytes(b"arreglado a mano")
    shutil.rmtree(course.archive)
    course.collect()
    assert course.collected == {"12": b"arreglado a mano"}


# --- Rechazar -------------------------------------------------------------------------------------


def special(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return entry


def encrypted(data: bytes) -> bytes:
    """El mismo .zip, con la marca de cifrado en sus entradas."""
    data = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            struct.pack_into("<H", data, place + offset, 1)
            place = data.find(mark, place + 4)
    return bytes(data)


GOOD = zipped({"a.ipynb": NOTEBOOK})
DANGEROUS = {
    "arriba": (zipped({"../../a.ipynb": NOTEBOOK}), "sale de su carpeta"),
    "arriba, sin cuaderno": (zipped({"../../x.sh": b"x"}), "sale de su carpeta"),
    "absoluta": (zipped({"/etc/a.ipynb": NOTEBOOK}), "sale de su carpeta"),
    "unidad": (zipped({"C:a.ipynb": NOTEBOOK}), "sale de su carpeta"),
    "barra": (zipped({"..\\a.ipynb": NOTEBOOK}), "sale de su carpeta"),
    "enlace": (zipped({special("a.ipynb", stat.S_IFLNK): b"/etc/passwd"}), "enlace"),
    "dispositivo": (zipped({special("a.ipynb", stat.S_IFCHR): b""}), "especial"),
    "bomba": (zipped({"a.ipynb": b" " * (19 * 2**20)}), "más de 200 veces"),
    "enorme": (zipped({"a.ipynb": os.urandom(21 * 2**20)}), "20 MB"),
    "muchos": (zipped({f"{n}.txt": b"" for n in range(1001)}), "más de 1000 archivos"),
    "anidado": (zipped({"otro.zip": GOOD}), ".zip dentro de otro"),
    "cifrado": (encrypted(GOOD), "cifrado"),
    "cortado": (GOOD[:-10], "dañado"),
    "otro formato": (b"Rar!\x1a\x07\x00", "dañado"),
    "control": (zipped({"a\x1b[2J.ipynb": NOTEBOOK}), "caracteres de control"),
    "largo": (zipped({"a" * 300 + ".ipynb": NOTEBOOK}), "demasiado largo"),
    "reservado": (zipped({"CON.ipynb": NOTEBOOK}), "reservado"),
    "sin cuaderno": (zipped({"a.pdf": b"x"}), "ningún cuaderno"),
}


def test_refused_in_one_line_and_the_rest_goes_on(course):
    for number, (data, _) in enumerate(DANGEROUS.values()):
        course.download(f"mala{number}_{100 + number}_7_entrega.zip", data)
    for number, extension in enumerate(("rar", "7z", "tar.gz")):
        course.download(f"mala_{200 + number}_7_entrega.{extension}", b"x")
    os.symlink("/etc/passwd", course.archive / "mala_300_7_a.ipynb")
    course.download("apuntes.ipynb", NOTEBOOK)
    course.download("buena_400_7_a.ipynb", NOTEBOOK)
    lines = course.collect()
    assert course.collected == {"400": NOTEBOOK}
    for number, (case, (_, reason)) in enumerate(DANGEROUS.items()):
        (line,) = (line for line in lines if line.startswith(f"mala{number} "))
        assert reason in line, case
        assert line.isprintable()
    assert sum("vuelva a comprimirlo como .zip" in line for line in lines) == 3
    assert any("apuntes.ipynb" in line and "Moodle y Canvas" in line for line in lines)
    assert len(lines) == len(DANGEROUS) + 3 + 2
    outside = [p for p in course.root.parent.rglob("*") if course.root not in (p, *p.parents)]
    assert outside == []


def test_only_notebooks_are_written(course):
    course.download("c.zip", zipped({f"{MOODLE}/a.ipynb": NOTEBOOK, f"{MOODLE}/b.py": b"x"}))
    course.collect()
    written = [p for step in ("submitted", f"downloaded/{NAME}/extracted")
               for p in (course.root / step).rglob("*") if p.is_file()]  # fmt: skip
    assert {path.name for path in written} == {f"{NAME}.ipynb"}


def test_bad_class_zip_does_not_stop_the_rest(course):
    course.download("roto.zip", b"PK")
    course.download("ana_12_300_a.ipynb", NOTEBOOK)
    (line,) = course.collect()
    assert "roto.zip" in line
    assert course.collected == {"12": NOTEBOOK}


def test_a_size_that_lies_is_not_believed():
    """Un .zip que dice que su archivo ocupa 10 bytes, y ocupa 1 MB."""
    data = bytearray(zipped({"a.ipynb": os.urandom(2**20)}))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.rindex(mark) + offset, 10)
    (file,) = archives.personal_zip(bytes(data), ZipLimits())
    with pytest.raises(Refused, match="dañado"):
        file.read(2**22)


@given(st.binary(max_size=40), st.integers(0, len(GOOD) - 1))
def test_any_damage_is_refused_not_a_crash(noise, place):
    data = GOOD[:place] + noise + GOOD[place + len(noise) :]
    with contextlib.suppress(Refused):
        for file in archives.personal_zip(data, ZipLimits()):
            assert len(file.read(1000)) <= 1000


def test_wrong_assignment_is_one_line(course, capsys):
    course.archive.parent.rename(course.archive.parent.with_name("06_autoatenzion"))
    app = ZipCollectApp()
    app.initialize(["06_autoatenzion"])
    with pytest.raises(SystemExit):
        app.start()
    assert f"¿Querías decir {NAME}?" in capsys.readouterr().err


# --- De la descarga a la hoja de notas ------------------------------------------------------------


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_from_download_to_grades(course):
    """Las órdenes de README, una detrás de otra."""
    students = [f"estudiante_0{n},Ana,Gil {n},5{n}" for n in (1, 2, 3)]
    listing = "\n".join(["id,first_name,last_name,lms_user_id", *students])
    (course.root / "alumnos.csv").write_text(listing, encoding="utf-8")
    run(course.root, "nbgrader", "db", "student", "import", "alumnos.csv")
    entry = "{}_{}_assignsubmission_file_/Copia de 06_autoatencion (1).ipynb"
    files = {
        entry.format("Ana Gil 1", 11): notebook("solutions"),
        entry.format("Ana Gil 2", 12): notebook("release"),
        entry.format("Ana Gil 3", 13): b"{",
    }
    course.download("curso-tarea-9.zip", zipped(files))
    run(course.root, "nbgrader", "zip_collect", NAME)
    run(course.root, "autograder", "grade", NAME, "--course-dir", ".", "--json", "notas.json")
    graded = json.loads((course.root / "notas.json").read_text(encoding="utf-8"))
    said = {s["student"]: s for s in graded["submissions"]}
    assert said["estudiante_01"]["points"] > said["estudiante_02"]["points"] == 0
    assert "no es JSON" in said["estudiante_03"]["error"]

    exporter = "autograder.lms.export.MoodleExporter"
    flags = ("--to", "notas.csv", "--MoodleExporter.provisional=True")
    run(course.root, "nbgrader", "export", f"--exporter={exporter}", *flags)
    rows = list(csv.reader((course.root / "notas.csv").open(encoding="utf-8-sig"), delimiter=";"))
    grades = {row[4]: row[5] for row in rows[1:]}
    assert float(grades["estudiante_01"].replace(",", ".")) == said["estudiante_01"]["points"]
    assert (grades["estudiante_02"], grades["estudiante_03"]) == ("0", "")
