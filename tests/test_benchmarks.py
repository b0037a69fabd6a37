"""Las medidas: que comparen lo mismo y cuenten bien. Los tiempos no se comprueban."""

from importlib import import_module

import pytest
import torch

from autograder.conventions import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch):
    """`benchmark_module(nombre)`: un módulo de benchmarks/, importado como al ejecutarlo."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


@pytest.mark.parametrize("place", range(8))
def test_both_sides_of_each_comparison_give_the_same(benchmark_module, place):
    compared = benchmark_module("implementations")
    assert len(compared.GROUPS) == 8
    torch.manual_seed(0)
    cases = list(compared.GROUPS[place]())
    for case in cases:
        compared.check(case)
        with pytest.raises(AssertionError):
            compared.check(case._replace(other=lambda c=case: c.other() + 0.1))
    assert cases


def test_the_two_attention_flows_give_the_same(benchmark_module):
    assert benchmark_module("bidaf_flow").largest_difference(examples=1) < 1e-6


def test_peak_counts_tensors_that_live_at_once(benchmark_module):
    def action():
        torch.zeros(2**18)  # 1 MB, que se libera
        return torch.zeros(2**18) + torch.zeros(2**18)  # 3 a la vez

    assert benchmark_module("measuring").peak_megabytes(action) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(("power", "shown"), [(1, "**1.00**"), (2, "**2.00**")])
def test_exponent_of_a_power(benchmark_module, power, shown):
    growth = benchmark_module("growth")
    assert growth.exponent([3 * n**power for n in growth.LENGTHS]) == shown


def test_memory_grows_as_the_sequence_says(benchmark_module):
    """Guardar los pesos cuesta el cuadrado de la longitud; no guardarlos, no."""
    growth, measuring = benchmark_module("growth"), benchmark_module("measuring")
    with torch.no_grad():
        for need_weights, low, high in ((True, 3.5, 4.1), (False, 1.8, 2.2)):
            run = growth.self_attention(need_weights)
            short, long = (measuring.peak_megabytes(lambda n=n, f=run: f(n)) for n in (512, 1024))
            assert low < long / short < high


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.0123"), (12.34, "12.3"), (6986.4, "6986"), (2.0, "2")]
)
def test_digits(benchmark_module, value, shown):
    assert benchmark_module("measuring").digits(value) == shown


def test_the_page_has_every_part_and_every_program_exists(benchmark_module):
    page = benchmark_module("page").PAGE.read_text(encoding="utf-8")
    for title, order, _ in benchmark_module("page").PARTS:
        assert f"## {title}\n\n`python benchmarks/{order}`" in page
        assert (FOLDER / order.split()[0]).exists()
