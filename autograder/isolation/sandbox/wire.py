"""El formato en que se hablan quien corrige y el código de una entrega, cada uno en su proceso.

Un mensaje es JSON más los tensores en safetensors: datos y nada más. **Nunca pickle**, que al
leerse ejecuta lo que diga quien lo escribió. Lo que llega no se cree: tamaño, profundidad y número
de valores están acotados, y cualquier otra cosa es un `WireError` de esa llamada.

Este archivo se ejecuta a los dos lados; por eso no importa nada del curso.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import safetensors.torch
import torch

MAX_BYTES = 64 * 2**20
MAX_VALUES = 50_000
MAX_DEPTH = 40
_HEADER = struct.Struct("<II")  # cuánto ocupan el JSON y los tensores

Reference = Callable[[Any], dict[str, Any]]
Resolve = Callable[[dict[str, Any]], Any]


class WireError(ValueError):
    """Un valor que no puede viajar, o un mensaje que no se entiende."""


def encode(value: Any, reference: Reference) -> bytes:
    """El mensaje con `value`; lo que no es un dato lo describe `reference`.

    Viajan por valor: None, bool, int, float, str, y tensores, arrays, listas, tuplas, conjuntos y
    diccionarios de estos.

    Raises:
        WireError: si el valor es demasiado grande o demasiado profundo, o no puede viajar.
    """
    encoder = _Encoder(reference)
    try:
        tree = encoder.node(value, 0)
        text = json.dumps(tree).encode()
        blob = safetensors.torch.save(encoder.tensors) if encoder.tensors else b""
    except RecursionError:
        raise WireError("un valor con demasiados niveles") from None
    except (TypeError, RuntimeError, KeyError) as error:
        raise WireError(f"un valor que no se puede enviar: {error}") from None
    if len(text) + len(blob) > MAX_BYTES:
        raise WireError(f"un valor de más de {MAX_BYTES >> 20} MB")
    return _HEADER.pack(len(text), len(blob)) + text + blob


def decode(message: bytes, resolve: Resolve) -> Any:
    """El valor de un mensaje; `resolve` convierte la descripción de lo que no es un dato.

    Raises:
        WireError: si el mensaje no es válido.
    """
    if len(message) < _HEADER.size:
        raise WireError("un mensaje cortado")
    text_size, blob_size = _HEADER.unpack_from(message)
    if len(message) != _HEADER.size + text_size + blob_size or len(message) > MAX_BYTES + 64:
        raise WireError("un mensaje de otro tamaño")
    try:
        tree = json.loads(message[_HEADER.size : _HEADER.size + text_size])
        blob = message[_HEADER.size + text_size :]
        tensors = safetensors.torch.load(blob) if blob else {}
        return _Decoder(tensors, resolve).value(tree, 0)
    except WireError:
        raise
    except Exception as error:  # viene de un programa del que no nos fiamos
        raise WireError(f"un mensaje que no se entiende ({type(error).__name__})") from None


class _Encoder:
    def __init__(self, reference: Reference):
        self.reference = reference
        self.tensors: dict[str, torch.Tensor] = {}
        self.count = self.size = 0

    def node(self, value: Any, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise WireError("un valor con demasiados elementos o niveles")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, str):
            return self._bounded(str.__str__(value))
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, depth)
        if isinstance(value, Mapping):
            pairs = [
                [self.node(k, depth + 1), self.node(v, depth + 1)]
                for k, v in _limited(value.items())
            ]
            return {"t": "dict", "v": pairs}
        for name, kind in (("tuple", tuple), ("set", Set), ("list", Sequence | Iterator)):
            if isinstance(value, kind) and not isinstance(value, bytes | bytearray | memoryview):
                return {"t": name, "v": [self.node(v, depth + 1) for v in _limited(value)]}
        return self.reference(value)

    def _bounded(self, text: str) -> str:
        self.size += len(text)
        if self.size > MAX_BYTES:
            raise WireError(f"un texto de más de {MAX_BYTES >> 20} MB")
        return text

    def _tensor(self, tensor: torch.Tensor) -> dict[str, Any]:
        node: dict[str, Any] = {"t": "tensor", "i": self._store(tensor)}
        if tensor.requires_grad:
            node["grad"] = True
            if tensor.is_leaf and tensor.grad is not None:
                node["of"] = self._store(tensor.grad)
            description = self.reference(tensor)
            node["id"] = description.get("id")
        return node

    def _array(self, array: Any, depth: int) -> Any:
        array = np.ma.getdata(array)
        if array.dtype.kind in "OUS":
            return self.node(array.tolist(), depth + 1)
        copied = np.array(array, order="C")
        return {"t": "array", "i": self._store(torch.from_numpy(copied))}

    def _store(self, tensor: torch.Tensor) -> str:
        self.size += tensor.numel() * tensor.element_size()
        if self.size > MAX_BYTES:
            raise WireError(f"un tensor de más de {MAX_BYTES >> 20} MB")
        key = str(len(self.tensors))
        self.tensors[key] = tensor.detach().cpu().to_dense().contiguous().clone()
        return key


class _Decoder:
    def __init__(self, tensors: dict[str, torch.Tensor], resolve: Resolve):
        self.tensors = tensors
        self.resolve = resolve
        self.count = 0

    def value(self, node: Any, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise WireError("un valor con demasiados elementos o niveles")
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if not isinstance(node, dict):
            raise WireError("un mensaje que no se entiende")
        kind = node.get("t")
        if kind in ("list", "tuple", "set"):
            values = [self.value(v, depth + 1) for v in _a_list(node["v"])]
            return {"list": list, "tuple": tuple, "set": set}[kind](values)
        if kind == "dict":
            pairs = [_a_list(pair) for pair in _a_list(node["v"])]
            return {self.value(k, depth + 1): self.value(v, depth + 1) for k, v in pairs}
        if kind == "tensor":
            return self._tensor(node)
        if kind == "array":
            array = self.tensors[node["i"]].numpy()
            return array if array.ndim else array[()]
        return self.resolve(node)

    def _tensor(self, node: dict[str, Any]) -> torch.Tensor:
        tensor = self.tensors[node["i"]]
        if node.get("grad") is not True:
            return tensor
        if node.get("id") is not None:
            return self.resolve({**node, "tensor": tensor})
        tensor.requires_grad_()
        if "of" in node:
            tensor.grad = self.tensors[node["of"]]
        return tensor


def _limited(values: Any) -> list[Any]:
    """Los elementos, si no son demasiados: un generador podría no terminar."""
    found = []
    for item in values:
        found.append(item)
        if len(found) > MAX_VALUES:
            raise WireError("un valor con demasiados elementos")
    return found


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WireError("un mensaje que no se entiende")
    return value


# --- Por un socket --------------------------------------------------------------------------------


def send(connection: socket.socket, message: bytes) -> None:
    """Envía un mensaje ya codificado."""
    connection.sendall(message)


def receive(connection: socket.socket, deadline: float | None = None) -> bytes:
    """El próximo mensaje; `deadline` es la hora, de `time.monotonic`, a la que se deja de esperar.

    Raises:
        WireError: si la conexión se cierra, o si anuncia más de lo permitido.
        TimeoutError: si no ha llegado entero a tiempo.
    """
    header = _exactly(connection, _HEADER.size, deadline)
    text_size, blob_size = _HEADER.unpack(header)
    if text_size + blob_size > MAX_BYTES:
        raise WireError(f"un mensaje de más de {MAX_BYTES >> 20} MB")
    return header + _exactly(connection, text_size + blob_size, deadline)


def _exactly(connection: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        part = connection.recv(min(size - len(parts), 2**20))
        if not part:
            raise WireError("la conexión se cerró")
        parts += part
    return bytes(parts)
