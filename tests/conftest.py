"""Lo que comparten las pruebas."""

import os
from pathlib import Path

import matplotlib
import pytest
import torch
from nbgrader.api import Gradebook

from autograder.assignments import Assignment
from autograder.course import Course
from autograder.errors import CourseError
from autograder.isolation.warm import shared_server

collect_ignore = ["toy"]  # lo que copia test_contributing
matplotlib.use("Agg")
torch.set_num_threads(1)


# Lo que corrige entregas, y necesita por tanto un sistema que pueda aislarlas.
GRADING = {
    "test_cli",
    "test_cohort",
    "test_formgrader",
    "test_grading",
    "test_hostile",
    "test_isolation",
    "test_recover",
    "test_scale",
}


def pytest_xdist_auto_num_workers():
    """Uno más que núcleos: muchas pruebas esperan a otro proceso, y mientras trabaja otra."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """Si este sistema no puede aislar, no puede corregir: esas pruebas se saltan y lo dicen.

    Las de esta carpeta, que son las largas, van primero: al final se reparten mejor las cortas.
    """
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
    graders = [
        item
        for item in items
        if item.path.stem in GRADING
        or item.name.startswith(("test_variants_really_graded", "test_from_download_to_grades"))
    ]
    if not graders:
        return
    try:
        shared_server(True)
    except CourseError as error:
        for item in graders:
            item.add_marker(pytest.mark.skip(reason=str(error)))


@pytest.fixture(scope="session")
def assignment():
    """`assignment(nombre)`: la entrega del curso, leída una sola vez."""
    course, loaded = Course(), {}

    def get(name: str) -> Assignment:
        if name not in loaded:
            loaded[name] = Assignment.load(name, course)
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def empty_gradebook(tmp_path_factory):
    """Un libro de notas vacío, para copiarlo: crear cada uno cuesta dos procesos."""
    path = tmp_path_factory.mktemp("libro") / "gradebook.db"
    Gradebook(f"sqlite:///{path}").close()
    return path
