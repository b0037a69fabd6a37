"""Las pruebas ocultas: qué es una comprobación y cómo se corrige un ejercicio con ellas.

Cada módulo `NN_tema.py` de esta carpeta tiene las comprobaciones de un cuaderno:

    @check("ej1a_relleno", "El relleno no influye", points=1)
    def padding_does_not_leak(MultiHeadSelfAttention):
        ...
        expect_close(actual, expected, "las salidas válidas", hint="¿En qué eje está la máscara?")

Una comprobación recibe lo que definió quien estudia y termina sin más si es correcto. Si no lo es,
lanza `CheckFailure` (casi siempre por medio de `expect` o `expect_close`) con la causa, lo visto y
una pista, nunca la solución. La última línea de una celda de pruebas llama a `grade`.
"""

from __future__ import annotations

import html
import importlib.util
import traceback
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

import torch


def _display(shown: Any) -> None:
    from IPython.display import display

    display(shown)


# Cómo se enseña un resultado: en un cuaderno, como cualquier salida; aislado, lo cambia `trusted`.
showing: ContextVar[Callable[[Any], None]] = ContextVar("showing", default=_display)
MIME_TYPE = "application/vnd.atencion.comprobaciones+json"
_SHOWN_ERROR_LENGTH = 300


class CheckFailure(AssertionError):
    """Lo comprobado no se cumple; su texto es el mensaje para quien estudia."""


@dataclass(frozen=True)
class Check:
    """Una comprobación: un comportamiento, con su nombre y sus puntos."""

    exercise: str
    name: str
    points: float
    run: Callable[..., None]


@dataclass(frozen=True)
class CheckResult:
    """Lo que dio una comprobación; `message` está vacío si se superó."""

    name: str
    points: float
    max_points: float
    passed: bool
    message: str = ""


def check(exercise: str, name: str, points: float) -> Callable[[Callable], Callable]:
    """Marca una función como comprobación de la celda de pruebas `exercise`."""

    def mark(function: Callable) -> Callable:
        function.check = Check(exercise, name, points, function)  # type: ignore[attr-defined]
        return function

    return mark


def expect(condition: bool, message: str, hint: str = "") -> None:
    """Falla con `message` y `hint` si `condition` no se cumple."""
    if not condition:
        raise CheckFailure(f"{message} Pista: {hint}" if hint else message)


def expect_finite(value: torch.Tensor, what: str, hint: str = "") -> None:
    """Falla si `value` tiene algún valor infinito o `nan`."""
    bad = int((~torch.isfinite(value)).sum())
    expect(bad == 0, f"Hay {bad} de {value.numel()} valores no finitos en {what}.", hint)


def expect_error(kind: type[Exception], call: Callable[[], Any], situation: str) -> None:
    """Falla si `call()` no lanza un error de tipo `kind`."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise CheckFailure(
            f"{situation}, esperaba {kind.__name__} y tu código lanzó {type(error).__name__}."
        ) from None
    raise CheckFailure(f"{situation}, esperaba {kind.__name__} y tu código no lanzó ningún error.")


def expect_close(
    actual: Any, expected: torch.Tensor, what: str, hint: str = "", atol: float = 1e-5
) -> None:
    """Falla si `actual` no es un tensor igual a `expected`, y dice dónde difiere primero.

    Args:
        what: qué se compara, en plural y con artículo («los pesos»).
        atol: diferencia absoluta que se debe al redondeo y no a un error.
    """
    expect(isinstance(actual, torch.Tensor), f"Esperaba un tensor con {what}.", hint)
    shape, wanted = list(actual.shape), list(expected.shape)
    expect(shape == wanted, f"La forma de {what} es {shape} y debería ser {wanted}.", hint)
    actual = actual.detach().to(expected.dtype)
    wrong = ~torch.isclose(actual, expected, rtol=0.0, atol=atol, equal_nan=True)
    if not wrong.any():
        return
    first = tuple(wrong.nonzero()[0].tolist())
    found, right = float(actual[first]), float(expected[first])
    digits = 4 if f"{found:.4g}" != f"{right:.4g}" else 8
    expect(
        False,
        f"Entre {what}, {int(wrong.sum())} de {wrong.numel()} valores no son los esperados. El "
        f"primero, en {list(first)}: {found:.{digits}g} en vez de {right:.{digits}g}.",
        hint,
    )


def checks_of(notebook: str, exercise: str | None = None) -> list[Check]:
    """Las comprobaciones de un cuaderno, o solo las de una celda de pruebas, en su orden.

    Un cuaderno sin módulo en esta carpeta no tiene ninguna.
    """
    name = f"{__name__}.{notebook}"
    if importlib.util.find_spec(name) is None:
        return []
    module = importlib.import_module(name)
    found = [value.check for value in vars(module).values() if hasattr(value, "check")]
    return [c for c in found if exercise in (None, c.exercise)]


def run_checks(checks: Iterable[Check], *answers: Any, seed: int = 0) -> list[CheckResult]:
    """Ejecuta las comprobaciones con lo que definió quien estudia; ninguna detiene a las demás."""
    return [_run(c, answers, seed) for c in checks]


def _run(c: Check, answers: tuple, seed: int) -> CheckResult:
    torch.default_generator.manual_seed(seed)
    try:
        with torch.enable_grad():  # y al salir, como estuviera: una respuesta pudo cambiarlo
            c.run(*answers)
    except CheckFailure as failure:
        return CheckResult(c.name, 0.0, c.points, False, str(failure))
    except (Exception, SystemExit) as error:
        return CheckResult(c.name, 0.0, c.points, False, _describe(error))
    return CheckResult(c.name, c.points, c.points, True)


def _describe(error: BaseException) -> str:
    """Una línea con el error que lanzó el código de quien estudia, y dónde."""
    if isinstance(error, NotImplementedError):
        return f"Está sin resolver: {error}" if str(error) else "Está sin resolver."
    text = " ".join(str(error).split())[:_SHOWN_ERROR_LENGTH]
    where = f", en «{line}»" if (line := _failing_line(error)) else ""
    return f"Tu código lanzó {type(error).__name__}: {text}{where}."


def _failing_line(error: BaseException) -> str:
    """La última línea de quien estudia por la que pasó un error, o nada."""
    if hasattr(error, "remote_line"):  # ocurrió en el kernel de la entrega
        return error.remote_line
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    skipped = ("site-packages", "/checks/", "/isolation/")
    frames = [f for f in frames if not any(part in f.filename for part in skipped)]
    return (frames[-1].line or "") if frames else ""


class Feedback:
    """El resultado de una celda de pruebas, en texto, en HTML y en JSON."""

    def __init__(self, exercise: str, results: list[CheckResult]):
        self.exercise = exercise
        self.results = results

    @property
    def points(self) -> float:
        return sum(r.points for r in self.results)

    @property
    def headline(self) -> str:
        total = sum(r.max_points for r in self.results)
        return f"{self.exercise}: {self.points:g} de {total:g} puntos"

    def __repr__(self) -> str:
        lines = [self.headline]
        for r in self.results:
            lines.append(f"  {'✓' if r.passed else '✗'} {r.name} ({r.points:g}/{r.max_points:g})")
            lines += [f"      {r.message}"] if r.message else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><b>{'✓' if r.passed else '✗'} {html.escape(r.name)}</b> "
            f"({r.points:g}/{r.max_points:g})"
            + (f"<br>{html.escape(r.message)}" if r.message else "")
            + "</li>"
            for r in self.results
        )
        return f"<ul>{items}</ul>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME_TYPE: {"exercise": self.exercise, "checks": [asdict(r) for r in self.results]},
        }


def grade(notebook: str, exercise: str, *answers: Any) -> float:
    """Corrige una celda de pruebas: muestra cada resultado y devuelve los puntos.

    Es la última expresión de la celda: nbgrader toma su valor como nota parcial.
    """
    feedback = Feedback(exercise, run_checks(checks_of(notebook, exercise), *answers))
    showing.get()(feedback)
    return feedback.points
