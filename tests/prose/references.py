"""Los enlaces y las referencias de los textos, y lo que tienen mal. No se usa la red."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from autograder.masters import headings
from tests.prose.extract import PARSER
from tests.support import markdown_of

NAME = r"[A-ZÀ-Ý][\w'’-]+"
YEAR = r"(?:19|20)\d\d"
NAMES = rf"{NAME}(?:, {NAME})*(?: y {NAME}| et al\.)?"
CITATION = re.compile(rf"({NAMES})(?:(?:, \*[^*]+\*)? \(({YEAR})\)|, ({YEAR})\b)")
ITEM = re.compile(
    rf"(?P<authors>[^()*]+) \((?P<year>{YEAR})\)\. \*(?P<title>[^*]+)\*\.(?P<rest>.*)"
)


def link_targets(text: str) -> list[str]:
    """Adónde llevan los enlaces de un texto en Markdown, y sus imágenes."""
    found = re.findall(r"<(?:a|img)\b[^>]*\b(?:href|src)=\"([^\"]*)\"", text)
    for token in PARSER.parse(text):
        for child in token.children or []:
            found += [str(child.attrs[key]) for key in ("href", "src") if key in child.attrs]
    return found


def link_problem(path: Path, target: str) -> str | None:
    """Por qué un enlace de `path` no lleva a ninguna parte, si es así."""
    address = urlsplit(target)
    if address.scheme or address.netloc:
        valid = address.scheme == "https" and re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", address.netloc)
        held = re.search(r"…|\.\.\.|[<>{}\s]|[A-Z]{5,}|TODO|example\.", unquote(target))
        return None if valid and not held else "no es una dirección https completa"
    place = (path.parent / unquote(address.path)).resolve() if address.path else path
    if not place.exists():
        return "ese archivo no existe"
    if address.fragment and unquote(address.fragment) not in _anchors(place):
        return "esa sección no existe"
    return None


@cache
def _anchors(path: Path) -> set[str]:
    """Los nombres de las secciones: en Markdown, como los hace GitHub; en un cuaderno, Jupyter."""
    titles = [title for _, title in headings(markdown_of(path))]
    if path.suffix != ".md":
        return {title.replace(" ", "-") for title in titles}
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


class Paper(NamedTuple):
    """Un artículo de la lista de un cuaderno."""

    surnames: tuple[str, ...]
    year: str
    title: str
    note: str  # para qué está, entre paréntesis

    def is_cited_as(self, names: str, year: str) -> bool:
        """Si lo nombra una cita: uno o dos apellidos, todos, o el primero y «et al.»."""
        listed = re.split(r", | y ", names.removesuffix(" et al."))
        whole = list(self.surnames) == listed
        shortened = names.endswith(" et al.") and listed == [self.surnames[0]]
        return year == self.year and (whole or (shortened and len(self.surnames) > 2))


def papers(text: str) -> tuple[list[Paper], list[str]]:
    """Los de la sección «Referencias» de un cuaderno, y las líneas que no se entienden."""
    found, wrong = [], []
    for item in re.findall(r"^- (.*(?:\n {2}.*)*)", _split(text)[1], re.M):
        line = " ".join(item.split())
        match = ITEM.fullmatch(line)
        surnames = re.findall(rf"({NAME}), [A-Z]\.", match["authors"]) if match else []
        if not match or not surnames:
            wrong.append(line)
            continue
        if match["authors"].endswith("et al."):
            surnames += ["et al."] * 2
        note = re.search(r"\(.+\)$", match["rest"])
        found.append(Paper(tuple(surnames), match["year"], match["title"], note[0] if note else ""))
    return found, wrong


def citations(text: str) -> set[tuple[str, str]]:
    """Las citas, «Autor (año)» o «Autor, año», de lo que va antes de las referencias."""
    body = " ".join(_split(text)[0].split())
    return {(names, one or other) for names, one, other in CITATION.findall(body)}


def _split(text: str) -> tuple[str, str]:
    """Lo de antes de las referencias y las referencias, que acaban en el título siguiente."""
    before, _, after = text.partition("### Referencias\n")
    section, *rest = re.split(r"^#", after, maxsplit=1, flags=re.M)
    return before + "".join(rest), section


def reference_problems(text: str) -> Iterator[str]:
    """Lo que no cuadra entre las citas de un cuaderno y su lista."""
    listed, wrong = papers(text)
    for line in wrong:
        yield f"le falta algo, «Autor, A. (año). *Título*. Lugar.»: {line}"
    cited = citations(text)
    for names, year in sorted(cited):
        if not any(paper.is_cited_as(names, year) for paper in listed):
            yield f"se cita y no está en las referencias: {names} ({year})"
    for paper in listed:
        if not paper.note and not any(paper.is_cited_as(*citation) for citation in cited):
            yield f"ni se cita ni se dice para qué está: {paper.title}"
