"""El formato en que se hablan quien corrige y el código de una entrega, cada uno en su proceso.

Un mensaje es JSON y, detrás, los números de los tensores, uno tras otro: datos y nada más. **Nunca
pickle**, que al leerse ejecuta lo que diga quien lo escribió. Lo que llega no se cree: tamaño,
profundidad y número de valores están acotados, y cualquier otra cosa es un `WireError` de esa
llamada.

Una entrega cuesta unos 300 mensajes de ida y vuelta: aquí cada microsegundo cuenta. Por eso los
tensores no van en safetensors, que tarda cuatro veces más con los pequeños.

Este archivo se ejecuta a los dos lados; por eso no importa nada del curso.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

MAX_BYTES = 64 * 2**20
MAX_VALUES = 50_000
MAX_DEPTH = 40
_HEADER = struct.Struct("<II")  # cuánto ocupan el JSON y los tensores
_NUMBERS = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
_DTYPES = {name: getattr(torch, name) for name in _NUMBERS.split()}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# Cómo viaja un valor de cada clase; lo que falta lo decide `_kind_of`.
_KINDS: dict[type, str] = {
    type(None): "atom",
    bool: "atom",
    int: "atom",
    float: "atom",
    str: "text",
    list: "list",
    tuple: "tuple",
    dict: "dict",
    torch.Tensor: "tensor",
    torch.nn.Parameter: "tensor",
}

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
        text = json.dumps(encoder.node(value, 0)).encode()
    except RecursionError:
        raise WireError("un valor con demasiados niveles") from None
    except (TypeError, RuntimeError, KeyError) as error:
        raise WireError(f"un valor que no se puede enviar: {error}") from None
    blob = b"".join(encoder.blobs)
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
        blob = bytearray(message[_HEADER.size + text_size :])
        return _Decoder(blob, resolve).value(tree, 0)
    except WireError:
        raise
    except Exception as error:  # viene de un programa del que no nos fiamos
        raise WireError(f"un mensaje que no se entiende ({type(error).__name__})") from None


class _Encoder:
    def __init__(self, reference: Reference):
        self.reference = reference
        self.blobs: list[bytes] = []
        self.count = self.size = 0

    def node(self, value: Any, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise WireError("un valor con demasiados elementos o niveles")
        match _KINDS.get(type(value)) or _kind_of(value):
            case "atom":
                return value
            case "text":
                return self._bounded(str.__str__(value))
            case "tensor":
                return self._tensor(value)
            case "list":
                return [self.node(v, depth + 1) for v in _limited(value)]
            case "dict":
                return self._dict(value, depth + 1)
            case "tuple" | "set" as kind:
                return {"t": kind, "v": [self.node(v, depth + 1) for v in _limited(value)]}
            case "int":
                return int.__int__(value)
            case "float":
                return float.__float__(value)
            case "array":
                return self._array(value, depth)
        return self.reference(value)

    def _bounded(self, text: str) -> str:
        self.size += len(text)
        if self.size > MAX_BYTES:
            raise WireError(f"un texto de más de {MAX_BYTES >> 20} MB")
        return text

    def _dict(self, value: Any, depth: int) -> dict[str, Any]:
        """Un diccionario: de JSON si sus claves son textos; si no, por parejas."""
        pairs = _limited(value.items())
        if all(type(key) is str for key, _ in pairs):
            return {"t": "map", "v": {self._bounded(k): self.node(v, depth) for k, v in pairs}}
        return {"t": "dict", "v": [[self.node(k, depth), self.node(v, depth)] for k, v in pairs]}

    def _tensor(self, tensor: torch.Tensor) -> dict[str, Any]:
        node = self._store(tensor)
        if tensor.requires_grad:
            node["grad"] = True
            if tensor.is_leaf and tensor.grad is not None:
                node["of"] = self._store(tensor.grad)
            node["id"] = self.reference(tensor).get("id")
        return node

    def _array(self, array: Any, depth: int) -> Any:
        array = np.ma.getdata(array)
        if array.dtype.kind in "OUS":
            return self.node(array.tolist(), depth + 1)
        copied = np.array(array, order="C")
        return {**self._store(torch.from_numpy(copied)), "t": "array"}

    def _store(self, tensor: torch.Tensor) -> dict[str, Any]:
        """Los números van detrás del JSON, en el mismo orden; el nodo dice de qué son."""
        self.size += tensor.numel() * tensor.element_size()
        if self.size > MAX_BYTES:
            raise WireError(f"un tensor de más de {MAX_BYTES >> 20} MB")
        values = tensor.detach().cpu().to_dense().contiguous()
        if values.numel():
            # «contiguo» admite cualquier paso en los ejes de tamaño 1, y `view` lo quiere de 1
            flat = values.as_strided((values.numel(),), (1,))
            self.blobs.append(flat.view(torch.uint8).numpy().tobytes())
        return {"t": "tensor", "d": _NAMES[tensor.dtype], "s": list(tensor.shape)}


def _kind_of(value: Any) -> str:
    """Cómo viaja un valor de una clase que no está en `_KINDS`, que puede heredar de una de ellas.

    Lo que no es un dato viaja por referencia.
    """
    kinds: dict[str, Any] = {"int": int, "float": float, "text": str, "tensor": torch.Tensor}
    kinds |= {"array": np.ndarray | np.generic, "dict": Mapping, "tuple": tuple, "set": Set}
    kinds |= {"reference": bytes | bytearray | memoryview, "list": Sequence | Iterator}
    return next(
        (kind for kind, classes in kinds.items() if isinstance(value, classes)), "reference"
    )


class _Decoder:
    def __init__(self, blob: bytearray, resolve: Resolve):
        self.blob = blob
        self.resolve = resolve
        self.count = self.read = 0

    def value(self, node: Any, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            raise WireError("un valor con demasiados elementos o niveles")
        if type(node) is list:
            return [self.value(v, depth + 1) for v in node]
        if type(node) is not dict:  # None, bool, int, float o str: no hay más en JSON
            return node
        kind = node.get("t")
        if kind == "map":
            return {k: self.value(v, depth + 1) for k, v in node["v"].items()}
        if kind == "dict":
            return {self.value(k, depth + 1): self.value(v, depth + 1) for k, v in node["v"]}
        if kind == "tuple":
            return tuple(self.value(v, depth + 1) for v in node["v"])
        if kind == "set":
            return {self.value(v, depth + 1) for v in node["v"]}
        if kind == "tensor":
            return self._tensor(node)
        if kind == "array":
            array = self._load(node).numpy()
            return array if array.ndim else array[()]
        return self.resolve(node)

    def _tensor(self, node: dict[str, Any]) -> torch.Tensor:
        tensor = self._load(node)
        if node.get("grad") is not True:
            return tensor
        gradient = self._load(node["of"]) if "of" in node else None
        if node.get("id") is not None:
            return self.resolve({**node, "tensor": tensor})
        tensor.requires_grad_()
        tensor.grad = gradient
        return tensor

    def _load(self, node: dict[str, Any]) -> torch.Tensor:
        """Los siguientes números: cada byte se lee una sola vez."""
        dtype, shape = _DTYPES[node["d"]], node["s"]
        count = math.prod(shape)
        if count < 1:
            return torch.empty(shape, dtype=dtype)
        flat = torch.frombuffer(self.blob, dtype=dtype, count=count, offset=self.read)
        self.read += count * dtype.itemsize
        return flat.reshape(shape).clone()


def _limited(values: Any) -> list[Any]:
    """Los elementos, si no son demasiados: un generador podría no terminar."""
    found = []
    for item in values:
        found.append(item)
        if len(found) > MAX_VALUES:
            raise WireError("un valor con demasiados elementos")
    return found


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
