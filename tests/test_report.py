"""El informe: los números que son, sin nada de fuera, y sin dar por bueno lo que escribe otro."""

import copy
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from autograder.assignments import Assignment
from autograder.checks import CheckResult
from autograder.conventions import ROOT
from autograder.course import Course
from autograder.errors import CourseError
from autograder.grading import ExerciseResult
from autograder.notebooks import dumps
from autograder.report import histogram, write_json, write_report
from autograder.results import Result, Store
from autograder.similarity import Solutions, normalise
from tests.support import filled, solved_cells

NAME = "06_autoatencion"
HOSTILE = "<script>alert('hola')</script>"
LINES = "\n".join(f"    valor_{i} = transformar(valor_{i - 1}, paso={i})" for i in range(1, 12))
OWN = f"def attention_map(valor_0):\n{LINES}\n    return valor_11"
OTHER = "class Mapa:\n" + "\n".join(
    f"    def metodo_{c}(self, {c * 3}):\n        return [{c}{c} for {c}{c} in self.{c * 5}]"
    for c in "abcdefgh"
)


class Page(HTMLParser):
    """Lo que hay en una página: etiquetas con sus atributos, y el texto que se lee."""

    def __init__(self, html: str):
        super().__init__()
        self.html, self.tags, self.pieces = html, [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if not self.tags or self.tags[-1][0] != "style":
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


@pytest.fixture(scope="module")
def source():
    return Assignment.load(NAME, Course()).notebook


@pytest.fixture
def course(tmp_path):
    shutil.copytree(ROOT / "source" / NAME, tmp_path / "source" / NAME)
    return Course(tmp_path)


def store(course: Course, *results: Result) -> None:
    with Store(course, NAME) as results_store:
        for result in results:
            (course.folder("submitted") / result.student / NAME).mkdir(parents=True)
            results_store.put(result)


def page(course: Course) -> Page:
    return Page(write_report(course, NAME).read_text(encoding="utf-8"))


def graded(student: str, points: float, message: str = "", seconds: float = 1.0, **more) -> Result:
    """Una entrega con `points` de 2 en una celda, y otra que espera a una persona."""
    passed = CheckResult("Formas", points, 1.0, True)
    other = CheckResult("Proyección", 0.0, 1.0, not message, message)
    exercises = (
        ExerciseResult("ej1a_estructura", points, 2.0, False, (passed, other)),
        ExerciseResult("ej1b_analisis", None, 2.0, True),
    )
    return Result(student, exercises, seconds=seconds, **more)


def answered(source, student: str, answers: dict[str, str]) -> Result:
    unanswered = tuple(set(solved_cells(NAME)) - set(answers))
    notebook = dumps(filled(copy.deepcopy(source), answers))
    return graded(student, 1.0, notebook=notebook, unanswered=unanswered)


# --- La página ------------------------------------------------------------------------------------


def test_numbers(course):
    store(
        course,
        graded("ana", 2.0, seconds=1.0),
        graded("bea", 1.0, "Difiere en 0.25. Pista: mira el eje.", seconds=2.0),
        graded("carla", 0.5, "Difiere en 0.75. Pista: mira el eje.", seconds=3.0),
        graded("dora", 0.0, "Está sin resolver: ej1a_clase.", seconds=90.0),
        Result("eva", problem="No es JSON."),
    )
    (course.folder("submitted") / "fina" / NAME).mkdir(parents=True)
    found = page(course)
    text = found.text
    assert "Entregas 6 Con nota 4" in text
    assert "Media 0.88 de 2 Mediana 0.75 de 2" in text
    assert "Sin nota 1 Por corregir a mano 4 Aún sin pasar por el corrector 1" in text
    assert "«Proyección» (ej1a_estructura): la supera 1 de 3 que lo intentaron" in text
    assert "33 % (1 de 3) 1 Difiere en 0.25. Pista: mira el eje. (2 veces)" in text
    assert "100 % (4 de 4) 0 —" in text
    assert "Mediana: 2.5 s. Nueve de cada diez tardan 1 min 30 s o menos" in text
    assert "El más lento: 1 min 30 s (dora)" in text
    assert "eva : No es JSON." in text
    row = re.search(r'<th scope="row">carla</th>(.*?)</tr>', found.html).group(1)
    cells = re.findall(r">([^<>]+)</td>", row)
    assert cells == ["0.5", "25 %", "0.5", *["—"] * (len(cells) - 4), "a mano"]


def test_only_current_submissions_count(course):
    store(course, graded("ana", 2.0), graded("bea", 0.0))
    shutil.rmtree(course.folder("submitted") / "bea")
    text = page(course).text
    assert "Entregas 1 Con nota 1 Media 2 de 2" in text
    assert "bea" not in text


def test_histogram_counts_every_value_once():
    text = histogram([0.0, 1.9, 2.0, 17.5, 18.0, 18.0], 2, "puntos").text
    assert text == "Entregas por puntos: de 0 a 2, 2; de 2 a 4, 1; de 16 a 18, 3."


def test_nothing_from_outside_and_nothing_runs(course):
    hostile = f'"onmouseover=alert(1) {HOSTILE} {{{{ 7 * 7 }}}}'
    results = [
        graded(f"{i}<script>alert(1)<'\">", 1.0, hostile, notices=(hostile,)) for i in range(2)
    ]
    store(course, *results, Result("<b>eva", problem=hostile))
    found = page(course)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "b>eva", "iframe", "link"})
    assert "<b>eva" not in found.html
    assert found.text.count(HOSTILE) == 4  # como texto: el fallo, dos avisos y un problema
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    targets = [a.get(k, "#") for _, a in found.tags for k in ("src", "href")]
    assert all(target.startswith(("#", "data:image/svg+xml;base64,")) for target in targets)
    assert not re.search(r"https?://|url\(|@import", found.html)


def test_accessible_structure(course):
    store(course, graded("ana", 2.0, "No."), graded("bea", 1.0))
    found = page(course)
    assert ("html", {"lang": "es"}) in found.tags
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    texts = [attributes.get("alt", "") for tag, attributes in found.tags if tag == "img"]
    assert texts == [
        "Entregas por puntos: de 1 a 2, 2.",
        "Entregas por segundos: de 0.8 a 1, 2.",
    ]
    headers = [attributes for tag, attributes in found.tags if tag == "th"]
    assert headers
    assert all("scope" in attributes for attributes in headers)


def test_only_problems_still_makes_a_page(course):
    store(course, Result("eva", problem="No es JSON."))
    text = page(course).text
    assert "Con nota 0" in text
    assert "Ninguna entrega tiene nota." in text


def test_without_results_or_assignment(course):
    (course.folder("submitted") / "ana" / NAME).mkdir(parents=True)
    with pytest.raises(CourseError, match=r"^Aún no hay nada corregido de «06_.*da antes.*»\.$"):
        write_report(course, NAME)
    with pytest.raises(CourseError, match="no tiene la entrega «07_otra»"):
        write_report(course, "07_otra")
    assert not (course.root / "reports").exists()


def test_a_failed_page_leaves_the_old_one(course, monkeypatch):
    store(course, graded("ana", 2.0))
    path = write_report(course, NAME)
    before = path.read_bytes()

    def broken(self):
        raise OSError(28, "No queda espacio")

    monkeypatch.setattr(Solutions, "groups", broken)
    with pytest.raises(CourseError, match=r"No se puede escribir .*: No queda espacio\.$"):
        write_report(course, NAME)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- El JSON --------------------------------------------------------------------------------------


def test_json_is_what_is_stored(course, tmp_path):
    results = [graded("ana", 1.5, HOSTILE), Result("bea", problem="No es «JSON».")]
    store(course, *results, graded("carla", 2.0))
    shutil.rmtree(course.folder("submitted") / "carla")
    path = tmp_path / "notas.json"
    write_json(course, NAME, path)
    expected = {"assignment": NAME, "submissions": [r.to_json() for r in results]}
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(expected))
    assert not list(tmp_path.glob("*.parcial"))


def test_json_that_cannot_be_written(course, tmp_path):
    store(course, graded("ana", 1.5))
    with pytest.raises(CourseError, match=r"No se puede escribir .*ya están en el libro\.$"):
        write_json(course, NAME, tmp_path / "no" / "notas.json")
    (tmp_path / "carpeta").mkdir()
    with pytest.raises(CourseError, match="No se puede escribir"):
        write_json(course, NAME, tmp_path / "carpeta")
    assert not list(tmp_path.glob("*.parcial"))


# --- Los parecidos --------------------------------------------------------------------------------


def similar(source, answers: dict[str, dict[str, str]], exact: bool = False) -> Solutions:
    solutions = Solutions(Assignment(NAME, source, source), exact)
    for student, cells in answers.items():
        solutions.add(answered(source, student, cells))
    return solutions


@pytest.mark.parametrize("exact", [False, True])
def test_copies_with_other_comments_are_found_and_different_ones_are_not(source, exact):
    disguised = OWN.replace(":\n", ':\n    """Otro texto."""\n    # mío\n\n', 1).replace("=", " = ")
    answers = {"ana": OWN, "bea": disguised, "carla": OTHER}
    found = similar(source, {k: {"ej1b_mapa": v} for k, v in answers.items()}, exact)
    assert [(g.students, g.similarity) for g in found.groups()] == [(("ana", "bea"), 100.0)]
    assert found.published == []


def test_almost_equal_is_found_unless_only_equal_ones_are_sought(source):
    answers = {"ana": {"ej1b_mapa": OWN}, "bea": {"ej1b_mapa": OWN.replace("valor_11", "v")}}
    (group,) = similar(source, answers).groups()
    assert group.students == ("ana", "bea")
    assert 95 <= group.similarity < 100
    assert similar(source, answers, exact=True).groups() == []


@pytest.mark.parametrize("exact", [False, True])
def test_the_published_solution_is_recognised(source, exact):
    cells = {"ej1a_clase": solved_cells(NAME)["ej1a_clase"]}
    found = similar(source, {"ana": cells, "bea": {"ej1a_clase": OWN}}, exact)
    assert found.published == [("ana", 100.0)]


def test_short_and_unanswered_code_is_not_compared(source):
    short = {"ej1b_mapa": "def f(x):\n    return x"}
    assert similar(source, {"ana": short, "bea": short, "carla": {}, "dora": {}}).groups() == []


def test_many_rows_are_compared_by_parts(source, monkeypatch):
    monkeypatch.setattr("autograder.similarity._ROWS", 1)
    answers = {"ana": OWN, "bea": OTHER, "carla": OWN + "\n    x = 1", "dora": OTHER + "\ny = 1"}
    found = similar(source, {k: {"ej1b_mapa": v} for k, v in answers.items()})
    assert [g.students for g in found.groups()] == [("ana", "carla"), ("bea", "dora")]


def test_the_page_names_them(course, source):
    store(
        course,
        answered(source, "ana", {"ej1b_mapa": OWN}),
        answered(source, "bea", {"ej1b_mapa": OWN}),
        answered(source, "carla", solved_cells(NAME)),
    )
    text = page(course).text
    assert "ana, bea: iguales." in text
    assert "la solución publicada , en lo que respondieron: carla: igual." in text
    assert "Parecerse no es copiar" in text


@pytest.mark.parametrize("code", ["def f(:\n  x ", "x\0", "(" * 5000, "\ud800 = 1"])
def test_code_that_cannot_be_parsed_is_compared_as_text(code):
    assert normalise(f"\n  {code}  \n\n") == "\n".join(map(str.strip, code.splitlines()))
