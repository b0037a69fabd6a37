"""Configuración de nbgrader para este curso: la leen todas sus órdenes y Formgrader."""

import os
import sys
import warnings
from pathlib import Path

from bleach import ALLOWED_TAGS
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbgrader.converters import Autograde, GenerateAssignment, GenerateSolution
from nbgrader.preprocessors import (
    ClearHiddenTests,
    ClearMarkScheme,
    ClearSolutions,
    Execute,
    GetGrades,
)
from nbgrader.server_extensions.formgrader import handlers
from sqlalchemy.exc import SAWarning

import autograder
from autograder.execution import IsolatedExecute, Limits
from autograder.plugins import ClearSolutionMarks, NamedClearSolutions, RestoreTests

c = get_config()  # noqa: F821

# Para crear el libro de notas, nbgrader llama a «alembic» por su nombre: que encuentre el de este
# entorno aunque no esté activado.
environment = str(Path(sys.executable).parent)
path = os.environ.get("PATH", os.defpath)
if environment not in path.split(os.pathsep):  # Formgrader lee este archivo en cada petición
    os.environ["PATH"] = os.pathsep.join([environment, path])

# nbgrader 0.9 provoca avisos de SQLAlchemy que no dicen nada a quien corrige.
warnings.filterwarnings("ignore", category=SAWarning, module="nbgrader")

c.CourseDirectory.solution_directory = "solutions"

# La versión de estudiantes: huecos en español, con el nombre de la tarea.
c.GenerateAssignment.preprocessors = [
    NamedClearSolutions if step is ClearSolutions else step
    for step in GenerateAssignment.preprocessors.default()
]
c.ClearSolutions.code_stub = {
    "python": '# ESCRIBE AQUÍ TU CÓDIGO\nraise NotImplementedError("{grade_id}")'
}
c.ClearSolutions.text_stub = "*Escribe aquí tu respuesta.*"

# La versión resuelta: nbgrader deja en ella las pruebas ocultas y las marcas; aquí se quitan.
steps = GenerateSolution.preprocessors.default()
place = steps.index(ClearMarkScheme)
c.GenerateSolution.preprocessors = [
    *steps[:place], ClearHiddenTests, ClearSolutionMarks, *steps[place:]
]  # fmt: skip

# La corrección. Lo que una respuesta correcta escriba en stderr (un aviso de PyTorch, por ejemplo)
# no le cuesta la nota: nbgrader pondría un cero.
c.Autograde.autograde_preprocessors = [
    IsolatedExecute if step is Execute else step
    for step in Autograde.autograde_preprocessors.default()
]
c.Autograde.sanitize_preprocessors = [
    RestoreTests, *Autograde.sanitize_preprocessors.default()
]  # fmt: skip
c.Execute.timeout = Limits.cell_seconds
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = r"(?s)."
c.LimitOutput.max_lines = 200

# El HTML para estudiantes, en español.
c.GenerateFeedback.exporter_class = "autograder.plugins.FeedbackExporter"
c.FeedbackExporter.template_name = "feedback_es"
c.FeedbackExporter.exclude_anchor_links = True  # serían enlaces que solo dicen «¶»
c.FeedbackExporter.extra_template_basedirs = [
    str(Path(autograder.__file__).parent / "templates"),
    handlers.template_path,
]
# Lo que escriben los programas de quien estudia se muestra sin etiquetas que puedan ejecutar algo.
c.GenerateFeedback.preprocessors = [GetGrades, SanitizeHTML]
c.SanitizeHTML.enabled = True
c.SanitizeHTML.tags = [*sorted(ALLOWED_TAGS), "br", "div", "p", "table", "tbody", "td", "th", "tr"]

# Las entregas bajadas de Moodle o Canvas. «force» deja que «nbgrader zip_collect» vacíe cada vez
# extracted/, que es una copia; lo ya recogido lo protege LmsExtractor, que solo lo sustituye si se
# da --force, y entonces guarda lo anterior.
c.ZipCollectApp.extractor_plugin = "autograder.lms.collect.LmsExtractor"
c.ZipCollectApp.collector_plugin = "autograder.lms.collect.LmsCollector"
c.ZipCollectApp.force = True
