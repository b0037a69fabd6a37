"""Ayudas que comparten todos los cuadernos.

Al construir el curso, `from apoyo import ...` se cambia por una celda con el código de las ayudas
usadas y de lo que estas necesitan, para que cada cuaderno publicado sea un único archivo.
"""

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from tqdm.auto import tqdm

# Para varias líneas en unos ejes: contrastan con el blanco, y el trazo las distingue sin color.
LINE_COLORS = ("#0b4f8a", "#b34700", "#2b7a2b", "#8c2d62", "#444444")
LINE_STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))

# Los conjuntos de datos reales: nombre del archivo, dirección en un commit fijo y huella SHA-256.
# XQuAD en español: 240 párrafos y 1190 preguntas, traducidos a mano. CC BY-SA 4.0.
XQUAD_ES = (
    "xquad.es.json",
    "https://raw.githubusercontent.com/google-deepmind/xquad/"
    "7d30520c717524000f0d9d2f9c10a069acd9d285/xquad.es.json",
    "dcbae93ec3a9f4b9e78fd834a171d6f96c1a875e10e15b7530b7e4ef4971e37e",
)
# SQuAD-es: 1996 párrafos y 6583 preguntas, traducidos por máquina. CC BY 4.0.
SQUAD_ES = (
    "dev-v1.1-es_small.json",
    "https://raw.githubusercontent.com/ccasimiro88/TranslateAlignRetrieve/"
    "c84784219785c1fc05884b26081d9b7b4156c019/SQuAD-es-v1.1/dev-v1.1-es_small.json",
    "f7371e5800acc27bdb1bc213edc0126029007b335bb78ba8ab2ad2529227fdd7",
)
# Preguntas en español con 3 a 5 tramos del texto entre los que elegir. Apache 2.0; el texto, CC BY.
SQUAD_ES_DIST_AT = (
    "https://raw.githubusercontent.com/santroma1/SQuAD-es-dist/"
    "13e355913dfb5e2d8af766c21c9af19e5793894a/data"
)
SQUAD_ES_DIST = {
    split: (f"squad-es-dist/{split}.json", f"{SQUAD_ES_DIST_AT}/{split}.json", digest)
    for split, digest in {
        "training": "ab1ecc529fc72ef5fcbe522fde849d5002aaae9f9eb324bb4363b239e26cd9e1",
        "dev": "a22f51e856e8025fa55c635a2b15927aeb733e4a29bf788ecd9616528c6ed96f",
        "test": "05396662bf1f0736949bb63c7b3ded6974a12517ca22e6e19b65686948f34a9b",
    }.items()
}
# Pares de frases en inglés y español, de Tatoeba. CC BY 2.0.
SPA_ENG = (
    "spa-eng.zip",
    "https://raw.githubusercontent.com/Hoangduc212001/hoang/"
    "2cfd26f9551f5c2d614e8000500891801840a438/spa-eng.zip",
    "f80e581ae291aa34dd3aba7bd98b5e9505234da4318e2f3295df70a1520c7f61",
)
# bAbI, tareas 1 a 3: mil preguntas para aprender y mil para medir de cada una. CC BY 3.0.
BABI_AT = (
    "https://raw.githubusercontent.com/patrickachase/dynamic-memory-networks/"
    "0bf9e2c84ba500cecafe2c27519c500a65154a93/data/babi/tasks_1-20_v1-2/en"
)
BABI = {
    (int(name[2]), name.split("_")[-1]): (f"babi/{name}.txt", f"{BABI_AT}/{name}.txt", digest)
    for name, digest in {
        "qa1_single-supporting-fact_train": (
            "c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05"
        ),
        "qa1_single-supporting-fact_test": (
            "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b"
        ),
        "qa2_two-supporting-facts_train": (
            "a4978af5bc0dc30191810e7c9949aaa6eae939ed0f6beb9fcb5f4330c2a27860"
        ),
        "qa2_two-supporting-facts_test": (
            "eff93fb9cd81ba02eb765772cf7cc269769ed44ec71cbbbc19cfb16ee5eba0f6"
        ),
        "qa3_three-supporting-facts_train": (
            "a6e78019f36a02a7ed71fe6aaded0b563ff09c8deec392931801fcd9c6af4d60"
        ),
        "qa3_three-supporting-facts_test": (
            "17795c977100baf8188f386522ae301b62d6c1a13efc01b3aea781e588b4d57f"
        ),
    }.items()
}
# El Quijote: 375 784 palabras. Dominio público.
QUIJOTE = (
    "quijote.txt",
    "https://raw.githubusercontent.com/JuanMaCuevas/quijote/"
    "2223b64c44055f8fc08b1951dca00de5a5b9122b/quijote.txt",
    "580cdc8f65471344e3f811baa2d7b2a13662ff9adff17319943e79c854d01e64",
)


def real_data(source: tuple[str, str, str]) -> Path | None:
    """La ruta de un conjunto de datos reales, o `None`, con una línea que lo explica, si no se puede.

    La primera vez se descarga y se comprueba su huella; después se lee de la carpeta que diga la
    variable de entorno `ATENCION_DATOS` o, si no dice ninguna, de la de cachés del sistema.

    Args:
        source: nombre, dirección y huella SHA-256, como `XQUAD_ES`.
    """
    name, url, digest = source
    try:
        import pooch

        pooch.get_logger().setLevel("WARNING")  # sin el aviso de cada descarga
        folder = os.environ.get("ATENCION_DATOS") or pooch.os_cache("mecanismos-de-atencion")
        return Path(pooch.retrieve(url, digest, name, folder))
    except (ImportError, OSError, ValueError) as error:
        print(
            f"No está {name}, o no es el esperado, y no se pudo descargar "
            f"({type(error).__name__}). Ponlo en la carpeta de ATENCION_DATOS; se consigue en {url}"
        )
        return None


def set_seed(seed: int) -> None:
    """Fija la semilla de `random`, NumPy y PyTorch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pick_device() -> torch.device:
    """La GPU si hay una; si no, la CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: nn.Module,
    batches: Iterable,
    loss_fn: Callable,
    *,
    steps: int,
    lr: float,
    label: str,
) -> list[float]:
    """Entrena `model` con AdamW, un paso por lote, y devuelve la pérdida de cada paso.

    Args:
        batches: lotes; hacen falta al menos `steps`.
        loss_fn: `(model, batch) -> pérdida` escalar.
        lr: tasa de aprendizaje más alta; sube y baja durante el entrenamiento (un ciclo).
        label: texto de la barra de progreso.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    losses = []
    model.train()
    for _, batch in zip(tqdm(range(steps), desc=label, leave=False), batches, strict=False):
        loss = loss_fn(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def show(alt: str) -> None:
    """Muestra la figura actual y la cierra.

    Args:
        alt: qué dibuja, qué hay en cada eje y qué se ve, para quien no ve la figura. Se guarda con
            ella en el cuaderno.
    """
    if "inline" in plt.get_backend():  # un cuaderno
        display(plt.gcf(), metadata={"image/png": {"alt": alt}})
    else:
        plt.show()
    plt.close()


def ink(value: float) -> str:
    """El color que mejor se lee encima de una casilla de cividis con ese valor, de 0 a 1."""
    return "white" if value < 0.47 else "black"


def plot_losses(curves: dict[str, list[float]], window: int = 25) -> None:
    """Dibuja cada curva de pérdida, suavizada con una media de `window` pasos."""
    fig, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
    ax.set_prop_cycle(color=LINE_COLORS, linestyle=LINE_STYLES)
    ends = []
    for name, losses in curves.items():
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        ax.plot(range(window, len(losses) + 1), smooth, label=name, linewidth=2)
        ends.append(f"{name}, de {smooth[0]:.2f} a {smooth[-1]:.2f}")
    ax.set(xlabel="Paso de entrenamiento", ylabel="Pérdida (entropía cruzada)", ylim=(0, None))
    ax.grid(alpha=0.3)
    fig.legend(frameon=False, loc="outside right upper")
    show(f"Curvas de pérdida (entropía cruzada) según el paso de entrenamiento: {'; '.join(ends)}.")
