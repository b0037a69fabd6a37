"""Ayudas que comparten todos los cuadernos.

Al construir el curso, `from apoyo import ...` se cambia por una celda con el código de las ayudas
usadas y de lo que estas necesitan, para que cada cuaderno publicado sea un único archivo.
"""

import random
from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm


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


def plot_losses(curves: dict[str, list[float]], window: int = 25) -> None:
    """Dibuja cada curva de pérdida, suavizada con una media de `window` pasos."""
    _, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
    styles = ["-", "--", ":", "-."]
    for i, (name, losses) in enumerate(curves.items()):
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        ax.plot(range(window, len(losses) + 1), smooth, styles[i % 4], label=name, linewidth=2)
    ax.set(xlabel="Paso de entrenamiento", ylabel="Pérdida (entropía cruzada)", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    plt.show()
