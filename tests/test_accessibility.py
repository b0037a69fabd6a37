"""Que lean el curso quienes no ven las figuras, no distinguen colores o van de título en título."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.colors import to_rgb
from nbformat import from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.conventions import MASTERS, ROOT
from autograder.course import Course
from autograder.inlining import helper_source
from autograder.masters import headings, master_names
from autograder.notebooks import read
from autograder.plugins import FeedbackExporter
from tests.support import DOCUMENTS, PROGRAMS, markdown_of, published

MAPS = {"imshow", "matshow", "pcolor", "pcolormesh", "contourf", "hexbin"}
SAFE_MAPS = {"cividis", "viridis", "gray", "Greys"}
PIXEL = "iVBORw0KGgo="


def named(paths):
    return {"argvalues": paths, "ids": [str(path.relative_to(ROOT)) for path in paths]}


# --- Las figuras ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", master_names())
def test_every_figure_says_what_it_shows(name):
    for notebook in (read(MASTERS / f"{name}.ipynb"), published("solutions", name)):
        outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
        figures = [o for o in outputs if "image/png" in o.get("data", {})]
        texts = [o.metadata.get("image/png", {}).get("alt", "") for o in figures]
        assert texts
        for text in texts:
            assert 60 <= len(text) <= 250, text
            assert text.endswith("."), text
            assert not re.search(r"\bnan\b|\n|tensor\(|[{}]", text), text


def test_show_describes_the_figure_and_closes_it(monkeypatch):
    helpers: dict = {}
    exec(helper_source({"plot_losses", "show"}), helpers)
    shown, plt = [], helpers["plt"]
    helpers["display"] = lambda figure, metadata: shown.append(metadata["image/png"]["alt"])
    monkeypatch.setattr(plt, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    before = plt.get_fignums()
    plt.figure()
    helpers["show"]("Una recta.")
    helpers["plot_losses"]({"con": [3.0] * 30, "sin": [2.0] * 5 + [1.0] * 25}, window=5)
    assert shown[0] == "Una recta."
    assert shown[1].endswith(": con, de 3.00 a 3.00; sin, de 2.00 a 1.00.")
    assert plt.get_fignums() == before


def test_outside_a_notebook_show_prints_nothing():
    program = f"{helper_source({'show', 'np'})}\nplt.plot([1, 2])\nshow('Una recta.')"
    environment = {k: v for k, v in os.environ.items() if "DISPLAY" not in k}
    result = subprocess.run(
        [sys.executable, "-c", f"{program}\nassert not plt.get_fignums()"],
        env={**environment, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# --- Los colores ----------------------------------------------------------------------------------


def contrast(one, other) -> float:
    """El de las pautas WCAG: de 1 (iguales) a 21 (blanco y negro)."""
    rgb = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return light / dark


def colour_problems(source: str) -> list[str]:
    """Mapas sin escala de color, o con una que no todo el mundo distingue, y colores sin contraste.

    Un color claro vale si el dibujo lleva el borde negro.
    """
    problems = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        values = {keyword.arg: keyword.value for keyword in call.keywords}
        constants = {k: v.value for k, v in values.items() if isinstance(v, ast.Constant)}
        color = constants.get("color")
        drawn = isinstance(call.func, ast.Attribute) and call.func.attr in MAPS
        pale = isinstance(color, str) and color.startswith("#") and contrast(color, "white") < 3
        if (drawn or "cmap" in values) and constants.get("cmap") not in SAFE_MAPS:
            problems.append(f"escala de color: {ast.unparse(call)}")
        if pale and constants.get("edgecolor") != "black":
            problems.append(f"poco contraste: {ast.unparse(call)}")
    return problems


@pytest.mark.parametrize("path", **named(PROGRAMS))
def test_colours_are_seen_by_everyone(path):
    assert colour_problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "ax.imshow(weights)",
        "ax.imshow(weights, cmap='jet')",
        "ax.scatter(x, y, c=z, cmap='hsv')",
        "ax.imshow(weights, cmap=chosen)",
        "ax.bar(x, y, color='#f0a33c')",
        "ax.plot(x, y, color='#ff7f0e')",
    ],
)
def test_bad_colours_are_found(code):
    assert len(colour_problems(code)) == 1


def test_lines_contrast_and_differ_without_colour():
    helpers: dict = {}
    exec(helper_source({"LINE_COLORS", "LINE_STYLES"}), helpers)
    colors, styles = helpers["LINE_COLORS"], helpers["LINE_STYLES"]
    assert all(contrast(color, "white") >= 4.5 for color in colors)
    assert len(set(styles)) == len(styles) == len(set(colors)) == len(colors)


def test_numbers_are_readable_on_every_cell_of_a_map():
    helpers: dict = {}
    exec(helper_source({"ink"}), helpers)
    cividis = matplotlib.colormaps["cividis"]
    for value in np.linspace(0, 1, 256):
        assert contrast(helpers["ink"](value), cividis(value)[:3]) >= 4.5, value


# --- Los textos -----------------------------------------------------------------------------------


TEXTS = [*DOCUMENTS, *sorted(ROOT.glob("release/*/*.ipynb"))]


@pytest.mark.parametrize("path", **named(TEXTS))
def test_headings_are_in_order(path):
    levels = [level for level, _ in headings(markdown_of(path))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def link_problems(text: str) -> list[str]:
    """Enlaces cuyo texto no dice adónde llevan, y figuras sin descripción."""
    problems = []
    for inline in (token for token in MarkdownIt().parse(text) if token.type == "inline"):
        children = inline.children or []
        problems += [f"figura: {t.attrs}" for t in children if t.type == "image" and not t.content]
        for token, label in pairwise(children):
            vague = re.fullmatch(r"(https?://.*|aquí|este|enlace|ver|más)?", label.content.strip())
            if token.type == "link_open" and label.type != "image" and vague:
                problems.append(f"enlace: {token.attrs}")
    return problems


@pytest.mark.parametrize("path", **named(TEXTS))
def test_links_and_figures_have_a_text(path):
    assert link_problems(markdown_of(path)) == []


@pytest.mark.parametrize(
    "text",
    ["[aquí](a.md)", "[](a.md)", "<https://a.org>", "[https://a.org](https://a.org)", "![](a.png)"],
)
def test_links_and_figures_without_a_text_are_found(text):
    assert len(link_problems(f"Está {text}.")) == 1


# --- Las páginas ----------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Las etiquetas de una página, con sus atributos."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def attributes(self, wanted: str) -> list[dict]:
        return [attributes for tag, attributes in self.found if tag == wanted]


@pytest.fixture(scope="module")
def feedback() -> str:
    """La página de quien dibuja dos figuras (una, sin descripción) y escribe una respuesta."""

    def cell(new, source, **data):
        return new(source, metadata={"nbgrader": {"task": False, **data}})

    answer = cell(new_code_cell, "plt.plot()", grade_id="ej1a", grade=False, solution=True)
    answer.outputs = [
        new_output("display_data", data={"image/png": PIXEL}, metadata=from_dict(metadata))
        for metadata in ({}, {"image/png": {"alt": "Una recta."}})
    ]
    graded = {"grade": True, "score": 1, "points": 2}
    tests = cell(new_code_cell, "x = 1", grade_id="ej1a_recta", solution=False, **graded)
    tests.outputs = [new_output("error", ename="ValueError", evalue="No.", traceback=["No."])]
    written = cell(new_markdown_cell, "### Así", grade_id="ej1b", solution=True, **graded)
    written.metadata["nbgrader"]["comment"] = "Bien."
    numbers = {"notebook": "06_x", "score": 2, "max_score": 4, "late_penalty": 0}
    exporter = FeedbackExporter(config=Course().config)
    notebook = new_notebook(cells=[answer, tests, written])
    return exporter.from_notebook_node(notebook, resources={"nbgrader": numbers})[0]


def test_feedback_structure(feedback):
    page = Tags(feedback)
    assert page.attributes("html") == [{"lang": "es"}]
    assert len(page.attributes("main")) == 1
    assert [attributes["scope"] for attributes in page.attributes("th")] == [
        "col",
        "col",
        "row",
        "row",
    ]
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert levels == [1, 2, 2, 2, 3]
    assert "¶" not in feedback


def test_feedback_figures_have_a_text_in_spanish(feedback):
    texts = [attributes["alt"] for attributes in Tags(feedback).attributes("img")]
    assert texts == ["Figura que dibuja tu respuesta, sin descripción", "Una recta."]


@pytest.mark.parametrize("name", ["feedback_es/index.html.j2", "report_es/report.html.j2"])
def test_text_of_the_pages_contrasts(name):
    css = (ROOT / "autograder" / "templates" / name).read_text(encoding="utf-8")
    inks = re.findall(r"[{;]\s*color: (#\w+)", css)
    papers = ["#ffffff", *re.findall(r"background: (#\w+)", css)]
    light = [paper for paper in papers if contrast(paper, "black") > 10]
    assert len(inks) > 2
    assert len(light) > 1
    assert [(i, p) for i in inks for p in light if contrast(i, p) < 4.5] == []
