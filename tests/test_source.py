"""Leer código sin ejecutarlo."""

import gc
import sys
import threading

import pytest

from autograder.source import parse

CODE = "\n".join(f"x{i} = f({i}, [a + b * {i} for a in range(3)])" for i in range(300))


@pytest.fixture
def threads_that_interrupt():
    """La recolección de basura, a cada paso y en Python: es donde un hilo cede el turno a otro."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    callback = lambda *_: sum(range(100))  # noqa: E731
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    gc.callbacks.append(callback)
    yield
    gc.callbacks.remove(callback)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_several_threads_parse_at_once(threads_that_interrupt):
    """En Python 3.11.7, con `ast.parse` a secas, falla siempre en alguno."""
    trees = []
    workers = [
        threading.Thread(target=lambda: trees.extend(parse(CODE) for _ in range(20)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(trees) == 60
