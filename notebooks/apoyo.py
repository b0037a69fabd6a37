"""Ayudas que comparten todos los cuadernos.

Al construir el curso, `from apoyo import ...` se cambia por una celda con el código de las ayudas
usadas y de lo que estas necesitan, para que cada cuaderno publicado sea un único archivo.
"""

import random
from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from tqdm.auto import tqdm

# Para varias líneas en unos ejes: contrastan con el blanco, y el trazo las distingue sin color.
LINE_COLORS = ("#0b4f8a", "#b34700", "#2b7a2b", "#8c2d62", "#444444")
LINE_STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


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
