"""El curso en disco: sus carpetas, su configuración y los preprocesadores de nbgrader."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config, PyFileConfigLoader

from autograder.conventions import ROOT
from autograder.errors import CourseError
from autograder.limits import Limits

CONFIG_FILE = "nbgrader_config.py"


def load_config(root: Path) -> Config:
    """La configuración de nbgrader de un curso, con su raíz en `root`.

    Si la carpeta no tiene `nbgrader_config.py`, vale la del repositorio.
    """
    folder = root if (root / CONFIG_FILE).exists() else ROOT
    try:
        config = PyFileConfigLoader(CONFIG_FILE, path=str(folder)).load_config()
    except Exception as error:  # es un programa: puede fallar de cualquier manera
        name = type(error).__name__
        raise CourseError(f"{folder / CONFIG_FILE} no se puede leer: {name}: {error}") from None
    config.CourseDirectory.root = str(root)
    return config


@dataclass(frozen=True)
class Course:
    """La carpeta de un curso: `source/`, `submitted/`, `autograded/`, `gradebook.db`…"""

    root: Path = ROOT
    config: Config = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.resolve())
        object.__setattr__(self, "config", load_config(self.root))

    @property
    def directory(self) -> CourseDirectory:
        """Las carpetas y la base de datos, como las entiende nbgrader."""
        return CourseDirectory(config=self.config)

    @property
    def limits(self) -> Limits:
        """Los límites de una entrega, que se fijan en `nbgrader_config.py`."""
        settings = {**self.config.Execute, **self.config.IsolatedExecute}
        names = {name: name for name in ("memory", "disk", "processes", "isolated")}
        names |= {"cell_seconds": "timeout", "notebook_seconds": "notebook_timeout"}
        return Limits(**{k: settings[name] for k, name in names.items() if name in settings})

    def folder(self, step: str) -> Path:
        """La carpeta `source`, `submitted` o `autograded`, se llame como se llame en este curso."""
        return self.root / getattr(self.directory, f"{step}_directory")

    def assignments(self) -> list[str]:
        """Los nombres de las entregas del curso, en orden."""
        return sorted(p.parent.name for p in self.folder("source").glob("*/*.ipynb"))

    def source_path(self, assignment: str) -> Path:
        """El cuaderno de `source/` de una entrega.

        Raises:
            CourseError: si el curso no la tiene.
        """
        names = self.assignments()
        if assignment in names:
            return self.folder("source") / assignment / f"{assignment}.ipynb"
        close = difflib.get_close_matches(assignment, names, n=1)
        hint = (
            f" ¿Querías decir {close[0]}?" if close else f" Tiene: {', '.join(names) or 'ninguna'}."
        )
        raise CourseError(f"El curso no tiene la entrega «{assignment}».{hint}")

    def preprocess(
        self, notebook: NotebookNode, steps: Iterable[type], assignment: str, student: str = "."
    ) -> NotebookNode:
        """El cuaderno tras pasar por unos preprocesadores, con la configuración del curso."""
        names = {"assignment": assignment, "notebook": assignment, "student": student}
        resources = {"nbgrader": {**names, "db_url": self.directory.db_url}}
        notebook = copy.deepcopy(notebook)
        for step in steps:
            notebook, resources = step(config=self.config)(notebook, resources)
        return notebook
