"""El error de quien usa el curso."""


class CourseError(Exception):
    """Algo que quien usa el curso puede arreglar; su texto es la línea que se le muestra."""
