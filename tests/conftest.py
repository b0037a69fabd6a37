"""Lo que comparten las pruebas."""

import matplotlib
import pytest
import torch

from autograder.assignments import Assignment
from autograder.course import Course

matplotlib.use("Agg")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def assignment():
    """`assignment(nombre)`: la entrega del curso, leída una sola vez."""
    course, loaded = Course(), {}

    def get(name: str) -> Assignment:
        if name not in loaded:
            loaded[name] = Assignment.load(name, course)
        return loaded[name]

    return get
