"""La página de resultados que recibe cada estudiante."""

from nbconvert.exporters import HTMLExporter


class FeedbackExporter(HTMLExporter):
    """`HTMLExporter` con nombre propio: así se configura esta página y no las de Formgrader."""
