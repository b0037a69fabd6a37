"""La prosa del curso, sin el código: la de sus textos, cuadernos, programas y páginas."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from autograder.conventions import HELPERS, MASTERS, ROOT
from autograder.notebooks import read
from tests.support import DOCUMENTS, PROGRAMS

PARSER = MarkdownIt().enable("table").use(dollarmath_plugin)
PAGES = sorted((ROOT / "autograder" / "templates").rglob("*.j2"))
GAP = "◦"  # lo que queda donde había código, una fórmula o una cursiva

# En un programa los nombres van sin comillas invertidas: lo que lleva signos, cifras o mayúsculas
# por dentro no es una palabra.
MACHINE = re.compile(
    r"""\b(?:type:\signore|noqa|fmt:\s\w+)[^\n]*   # lo que leen otras herramientas
      | https?://\S+
      | [^\s(«¿]*[_/\\=<>{}\[\]@|#*^+~`][^\s»?]*   # rutas y expresiones
      | --?\w[\w-]*                                # opciones
      | \w+\(\)? | \w*\.\w[\w.]* | \w*\d\w* | \w*[a-zñ][A-Z]\w*""",
    re.X,
)
# En un docstring, lo que va antes de dos puntos es el nombre de un argumento.
ARGUMENTS = re.compile(r"^ +\w[\w, *]*:(?=\s)|\b(?:Args|Returns|Raises|Yields):", re.M)


class Passage(NamedTuple):
    """Un párrafo, un comentario o un mensaje."""

    path: Path
    text: str
    italics: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()  # los del código que lo rodea
    is_markdown: bool = False


@cache
def prose() -> tuple[Passage, ...]:
    """Toda la del curso."""
    return (
        *(p for path in DOCUMENTS for p in markdown_passages(path, path.read_text("utf-8"))),
        *(p for path in PROGRAMS for p in program_passages(path)),
        *(p for path in PAGES for p in page_passages(path, path.read_text("utf-8"))),
    )


def markdown_passages(path: Path, text: str) -> Iterator[Passage]:
    """Los párrafos, los títulos y las casillas de un texto en Markdown."""
    for token in PARSER.parse(text):
        if token.type == "html_block":
            text = re.sub(r"<!--.*?-->|<[^>]*>", GAP, token.content, flags=re.S)
            yield Passage(path, text, is_markdown=True)
        elif token.type == "inline":
            yield _paragraph(path, token.children or [])


def _paragraph(path: Path, tokens: Iterable[Token]) -> Passage:
    text, italics, in_italics = "", [""], False
    for token in tokens:
        if token.type in ("em_open", "em_close"):
            in_italics = token.type == "em_open"
            text += GAP if in_italics else ""
            italics.append("")
        elif in_italics:
            italics[-1] += _content(token)
        else:
            text += _content(token)
    return Passage(path, text, tuple(filter(None, italics)), is_markdown=True)


def _content(token: Token) -> str:
    if token.type in ("text", "image"):
        return re.sub(r"https?://\S+", GAP, token.content)
    if token.type == "softbreak":
        return "\n"
    return "" if token.nesting else GAP  # abrir o cerrar una negrita o un enlace no ocupa nada


def program_passages(path: Path) -> Iterator[Passage]:
    """Los docstrings, comentarios y mensajes de un programa; de un maestro, también su Markdown."""
    if path.parent != MASTERS or path.stem == HELPERS:
        yield from code_passages(path, [path.read_text("utf-8")])
        return
    cells = read(path).cells
    for cell in cells:
        if cell.cell_type == "markdown":
            yield from markdown_passages(path, cell.source)
    yield from code_passages(path, [cell.source for cell in cells if cell.cell_type == "code"])


def code_passages(path: Path, sources: list[str]) -> Iterator[Passage]:
    """Los docstrings, comentarios y mensajes de unos trozos de Python."""
    tokens = [list(tokenize.generate_tokens(io.StringIO(source).readline)) for source in sources]
    names = frozenset(t.string for part in tokens for t in part if t.type == tokenize.NAME)
    for part, source in zip(tokens, sources, strict=True):
        for text in [*_comments(part), *_messages(source)]:
            yield Passage(path, MACHINE.sub(GAP, text), names=names)


def _comments(tokens: list[tokenize.TokenInfo]) -> list[str]:
    """Los comentarios; los de líneas seguidas, juntos."""
    found, before = [], (-1, 0)
    for token in (token for token in tokens if token.type == tokenize.COMMENT):
        line, column = token.start
        text = token.string.lstrip("#! ")
        if before == (line - 1, column):
            found[-1] += f"\n{text}"
        else:
            found.append(text)
        before = token.start
    return found


def _messages(source: str) -> Iterator[str]:
    """Los docstrings y los textos de varias palabras."""
    tree = ast.parse(source)
    templates = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(value) for template in templates for value in template.values}
    for node in ast.walk(tree):
        text = "" if id(node) in parts else _string(node)
        if re.search(r"\b(\w+)[,;:]? (?!\1\b)\w", text):
            yield ARGUMENTS.sub(GAP, text)


def _string(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_string(value) or GAP for value in node.values)
    return ""


def page_passages(path: Path, page: str) -> Iterator[Passage]:
    """Los textos de una plantilla, sin las órdenes de Jinja ni el estilo."""
    page = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}|<style>.*?</style>|&\w+;", GAP, page, flags=re.S)
    for text in re.split(r"<[^>]*>", page):
        yield Passage(path, text)
