"""Las comprobaciones contra respuestas correctas e incorrectas: `variants/NN_tema.py`.

Cada incorrecta pierde exactamente lo que debe; cada correcta, de otro estilo, no pierde nada. Sin
kernel se miran todas: las correctas con dos semillas y cada incorrecta con una de tres. Corregidas
de verdad, aisladas, las que hacen falta para que cada comprobación se pierda y cada celda se
apruebe alguna vez; una de cada tres, también con nbgrader de serie. Con ATENCION_TODO=1, todas y
con ambos.
"""

import os
from importlib import import_module
from itertools import zip_longest
from pathlib import Path

import pytest

from autograder.checks import checks_of
from autograder.conventions import ROOT
from autograder.grading import grade_notebook
from tests.support import filled, lost_checks, published, stock_grade

VARIANTS = {
    path.stem: import_module(f"tests.checks.variants.{path.stem}").EXERCISES
    for path in sorted(Path(__file__).parent.glob("variants/[0-9]*.py"))
}
ALL = [(name, v) for name, e in VARIANTS.items() for variants in e.values() for v in variants]
WRONG = [(name, variant) for name, variant in ALL if variant.loses]
RIGHT = [(name, variant) for name, variant in ALL if not variant.loses]


def names(cases):
    return [f"{name[:2]}-{variant.name}" for name, variant in cases]


@pytest.mark.parametrize(
    ("name", "variant", "seed"),
    [(*case, i % 3) for i, case in enumerate(WRONG)],
    ids=names(WRONG),
)
def test_wrong_solution_loses_exactly_its_checks(name, variant, seed):
    lost = lost_checks(name, variant, seed)
    assert set(lost) == variant.loses, lost
    assert all(len(message) > 20 for message in lost.values()), lost  # explican, no solo fallan


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("name", "variant"), RIGHT, ids=names(RIGHT))
def test_right_solution_loses_nothing(name, variant, seed):
    assert lost_checks(name, variant, seed) == {}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_check_is_lost_by_some_wrong_solution(name):
    caught = frozenset().union(*(variant.loses for other, variant in WRONG if other == name))
    assert caught == {check.name for check in checks_of(name)}


def test_every_exercise_has_eight_wrong_solutions_and_three_right_ones():
    assert set(VARIANTS) == {path.stem for path in ROOT.glob("notebooks/[0-9]*.py")}
    for name, exercises in VARIANTS.items():
        for exercise, variants in exercises.items():
            wrong = sum(bool(variant.loses) for variant in variants)
            assert wrong >= 8, (name, exercise)
            assert len(variants) - wrong >= 3, (name, exercise)


# Una entrega lleva una respuesta a cada ejercicio: sus celdas de pruebas son distintas.
SUBMISSIONS = [
    (name, [variant for variant in chosen if variant])
    for name, exercises in VARIANTS.items()
    for chosen in zip_longest(*exercises.values())
]


def shows(name, variants):
    """Lo que enseña corregir una entrega: las comprobaciones que se pierden y las celdas que no."""
    return {(name, seen) for v in variants for seen in v.loses or [f"{v.cell}, correcta"]}


def enough(submissions):
    """Las entregas que hacen falta para ver perdida cada comprobación y correcta cada celda."""
    seen, chosen = set(), []
    for submission in sorted(submissions, key=lambda one: -len(shows(*one))):
        if shows(*submission) - seen:
            chosen.append(submission)
            seen |= shows(*submission)
    return chosen


GRADED = SUBMISSIONS if os.environ.get("ATENCION_TODO") else enough(SUBMISSIONS)


@pytest.mark.parametrize(
    ("name", "variants", "in_stock"),
    [(*submission, i % 3 == 0 or GRADED is SUBMISSIONS) for i, submission in enumerate(GRADED)],
    ids=[f"{name[:2]}-{' y '.join(v.name for v in chosen)}" for name, chosen in GRADED],
)
def test_variants_really_graded(name, variants, in_stock, assignment):
    answers = {}
    for variant in variants:
        answers |= variant.answer(name)
    submission = filled(published("solutions", name), answers)
    graded = grade_notebook(submission, assignment(name))
    lost = {c.name for e in graded.exercises for c in e.checks if not c.passed}
    assert lost == frozenset().union(*(variant.loses for variant in variants))
    points = {check.name: check.points for check in checks_of(name)}
    assert graded.points == sum(points.values()) - sum(points[name] for name in lost)
    if in_stock:
        assert stock_grade(submission, assignment(name))[0] == graded.points
