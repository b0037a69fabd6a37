"""Que no haya faltas de ortografía ni de puntuación en lo que se lee."""

from itertools import pairwise
from pathlib import Path

import pytest

from autograder.conventions import ROOT
from tests.prose.extract import PAGES, code_passages, markdown_passages, page_passages, prose
from tests.prose.spelling import accepted, collation, knows, mistakes, unknown_words
from tests.support import DOCUMENTS, PROGRAMS

pytestmark = pytest.mark.xdist_group("prosa")  # leen lo mismo: que lo lea un solo proceso

SOMEWHERE = Path("un_texto")
REMEDY = "Corrígelo o, si la palabra existe, añádela a tests/prose/palabras.txt, en su sitio."


@pytest.mark.parametrize("path", [*DOCUMENTS, *PROGRAMS, *PAGES], ids=lambda p: p.name)
def test_no_mistakes(path):
    found = [m for passage in prose() if passage.path == path for m in mistakes(passage)]
    assert not found, "\n".join([str(path.relative_to(ROOT)), *found, REMEDY])


def test_accepted_words_are_in_order_and_only_once():
    assert [pair for pair in pairwise(map(collation, accepted())) if pair[0] > pair[1]] == []
    assert len(set(accepted())) == len(accepted())


def test_accepted_words_are_needed():
    assert [word for word in accepted() if knows("es_ES", word)] == []
    used = set().union(*map(unknown_words, prose()))
    used |= {word[0].lower() + word[1:] for word in used}
    assert [word for word in accepted() if word not in used] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("La funcion suma.", "«funcion»"),
        ("Un dialogo corto.", "«dialogo»"),
        ("El calculo, a mano.", "«calculo»"),
        ("Calcúla la media.", "«Calcúla»"),
        ("La *softmaks* y la *atencion*.", "«atencion»"),
        ("Mira [la tavla](a.md).", "«tavla»"),
        ("![Una figvra.](a.png)", "«figvra»"),
        ("| a | b |\n|---|---|\n| uno | trres |", "«trres»"),
        ("<details><summary>Pisata</summary>", "«Pisata»"),
        ("La media de\nde los pesos.", "palabra repetida"),
        ("Los  pesos.", "espacios de más"),
        ("Los pesos , y ya.", "espacios de más"),
        ("Los pesos..", "puntos de más"),
        ("Y así...", "tres puntos"),
        ('Los "pesos" suman 1.', "comillas"),
        ("Los «pesos suman 1.", "« sin »"),
        ("Cuántos pesos hay?", "¿ sin ?"),
    ],
)
def test_mistakes_in_a_text_are_found(text, expected):
    found = [m for p in markdown_passages(SOMEWHERE, text) for m in mistakes(p)]
    assert any(expected in mistake for mistake in found), found


@pytest.mark.parametrize(
    "source",
    [
        '"""Suma los numeross."""',
        "x = 1  # el numeross de filas",
        "# una línea\n# y el numeross",
        'fail(f"El numeross {n} no vale")',
        'fail("El numeross "\n     "no vale")',
        'def f():\n    """Suma.\n\n    Args:\n        x: los numeross.\n    """',
    ],
)
def test_mistakes_in_a_program_are_found(source):
    found = [m for p in code_passages(SOMEWHERE, [source]) for m in mistakes(p)]
    assert len(found) == 1
    assert "«numeross»" in found[0]


def test_mistakes_in_a_page_are_found():
    page = "<style>body { colr: red }</style><p>{{ weigths }} Los resulatdos</p>"
    found = [m for p in page_passages(SOMEWHERE, page) for m in mistakes(p)]
    assert len(found) == 1
    assert "«resulatdos»" in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "Con `weigths` y $\\alfa_j$, dos cosas: [ver](http://a.org/atencion).",
        "```\natencion\n```",
        "La *attention* de toda la frase, mirándola.",
        "¿Cuántos? ¡Tres! «Así… va.»",
    ],
)
def test_code_formulas_and_english_in_italics_are_not_checked(text):
    assert [m for p in markdown_passages(SOMEWHERE, text) for m in mistakes(p)] == []


def test_names_of_the_code_are_not_checked():
    source = 'def f(wieghts):\n    """Suma wieghts, f(qkv_proj) y nn.Lineal, [B, T]."""'
    assert [m for p in code_passages(SOMEWHERE, [source]) for m in mistakes(p)] == []
