"""El hueco que queda en la versión de estudiantes donde estaba la solución."""

from __future__ import annotations

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearSolutions

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
