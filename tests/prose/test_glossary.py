"""Que el glosario esté en orden y que la prosa use sus términos."""

import re
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import pytest

from autograder.conventions import MASTERS, ROOT
from autograder.masters import master_names
from tests.prose.extract import Passage, markdown_passages, prose
from tests.prose.spelling import collation
from tests.support import markdown_of

pytestmark = pytest.mark.xdist_group("prosa")

GLOSSARY = ROOT / "docs" / "glosario.md"

# Cómo no se llama aquí a cada cosa. En cursiva, en el código y en el glosario sí se puede.
FORBIDDEN = {
    "acierto": r"accuracy|exactitud(es)?",
    "alineación": r"alineamientos?",
    "atención two-way": r"two way|atención (de|a) (dos|doble) vías?",
    "autoatención": r"auto[- ]atención|self-attention",
    "bolsa de palabras": r"sacos? de palabras|bag of words",
    "broadcasting": r"difusión|retransmisión",
    "búsqueda en haz": r"beam search|búsquedas? (por haz|por haces|de haz|en haces)",
    "cabeza": r"heads?|cabezal(es)?|multi-?cabezas?",
    "centinela": r"sentinels?",
    "clave": r"keys?",
    "coatención": r"co-atención|coattention",
    "codificación posicional": r"codificaci(ón|ones) (de posici|de la posici|por posici)\w+",
    "codificador, decodificador": r"encoders?|decoders?|descodifica\w*",
    "conexión residual, residuo": r"skip connections?|conexi(ón|ones) de (salto|atajo)s?",
    "consulta": r"quer(y|ies)",
    "decodificación voraz": r"greedy|avaricios[oa]s?|codicios[oa]s?",
    "dropout": r"drop-out|abandono",
    "embedding": r"incrustaci(ón|ones)|inmersi(ón|ones)|embebid[oa]s?|las? embeddings?",
    "forzado del profesor": r"teacher forcing|forzad[oa] (por|de) (el |la )?(profesor|maestr[oa])",
    "hecho de apoyo": r"hechos? de soporte",
    "línea base": r"baselines?|líneas? de base",
    "lote": r"(mini-?)?batch(es)?|mini-?lotes?",
    "LSTM condicional": r"(el|del|al|un|los|unos) (Bi)?(LSTM|GRU)",
    "mapa de atención": r"mapas? de calor|heat ?maps?",
    "máscara": r"masks?|enmascaramientos?",
    "modelo de lenguaje": r"modelos? (del lenguaje|de lengua|lingüísticos?)",
    "normalización de capa": r"normalizaci(ón|ones) (por|de) capas|layer norm",
    "óptimo local": r"(mínimo|máximo)s? local(es)?",
    "palabra": r"tokens?",
    "palabra desconocida": r"palabras? fuera de(l)? vocabulario",
    "peso de atención": r"pesos? atencional(es)?",
    "prueba oculta, prueba visible": r"tests? (ocult|visibl)\w+",
    "puntuación": r"puntajes?|scorings?",
    "relleno": r"padding|acolchad[oa]s?",
    "salto": r"hops?",
    "semilla": r"seeds?",
    "softmax": r"(el|del|al|un|los|unos) softmax|softmaxes|soft-max",
    "tramo": r"spans?",
    "valor": r"values?",
}


class Entry(NamedTuple):
    term: str
    english: str
    meaning: str


def entries() -> list[Entry]:
    """Las filas del glosario."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", GLOSSARY.read_text("utf-8"), re.M)
    return [Entry(*row) for row in rows[1:]]


def terms() -> list[str]:
    """Los términos, de uno en uno."""
    return [term for entry in entries() for term in entry.term.replace("*", "").split(", ")]


def forbidden_words(passage: Passage) -> list[str]:
    """Lo que un pasaje llama de otra manera."""
    return [
        f"«{match[0]}» es aquí «{term}»: {passage.text[:80]}"
        for term, pattern in FORBIDDEN.items()
        for match in re.finditer(rf"(?i)(?<![\w-])({pattern})(?![\w-])", passage.text)
        if match[0] not in passage.names
    ]


@cache
def plain(text: str) -> str:
    """Sus palabras, sin acentos ni mayúsculas, entre espacios."""
    return f" {re.sub(r'[^a-z0-9]+', ' ', collation(text))} "


def uses(term: str, text: str) -> bool:
    """Si un texto usa un término, en singular o en plural."""
    pattern = " ".join(f"{word}(e?s)?" for word in plain(term).split())
    return re.search(f" {pattern} ", plain(text)) is not None


def test_glossary_is_complete_and_in_order():
    assert len(entries()) > 60
    assert [p for p in pairwise(collation(e.term) for e in entries()) if p[0] > p[1]] == []
    assert len({collation(term) for term in terms()}) == len(terms())
    assert [e for e in entries() if not re.search(r"\*.+\*", e.english)] == []


def test_every_term_of_the_glossary_is_used():
    passages = [passage for passage in prose() if passage.path != GLOSSARY]
    whole = " ".join(text for passage in passages for text in (passage.text, *passage.italics))
    unused = [term for term in terms() if not uses(term, whole)]
    assert unused == []


def test_terms_with_forbidden_names_are_in_the_glossary():
    assert set(FORBIDDEN) <= {entry.term for entry in entries()}


def test_everything_has_the_name_the_glossary_gives():
    found = [
        f"{passage.path.name}: {problem}"
        for passage in prose()
        if passage.path != GLOSSARY
        for problem in forbidden_words(passage)
    ]
    assert not found, "\n".join(found)


def squashed(text: str) -> str:
    return re.sub(r"[^a-z0-9]|(e?s)\b", "", collation(text))


@pytest.mark.parametrize("name", master_names())
def test_terms_in_bold_are_written_as_in_the_glossary(name):
    known = {squashed(term): term for term in terms()}
    bold = re.findall(r"\*\*([^*]+)\*\*", markdown_of(MASTERS / f"{name}.py"))
    found = {text: known[squashed(text)] for text in bold if squashed(text) in known}
    assert found
    assert {text: term for text, term in found.items() if not uses(term, text)} == {}


@pytest.mark.parametrize(
    "text",
    [
        "El padding no influye.",
        "**Auto-atención**, en dos pasos.",
        "Se divide tras el softmax.",
        "Los tokens de la frase.",
        "| query | clave |\n|---|---|\n| a | b |",
    ],
)
def test_forbidden_names_are_found(text):
    found = [f for p in markdown_passages(GLOSSARY, text) for f in forbidden_words(p)]
    assert len(found) == 1


@pytest.mark.parametrize("text", ["El relleno (*padding*).", "`padding` es 0.", "La softmax."])
def test_english_in_italics_and_code_are_allowed(text):
    assert [f for p in markdown_passages(GLOSSARY, text) for f in forbidden_words(p)] == []
