# Las órdenes del curso. Todas preparan solas el entorno (.venv) la primera vez.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/listo
DEMO := demo/curso
# Las pruebas no deben necesitar la red, y con un proceso por núcleo basta un hilo en cada uno.
ALONE := https_proxy=http://127.0.0.1:9 OMP_NUM_THREADS=1

.PHONY: demo test bench lab build lint clean

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

build: $(READY)  ## de los maestros a todo lo demás
	$(BIN)/python -m autograder build

demo: build  ## corrige una cohorte de muestra, de principio a fin
	@echo "El informe de la clase estará en $(DEMO)/reports/06_autoatencion.html"
	rm -rf $(DEMO)
	$(BIN)/python demo/cohort.py $(DEMO)
	$(BIN)/python -m autograder grade 06_autoatencion --course-dir $(DEMO)
	$(BIN)/nbgrader generate_feedback 06_autoatencion --course-dir $(DEMO) --log-level=ERROR
	$(BIN)/python -m autograder report 06_autoatencion --course-dir $(DEMO)
	@echo "Resultados de cada estudiante: $(DEMO)/feedback/*/06_autoatencion/06_autoatencion.html"

test: $(READY) lint  ## todas las pruebas
	$(BIN)/python -m autograder build --check
	$(ALONE) $(BIN)/python -m pytest -n auto --dist loadgroup --ignore=tests/browser
	$(ALONE) $(BIN)/python -m pytest -n auto --dist loadgroup tests/browser
	$(ALONE) $(BIN)/python -m pytest -n auto --dist loadfile --nbval notebooks

bench: $(READY)  ## mide el curso y escribe docs/rendimiento.md
	$(BIN)/python benchmarks/page.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY)  ## JupyterLab, con una copia de los cuadernos de estudiantes
	mkdir -p mis_cuadernos
	cp -Rn release/. mis_cuadernos/ || true
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/mis_cuadernos

clean:
	rm -rf $(VENV) $(DEMO)
