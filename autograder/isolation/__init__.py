"""Ejecutar código ajeno sin que pueda tocar nada: kernels aislados y pruebas en otro proceso.

sandbox/        lo que se ejecuta dentro, al lado del código de la entrega
warm.py         el proceso caliente y sus kernels, vistos desde fuera
provisioner.py  esos kernels, como un aprovisionador de Jupyter
proxies.py      los objetos de una entrega, vistos desde fuera
"""
