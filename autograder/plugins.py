"""Las piezas propias que `nbgrader_config.py` enchufa en nbgrader."""

from __future__ import annotations

from pathlib import Path

from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearSolutions
from nbgrader.preprocessors.base import NbGraderPreprocessor

from autograder.assignments import Assignment
from autograder.course import Course
from autograder.grading import restore
from autograder.notebooks import grade_id


class NamedClearSolutions(ClearSolutions):
    """`ClearSolutions` de nbgrader, con el nombre de la tarea en el hueco (`{grade_id}`)."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int):
        template: dict[str, str] = self.code_stub  # type: ignore[has-type]
        self.code_stub = {
            language: text.format(grade_id=grade_id(cell)) for language, text in template.items()
        }
        try:
            return super().preprocess_cell(cell, resources, cell_index)
        finally:
            self.code_stub = template


class ClearSolutionMarks(NbGraderPreprocessor):
    """Quita de la versión resuelta las líneas que delimitan cada solución."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int):
        lines = cell.source.splitlines()
        marks = ("### BEGIN SOLUTION", "### END SOLUTION")
        cell.source = "\n".join(line for line in lines if line.strip() not in marks)
        return cell, resources


class RestoreTests(NbGraderPreprocessor):
    """Devuelve a una entrega sus celdas de pruebas, antes de que nbgrader la mire."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course = Course(Path(self.config.CourseDirectory.get("root") or "."))
        assignment = Assignment.load(resources["nbgrader"]["notebook"], course)
        return restore(nb, assignment), resources


class FeedbackExporter(HTMLExporter):
    """`HTMLExporter` con nombre propio: así se configura esta página y no las de Formgrader."""
