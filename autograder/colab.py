"""El enlace «Abrir en Colab» de cada cuaderno, que sale de la dirección del repositorio."""

from __future__ import annotations

import re
import tomllib

from nbformat import NotebookNode

from autograder.conventions import ROOT
from autograder.errors import CourseError

BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
BRANCH = "main"


def repository() -> str | None:
    """El repositorio (`usuario/curso`) de `[project.urls]` en `pyproject.toml`, o nada.

    Raises:
        CourseError: si no está en GitHub, de donde Colab abre los cuadernos.
    """
    path = ROOT / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"] if path.exists() else {}
    address = project.get("urls", {}).get("Repository")
    if not address:
        return None
    match = GITHUB.fullmatch(address)
    if not match:
        raise CourseError(
            f"Repository, en pyproject.toml, es «{address}»: Colab solo abre cuadernos de "
            "https://github.com/USUARIO/CURSO. Corrígelo o quítalo."
        )
    return match[1]


def add_link(notebook: NotebookNode, name: str) -> None:
    """Pone bajo el título el enlace a la versión de estudiantes, si el curso tiene repositorio."""
    place = repository()
    if not place:
        return
    path = f"github/{place}/blob/{BRANCH}/release/{name}/{name}.ipynb"
    link = f"[![Abrir en Colab]({BADGE})](https://colab.research.google.com/{path})"
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{link}\n{rest}".rstrip("\n")
