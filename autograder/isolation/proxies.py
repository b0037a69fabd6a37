"""Los objetos de una entrega, vistos desde el proceso que corrige.

Los datos llegan por valor. Lo demás (clases, funciones, módulos, ejes de matplotlib) es un
`RemoteObject`: llamarlo, o leer y escribir sus atributos, es una petición al kernel de la entrega.
La derivación automática cruza: de un tensor que depende de uno nuestro, o de un parámetro suyo, se
puede retropropagar.
"""

from __future__ import annotations

import builtins
import socket
import time
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from autograder.isolation.sandbox import wire

MAX_TEXT = 2000
# Los métodos de nn.Module que las pruebas más usan: se piden y se llaman de una vez.
MODULE_METHODS = {
    "eval",
    "load_state_dict",
    "named_parameters",
    "parameters",
    "state_dict",
    "train",
}


class Channel:
    """La conversación con el kernel de una entrega durante una celda de pruebas.

    Args:
        deadline: hora, de `time.monotonic`, a la que se acaba el tiempo de la celda.
    """

    def __init__(self, connection: socket.socket, deadline: float):
        self.connection = connection
        self.deadline = deadline
        self.problem: Exception | None = None
        self.objects: dict[int, RemoteObject] = {}
        self.inputs: list[torch.Tensor] = []
        self.sent: dict[int, torch.Tensor] = {}

    def request(self, do: str, **arguments: Any) -> Any:
        """El resultado de una petición.

        Raises:
            Exception: la que lanzó el código de la entrega, con su tipo de la biblioteca estándar.
            TimeoutError: si se acabó el tiempo de la celda.
            RuntimeError: si lo que llegó no es un mensaje válido, o el kernel murió.
        """
        if self.problem:
            raise self.problem
        self.sent = {}
        message = wire.encode({"do": do, **arguments}, self._reference)
        try:
            self.connection.settimeout(max(self.deadline - time.monotonic(), 1e-3))
            wire.send(self.connection, message)
            answer = wire.receive(self.connection, self.deadline)
        except TimeoutError:
            self.problem = TimeoutError("la celda superó su tiempo")
            raise self.problem from None
        except (OSError, wire.WireError) as error:
            self.problem = RuntimeError(f"el programa de la entrega dejó de responder ({error})")
            raise self.problem from None
        try:
            reply = wire.decode(answer, self._resolve)
        except wire.WireError as error:
            raise RuntimeError(f"la entrega respondió con {error}") from None
        if not isinstance(reply, dict) or not ("value" in reply or "error" in reply):
            raise RuntimeError("la entrega respondió con un mensaje que no se entiende")
        if "error" in reply:
            raise _exception(reply["error"])
        return reply["value"]

    def _reference(self, value: Any) -> dict[str, Any]:
        if isinstance(value, torch.Tensor):  # requiere gradiente: al volver querremos el suyo
            self.inputs.append(value)
            self.sent[len(self.inputs) - 1] = value
            return {"id": len(self.inputs) - 1}
        if type(value) is RemoteObject:
            return {"t": "ref", "id": value._id}
        raise wire.WireError(f"un {type(value).__name__} de las pruebas")

    def _resolve(self, node: dict[str, Any]) -> Any:
        identifier = node["id"]
        if type(identifier) is not int:
            raise wire.WireError("un mensaje que no se entiende")
        if "tensor" in node:
            anchor = torch.zeros((), requires_grad=True)
            tensors = [t for t in self.sent.values() if t.requires_grad]
            ids = [i for i, t in self.sent.items() if t.requires_grad]
            return _Remote.apply(self, identifier, ids, node["tensor"], anchor, *tensors)
        if identifier not in self.objects:
            name = node["name"] if isinstance(node.get("name"), str) else "objeto"
            is_module = node.get("module") is True
            self.objects[identifier] = RemoteObject(self, identifier, name, is_module)
        return self.objects[identifier]


class RemoteObject:
    """Un objeto del kernel de una entrega."""

    def __init__(self, channel: Channel, identifier: int, name: str, is_module: bool):
        set_here = super().__setattr__
        set_here("_channel", channel)
        set_here("_id", identifier)
        set_here("_name", name)
        set_here("_is_module", is_module)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        """`isinstance(x, nn.Module)` dice la verdad también aquí."""
        return torch.nn.Module if self._is_module else RemoteObject

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("", *args, **kwargs)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Llama al objeto, o a un método suyo."""
        # La semilla hace repetible lo que allí salga al azar, y distinta cada llamada.
        seed = int(torch.randint(2**62, ()))
        grad = torch.is_grad_enabled()
        result, changed = self._channel.request(
            "call", target=self._id, method=method, args=args, kwargs=kwargs, seed=seed, grad=grad
        )
        for place, value in changed.items():  # como si hubiera tenido el tensor y no una copia
            with torch.no_grad():
                args[place].copy_(value)
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._is_module and name in MODULE_METHODS:
            return partial(self._call, name)
        return self._channel.request("get", target=self._id, name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._channel.request("set", target=self._id, name=name, value=value)

    def __getitem__(self, key: Any) -> Any:
        return self._channel.request("item", target=self._id, key=key)

    def __len__(self) -> int:
        return int(self._channel.request("length", target=self._id))

    def __iter__(self) -> Any:
        return iter(self._channel.request("list", target=self._id))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{self._name} de la entrega>"


class _Remote(torch.autograd.Function):
    """Un tensor calculado en el kernel: su gradiente se calcula allí."""

    @staticmethod
    def forward(ctx: Any, channel: Channel, identifier: int, ids: list, value: Any, *_: Any) -> Any:
        ctx.channel, ctx.identifier, ctx.ids = channel, identifier, ids
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        gradients = ctx.channel.request(
            "backward", outputs=[ctx.identifier], gradients=[gradient], inputs=ctx.ids
        )
        return (None, None, None, None, None, *gradients)


def _exception(described: Any) -> Exception:
    """El error que describe una entrega, con un tipo de la biblioteca estándar."""
    if not isinstance(described, dict) or not isinstance(described.get("kinds"), list):
        return RuntimeError("la entrega respondió con un mensaje que no se entiende")
    kinds = [getattr(builtins, k, None) for k in described["kinds"] if isinstance(k, str)]
    text = _printable(described.get("text", ""))
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                error = kind(text)
            except TypeError:  # algunos piden más argumentos
                continue
            error.remote_line = _printable(described.get("line", ""))  # type: ignore[attr-defined]
            return error
    name = _printable(described.get("type", "")) or "un error"
    return RuntimeError(f"{name}: {text}")


def _printable(text: Any) -> str:
    """El texto sin lo que una terminal tomaría por una orden."""
    kept = (c for c in str(text)[:MAX_TEXT] if c.isprintable() or c in "\n\t")
    return "".join(kept)
