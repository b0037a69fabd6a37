"""EM y F1: en inglés, como la métrica SQuAD de torchmetrics; en español, una tabla de casos."""

import random
import unicodedata

import pytest
from torchmetrics.functional.text import squad

from autograder.notebooks import load

lesson = load("09_bidaf")


# Parejas hechas a mano para las reglas del inglés: artículos, signos, repeticiones y vacías.
ENGLISH = [
    ("the cat", ["cat"]),
    ("The Cat.", ["a cat!"]),
    ("an apple", ["the apple", "apples"]),
    ("a a b", ["a b b", "c"]),
    ("b b c", ["b c c"]),
    ("", ["the"]),
    ("the", ["an"]),
    ("", ["cat"]),
    ("cat", [""]),
    ("U.S.", ["US"]),
    ("twenty-one", ["twentyone", "twenty one"]),
    ("theory of a man", ["theory of man"]),
    ("él, ella", ["él ella"]),
    ("  two   spaces ", ["two spaces"]),
    ("¿qué?", ["qué"]),
    ("42", ["42.0", "42"]),
]


def generated_pairs(count, seed):
    """Parejas al azar, de pocas palabras para que coincidan a menudo."""
    rng = random.Random(seed)
    tokens = ["the", "a", "an", "Cat", "cat.", "dog", "dog", "3,5", "(", "río", "el", "-"]

    def phrase():
        return " ".join(rng.choices(tokens, k=rng.randint(0, 6)))

    return [(phrase(), [phrase() for _ in range(rng.randint(1, 3))]) for _ in range(count)]


def test_english_rules_agree_with_torchmetrics():
    """EM y F1, pareja a pareja, con la métrica SQuAD de torchmetrics."""
    pairs = ENGLISH + generated_pairs(300, seed=9)
    exact = [lesson.exact_match(prediction, golds, "en") for prediction, golds in pairs]
    assert 30 < sum(exact) < 290  # hay de las dos clases
    for (prediction, golds), em in zip(pairs, exact, strict=True):
        answers = {"text": golds, "answer_start": [0] * len(golds)}
        wanted = squad({"prediction_text": prediction, "id": "1"}, {"answers": answers, "id": "1"})
        assert 100 * em == pytest.approx(wanted["exact_match"].item(), abs=1e-3)
        f1 = lesson.f1_score(prediction, golds, "en")
        assert 100 * f1 == pytest.approx(wanted["f1"].item(), abs=1e-3), (prediction, golds)


# Predicción, respuesta buena, EM y F1 con las reglas del español.
SPANISH = [
    ("el río", "Río", 1, 1),
    ("LOS RÍOS.", "ríos", 1, 1),
    ("unas niñas", "las niñas", 1, 1),
    ("¿Qué?", "qué", 1, 1),
    ("¡No!", "no", 1, 1),
    ("«la paz»", "paz", 1, 1),
    ("—un día…", "día", 1, 1),
    ("“El Niño”", "niño", 1, 1),
    (unicodedata.normalize("NFD", "el café"), "café", 1, 1),
    ("papá", "papa", 0, 0),  # los acentos cuentan
    ("año", "ano", 0, 0),
    ("ella", "a", 0, 0),  # «el» y «la» solo son artículos si son la palabra entera
    ("lo bueno", "bueno", 0, 2 / 3),  # «lo» no está entre los artículos
    ("del mar", "mar", 0, 2 / 3),  # ni las contracciones
    ("la casa de el rey", "casa de rey", 1, 1),
    ("tres gatos y tres perros", "tres gatos", 0, 4 / 7),
    ("sal sal mar", "sal mar mar", 0, 2 / 3),  # las repeticiones, una a una
    ("la", "", 1, 1),
    ("", "mar", 0, 0),
    ("mar", "", 0, 0),
]


@pytest.mark.parametrize(("prediction", "gold", "em", "f1"), SPANISH)
def test_spanish_rules(prediction, gold, em, f1):
    assert lesson.exact_match(prediction, [gold]) == em
    assert lesson.f1_score(prediction, [gold]) == pytest.approx(f1)
    assert lesson.f1_score(prediction, ["otra", gold]) == pytest.approx(f1)  # la que más se parezca
