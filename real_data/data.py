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

BABI_AT = "patrickachase/dynamic-memory-networks/0bf9e2c84ba500cecafe2c27519c500a65154a93"
BABI_NAMES = ["single-supporting-fact", "two-supporting-facts", "three-supporting-facts"]
BABI = {
    (task, split): f"babi/qa{task}_{name}_{split}.txt"
    for task, name in enumerate(BABI_NAMES, start=1)
    for split in ("train", "test")
}
BABI_DIGESTS = [
    "c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05",
    "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b",
    "a4978af5bc0dc30191810e7c9949aaa6eae939ed0f6beb9fcb5f4330c2a27860",
    "eff93fb9cd81ba02eb765772cf7cc269769ed44ec71cbbbc19cfb16ee5eba0f6",
    "a6e78019f36a02a7ed71fe6aaded0b563ff09c8deec392931801fcd9c6af4d60",
    "17795c977100baf8188f386522ae301b62d6c1a13efc01b3aea781e588b4d57f",
]

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
    # Pares de frases en inglés y español, de Tatoeba. CC BY 2.0.
    "spa-eng.zip": (
        f"{GITHUB}/Hoangduc212001/hoang/2cfd26f9551f5c2d614e8000500891801840a438/spa-eng.zip",
        "f80e581ae291aa34dd3aba7bd98b5e9505234da4318e2f3295df70a1520c7f61",
    ),
    # bAbI, tareas 1 a 3: mil preguntas para aprender y mil para medir de cada una. CC BY 3.0.
    **{
        name: (
            f"{GITHUB}/{BABI_AT}/data/babi/tasks_1-20_v1-2/en/{Path(name).name}",
            digest,
        )
        for name, digest in zip(BABI.values(), BABI_DIGESTS, strict=True)
    },
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
