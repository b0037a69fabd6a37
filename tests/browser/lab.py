"""JupyterLab visto por las pruebas: lo que se pulsa y lo que se lee."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.conventions import EXPORT_TAG
from autograder.notebooks import grade_id, read

if TYPE_CHECKING:  # sin Playwright, las pruebas se saltan, pero este archivo se importa
    from playwright.sync_api import Locator, Page

LONG = 600_000  # ms: de sobra hasta en una máquina muy ocupada; ninguna prueba mide tiempos


@dataclass(frozen=True)
class Lab:
    """Un servidor en marcha, y la carpeta del curso en la que trabaja."""

    course: Path
    url: str
    token: str

    def address(self, path: str) -> str:
        # reset: sin las pestañas de la prueba anterior.
        return f"{self.url}{path}?token={self.token}&reset"


RUN = """async places => {
    const notebook = jupyterapp.shell.currentWidget.content;
    for (const place of places) {
        notebook.deselectAll();
        notebook.activeCellIndex = place;
        await jupyterapp.commands.execute("notebook:run-cell");
    }
}"""
IDLE = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.context;
    const kernel = context?.sessionContext?.session?.kernel;
    const prompts = [...document.querySelectorAll(".jp-InputPrompt")];
    return kernel?.connectionStatus === "connected" && kernel.status === "idle"
        && !prompts.some(prompt => prompt.textContent.includes("*"));
}"""


class Notebook:
    """Un cuaderno abierto en una página, con su kernel listo."""

    def __init__(self, page: Page, lab: Lab, path: str):
        self.page = page
        self.cells = read(lab.course / path).cells
        self.panel = page.locator(".jp-NotebookPanel")
        page.goto(lab.address(f"lab/tree/{path}"))
        self.wait_idle()

    def cell(self, identifier: str) -> Locator:
        """La celda con ese grade_id."""
        return self.panel.locator(".jp-Cell").nth(self._place(identifier))

    def outputs(self, identifier: str) -> Locator:
        return self.cell(identifier).locator(".jp-OutputArea-output")

    def was_run(self, identifier: str) -> bool:
        """Si la celda se ejecutó: su número sale en el margen."""
        return any(map(str.isdigit, self.cell(identifier).locator(".jp-InputPrompt").inner_text()))

    @property
    def errors(self) -> Locator:
        return self.panel.locator(".jp-OutputArea-output", has_text="Traceback (most recent call")

    @property
    def pictures(self) -> Locator:
        return self.panel.locator(".jp-OutputArea-output img")

    def wait_idle(self) -> None:
        """Espera a que el kernel esté libre y no quede ninguna celda por ejecutar."""
        self.page.wait_for_function(IDLE, polling=250)  # ms; sin él, en cada fotograma

    def run_until_error(self) -> None:
        """«Run → Run All Cells», hasta que alguna celda falle."""
        choose(self.page, "Run", "Run All Cells")
        self.errors.first.wait_for()
        self.wait_idle()

    def run_definitions(self) -> None:
        """Ejecuta lo que los ejercicios necesitan de la lección."""
        self._run(
            place
            for place, cell in enumerate(self.cells)
            if EXPORT_TAG in cell.metadata.get("tags", []) and grade_id(cell) is None
        )

    def run(self, *identifiers: str) -> None:
        self._run(map(self._place, identifiers))

    def fill(self, identifier: str, source: str) -> None:
        """Cambia el código de una celda, como al pegarlo encima del que había."""
        self.cell(identifier).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)

    def validate(self) -> Locator:
        """Pulsa «Validate» y devuelve el diálogo con el resultado."""
        self.panel.locator(".validate-button").click()
        dialog = self.page.locator(".nbgrader-SuccessDialog, .nbgrader-ErrorDialog")
        dialog.wait_for()
        return dialog

    def _place(self, identifier: str) -> int:
        return next(i for i, cell in enumerate(self.cells) if grade_id(cell) == identifier)

    def _run(self, places: Iterable[int]) -> None:
        self.page.evaluate(RUN, list(places))


def choose(page: Page, menu: str, entry: str) -> None:
    """Una entrada de la barra de menús."""
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()


def widths(pictures: Locator) -> list[int]:
    """El ancho de cada imagen: 0, si el navegador no pudo dibujarla."""
    return pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
