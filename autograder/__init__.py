"""Construir, corregir e informar: la maquinaria del curso «Mecanismos de atención»."""

import sys

# jsonschema, que importa nbformat, usa este paquete si está (lo trae JupyterLab) para un formato
# que ningún cuaderno tiene; importarlo tarda un segundo, en cada proceso que corrige.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
