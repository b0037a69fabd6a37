"""Que cada enlace lleve a algún sitio y que cada artículo citado esté en las referencias."""

from collections import defaultdict

import pytest

from autograder.conventions import MASTERS, ROOT
from autograder.masters import master_names
from autograder.notebooks import read
from tests.prose.references import link_problem, link_targets, papers, reference_problems
from tests.support import DOCUMENTS, PROGRAMS, markdown_of

NOTEBOOKS = [MASTERS / f"{name}.py" for name in master_names()]
RELEASES = sorted(ROOT.glob("release/*/*.ipynb"))
LIST = "\n\n### Referencias\n\n- Gil, A., Mar, B. y Sol, C. (2015). *Una nota*. ICLR.\n"


def whole_text(path) -> str:
    """El Markdown y el código de un maestro: los docstrings también citan."""
    return "\n\n".join(cell.source for cell in read(path).cells)


@pytest.mark.parametrize("path", [*DOCUMENTS, *NOTEBOOKS, *RELEASES], ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    targets = link_targets(markdown_of(path))
    assert [(target, why) for target in targets if (why := link_problem(path, target))] == []


def test_there_are_links_to_check():
    assert sum(len(link_targets(markdown_of(path))) for path in DOCUMENTS) > 30


@pytest.mark.parametrize("path", [*DOCUMENTS, *PROGRAMS], ids=lambda p: p.name)
def test_no_address_is_without_encryption(path):
    assert "http://" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_existe.md", "archivo"),
        ("img/no_existe.png", "archivo"),
        ("glosario.md#nada", "sección"),
        ("#nada", "sección"),
        ("http://dask.org", "https"),
        ("https://dask", "https"),
        ("https://github.com/USUARIO/CURSO", "https"),
        ("https://github.com/…", "https"),
        ("https:///nada", "https"),
        ("mailto:nadie@ejemplo.org", "https"),
    ],
)
def test_wrong_links_are_found(target, why):
    assert link_targets(f"Mira [la guía]({target}).") != []
    assert why in link_problem(ROOT / "docs" / "estudiante.md", target)


@pytest.mark.parametrize(
    "target", ["glosario.md#glosario", "#la-nota-antes-de-entregar", "../README.md#dos-órdenes"]
)
def test_links_to_a_section_are_understood(target):
    assert link_problem(ROOT / "docs" / "estudiante.md", target) is None


def test_links_and_images_are_seen():
    text = '[a](b.md) ![c](d.png) <img src="e.png"> `[x](y)`\n\n<a href="f.md">g</a>'
    assert sorted(link_targets(text)) == ["b.md", "d.png", "e.png", "f.md"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_citations_and_references_agree(path):
    assert papers(whole_text(path))[0] != []
    assert list(reference_problems(whole_text(path))) == []


def test_a_paper_has_the_same_year_everywhere():
    years = defaultdict(set)
    for path in NOTEBOOKS:
        for paper in papers(whole_text(path))[0]:
            years[paper.title].add((paper.surnames[0], paper.year))
    assert {title: found for title, found in years.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("Lo dicen Gil et al. (2016).", "no está en las referencias: Gil et al. (2016)"),
        ("Lo dicen Gil y Mar (2015).", "no está en las referencias: Gil y Mar (2015)"),
        ("Se sabe (Luz, 2015; Gil et al., 2015).", "no está en las referencias: Luz (2015)"),
        ("No lo dice nadie.", "ni se cita"),
        ("Gil et al. (2015)." + LIST + "- Mar, B. (15). *Otra*.", "le falta algo"),
        ("Gil et al. (2015)." + LIST + "- Mar, B. (2015). Otra. ICLR.", "le falta algo"),
        ("Gil et al. (2015)." + LIST + "- Anónimo (2015). *Otra*. ICLR.", "le falta algo"),
    ],
)
def test_wrong_references_are_found(body, problem):
    text = body if "###" in body else body + LIST
    assert [found for found in reference_problems(text) if problem in found]


@pytest.mark.parametrize(
    "body",
    [
        "Gil, Mar y Sol, *Una nota* (2015), sección 2.",
        "(Gil et al., 2015)",
        "Referencia: Gil et\nal. (2015), sección 3.",
        "Nada." + LIST.replace("ICLR.", "ICLR. (Para qué está.)"),
        "Gil, Mar y Sol (2015), y nada más." + LIST + "\n## Otra\n\n- Sin cita.",
    ],
)
def test_good_references_are_accepted(body):
    assert list(reference_problems(body if "###" in body else body + LIST)) == []
