"""Los conjuntos de datos reales: de dónde vienen, y su copia en esta máquina.

La primera vez se descargan, de una dirección fija y con su huella SHA-256; después se leen de la
carpeta `ATENCION_DATOS` o, si no se ha elegido ninguna, de la de cachés del sistema.
"""

import sys
from pathlib import Path

import pooch
from requests.exceptions import RequestException

GITHUB = "https://raw.githubusercontent.com"
XQUAD = "google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"
SQUAD_ES = "ccasimiro88/TranslateAlignRetrieve/c84784219785c1fc05884b26081d9b7b4156c019"

# nombre: (dirección, huella)
SOURCES = {
    # XQuAD en español: 240 párrafos y 1190 preguntas, traducidos a mano. CC BY-SA 4.0.
    "xquad.es.json": (
        f"{GITHUB}/{XQUAD}/xquad.es.json",
        "dcbae93ec3a9f4b9e78fd834a171d6f96c1a875e10e15b7530b7e4ef4971e37e",
    ),
    # SQuAD-es: 1996 párrafos y 6583 preguntas, traducidos por máquina. CC BY 4.0.
    "dev-v1.1-es_small.json": (
        f"{GITHUB}/{SQUAD_ES}/SQuAD-es-v1.1/dev-v1.1-es_small.json",
        "f7371e5800acc27bdb1bc213edc0126029007b335bb78ba8ab2ad2529227fdd7",
    ),
}
STORE = pooch.create(
    path=pooch.os_cache("mecanismos-de-atencion"),
    base_url="",
    env="ATENCION_DATOS",
    urls={name: url for name, (url, _) in SOURCES.items()},
    registry={name: f"sha256:{digest}" for name, (_, digest) in SOURCES.items()},
)


def fetch(name: str) -> Path:
    """La ruta del archivo, descargado si hace falta; si no se puede, acaba con una línea."""
    try:
        return Path(STORE.fetch(name))
    except (OSError, ValueError, RequestException) as error:
        sys.exit(
            f"No está {name}, o no es el esperado, y no se pudo descargar "
            f"({type(error).__name__}). Ponlo en la carpeta de ATENCION_DATOS; se consigue en "
            f"{SOURCES[name][0]}"
        )
