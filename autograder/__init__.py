"""Construir, corregir e informar: la maquinaria del curso «Mecanismos de atención»."""
