"""Un JupyterLab de verdad y un Chromium sin ventana que lo usa."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from autograder.conventions import ROOT
from tests.browser.lab import LONG, Lab, Notebook

SHOTS = Path(__file__).parent / "capturas"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
SETTINGS = {
    # Sin el aviso que pregunta si se quieren noticias, que tapa lo de debajo.
    "apputils-extension/notification": {"fetchNews": "false"},
    # Todas las celdas están en la página, también las que no se ven.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.hookimpl(tryfirst=True)  # antes que xdist, que mira entonces los grupos
def pytest_collection_modifyitems(items):
    """En dos grupos, para que dos procesos de xdist se los repartan, cada uno con su servidor."""
    mine = [item for item in items if item.path.parent == Path(__file__).parent]
    for place, item in enumerate(mine):
        item.add_marker(pytest.mark.xdist_group(f"navegador-{place % 2}"))


# El alcance es el de esta carpeta y no el de la sesión: mientras Playwright está abierto hay un
# bucle de asyncio en marcha, y las demás pruebas del mismo proceso podrían tropezar con él.
@pytest.fixture(scope="package")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="falta playwright: pip install -e .[dev]"
    )
    if CHROMIUM is None:
        pytest.skip("falta Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # Como root (en un contenedor), Chromium no puede aislarse a sí mismo.
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0
        )


@pytest.fixture(scope="package")
def lab(browser, tmp_path_factory):
    """JupyterLab como lo abre `make lab`, en una copia del curso."""
    course = tmp_path_factory.mktemp("curso")
    shutil.copy(ROOT / "nbgrader_config.py", course)
    shutil.copytree(ROOT / "source", course / "source")
    shutil.copytree(ROOT / "release", course / "mis_cuadernos")
    home = tmp_path_factory.mktemp("jupyter")
    for name, values in SETTINGS.items():
        path = home / "lab" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    token = secrets.token_hex(16)
    order = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0"),
        *(f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "OMP_NUM_THREADS": "1",
    }
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            order, cwd=course, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield Lab(course, _address(server, home), token)
    finally:
        server.terminate()
        server.wait()


def _address(server, home):
    """La dirección del servidor, que la escribe en un archivo cuando ya escucha."""
    written = home / "runtime" / f"jpserver-{server.pid}.json"
    deadline = time.monotonic() + LONG / 1000
    while server.poll() is None and time.monotonic() < deadline:
        if written.exists() and written.stat().st_size:
            return json.loads(written.read_text())["url"]
        time.sleep(0.1)
    raise RuntimeError("JupyterLab no arranca:\n" + (home / "log").read_text())


@pytest.fixture
def page(browser, lab, request):
    """Una página vacía; al terminar, vaya como vaya, se guarda lo que se veía."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="es-ES")
    context.set_default_timeout(LONG)
    page = context.new_page()
    yield page
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name}.png")
    for session in page.request.get(lab.address("api/sessions")).json():
        page.request.delete(lab.address(f"api/sessions/{session['id']}"))  # y su kernel
    context.close()


@pytest.fixture
def notebook(page, lab):
    """`notebook(ruta)`: el cuaderno de esa ruta del curso, abierto y con su kernel listo."""
    return partial(Notebook, page, lab)


@pytest.fixture
def guide(page):
    """`guide(nombre)`: guarda una captura para las guías, si se piden (`ATENCION_CAPTURAS`)."""
    folder = os.environ.get("ATENCION_CAPTURAS")

    def shoot(name):
        if not folder:
            return
        from PIL import Image

        path = ROOT / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path)
        Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(
            path, optimize=True
        )

    return shoot
