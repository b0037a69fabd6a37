"""El lado de la entrega: hace con sus objetos lo que pide quien corrige, y devuelve los valores.

Se ejecuta en el kernel, con el código de quien estudia: nada de lo que hay aquí está a salvo de
él, y por eso nada de lo que se promete depende de este archivo.
"""

from __future__ import annotations

import builtins
import socket
import traceback
from typing import Any

import torch
import wire

SOCKET = "agent"  # en la carpeta del kernel
_MAX_MESSAGE = 2000


class Agent:
    """Los objetos de una entrega que quien corrige conoce, y lo que se puede hacer con ellos."""

    def __init__(self, namespace: dict[str, Any]):
        self.namespace = namespace
        self.objects: dict[int, Any] = {}
        self.inputs: dict[int, torch.Tensor] = {}

    def reference(self, value: Any) -> dict[str, Any]:
        """La descripción de un objeto que viaja por referencia; se le da un número."""
        identifier = id(value)
        self.objects[identifier] = value  # mientras esté aquí, nadie más tendrá ese número
        is_linked = isinstance(value, torch.Tensor) and (
            value.grad_fn is not None or any(value is tensor for tensor in self.inputs.values())
        )
        if isinstance(value, torch.Tensor) and not is_linked:
            del self.objects[identifier]
            return {}
        return {
            "t": "ref",
            "id": identifier,
            "module": isinstance(value, torch.nn.Module),
            "name": getattr(value, "__qualname__", type(value).__qualname__)[:100],
        }

    def resolve(self, node: dict[str, Any]) -> Any:
        """El objeto que describe quien corrige: uno de los nuestros, o un tensor suyo."""
        if "tensor" not in node:
            return self.objects[node["id"]]
        tensor = node["tensor"].requires_grad_()
        self.inputs[node["id"]] = tensor
        return tensor

    def answer(self, request: dict[str, Any]) -> Any:
        """El resultado de una petición."""
        if "target" in request:
            request["target"] = self.objects[request["target"]]
        return getattr(self, f"do_{request.pop('do')}")(**request)

    def do_name(self, name: str) -> Any:
        if name not in self.namespace:
            raise NameError(f"name '{name}' is not defined")
        return self.namespace[name]

    def do_call(
        self, target: Any, method: str, args: tuple, kwargs: dict, seed: int, grad: bool
    ) -> Any:
        """Llama a un objeto o a un método suyo.

        Devuelve el resultado y los tensores que la llamada cambió, por su posición.
        """
        torch.default_generator.manual_seed(seed)  # torch.manual_seed avisa a cada acelerador: 1 ms
        with torch.set_grad_enabled(grad):
            function = getattr(target, method) if method else target
            result = function(*args, **kwargs)
        tensors = {i: a for i, a in enumerate(args) if isinstance(a, torch.Tensor)}
        return [result, {i: a.detach() for i, a in tensors.items() if a._version}]

    def do_get(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def do_set(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)

    def do_item(self, target: Any, key: Any) -> Any:
        return target[key]

    def do_length(self, target: Any) -> int:
        return len(target)

    def do_list(self, target: Any) -> list:
        return list(target)

    def do_backward(self, outputs: list[int], gradients: list, inputs: list[int]) -> list:
        """Retropropaga por el grafo de aquí; devuelve los gradientes de lo que vino de fuera."""
        leaves = [self.inputs[i] for i in inputs]
        for leaf in leaves:
            leaf.grad = None
        torch.autograd.backward(
            [self.objects[i] for i in outputs], list(gradients), retain_graph=True
        )
        return [leaf.grad for leaf in leaves]


def serve(path: str, namespace: dict[str, Any]) -> None:
    """Atiende a quien corrige hasta que cuelga."""
    agent = Agent(namespace)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        while True:
            try:
                message = wire.receive(connection)
            except wire.WireError:
                break
            try:
                wire.send(connection, _reply(agent, message))
            except OSError:  # ya no espera nadie
                break
    _close_figures()


def _reply(agent: Agent, message: bytes) -> bytes:
    try:
        request = wire.decode(message, agent.resolve)
        return wire.encode({"value": agent.answer(request)}, agent.reference)
    except BaseException as error:
        return wire.encode({"error": _described(error)}, agent.reference)


def _described(error: BaseException) -> dict[str, Any]:
    """Un error: los nombres de sus clases de la biblioteca estándar, su texto y dónde ocurrió."""
    if isinstance(error, wire.WireError):
        error = RuntimeError(f"tu código devolvió {error}")
    names = [c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/sandbox/" not in f.filename]
    frames = [f for f in frames if "site-packages" not in f.filename]
    return {
        "type": type(error).__name__[:100],
        "kinds": names,
        "text": str(error)[:_MAX_MESSAGE],
        "line": (frames[-1].line or "")[:200] if frames else "",
    }


def _close_figures() -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
