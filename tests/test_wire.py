"""El formato entre procesos: lo que va vuelve igual, y lo que llega mal es un error y nada más."""

import contextlib
import json
import math
import socket
import struct
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.isolation.proxies import Channel
from autograder.isolation.sandbox import wire

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]


def refuse(value):
    raise wire.WireError(f"un {type(value).__name__}")


def roundtrip(value):
    return wire.decode(wire.encode(value, refuse), refuse)


def tensors():
    shapes = st.lists(st.integers(0, 4), max_size=4)
    return st.builds(lambda s, d: torch.randint(0, 2, s).to(d), shapes, st.sampled_from(DTYPES))


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
arrays = st.builds(
    lambda shape, kind: np.arange(math.prod(shape)).reshape(shape).astype(kind),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),  # sin ejes, es un número
    st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?"]),
)
values = st.recursive(
    scalars | tensors() | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4)
        | st.frozensets(st.text() | st.integers(), max_size=4).map(set)
    ),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return one == other or (one != one and other != other)


@given(values)
@settings(deadline=None)
def test_every_allowed_value_comes_back_equal(value):
    assert same(value, roundtrip(value))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_a_value_or_a_wire_error(data):
    framed = struct.pack("<II", len(data), 0) + data
    for message in (data, framed, struct.pack("<II", 0, len(data)) + data):
        with contextlib.suppress(wire.WireError):
            wire.decode(message, refuse)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["t", "v", "i", "id", "grad", "of", "x"]), inner)
        | st.fixed_dictionaries(
            {"t": st.sampled_from(["list", "dict", "set", "tensor", "array", "ref", "tuple"])},
            optional={"v": inner, "i": inner, "id": inner, "grad": inner, "of": inner},
        )
    ),
    max_leaves=15,
)


@given(json_values)
@settings(deadline=None)
def test_any_answer_is_an_error_of_that_call(tree):
    """Responda lo que responda la entrega, quien pregunta recibe un valor o una excepción."""
    ours, theirs = socket.socketpair()
    text = json.dumps(tree).encode()

    def answer():
        wire.receive(theirs)
        theirs.sendall(struct.pack("<II", len(text), 0) + text)

    with ours, theirs:
        worker = threading.Thread(target=answer)
        worker.start()
        channel = Channel(ours, time.monotonic() + 5)
        with contextlib.suppress(NameError, RuntimeError, ValueError, TypeError):
            channel.request("name", name="x")
        worker.join()


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        1j,
        torch.zeros(1).expand(10**9),
        "x" * (wire.MAX_BYTES + 1),
        [0] * (wire.MAX_VALUES + 1),
        iter(lambda: 0, 1),
    ],
    ids=["objeto", "bytes", "complejo", "tensor", "texto", "lista", "sin fin"],
)
def test_what_cannot_travel_is_a_wire_error(value):
    with pytest.raises(wire.WireError):
        wire.encode(value, refuse)


def test_a_value_inside_itself_is_a_wire_error():
    row = []
    row.append(row)
    with pytest.raises(wire.WireError, match="niveles"):
        wire.encode(row, refuse)


def test_subclasses_arrive_as_what_they_are():
    class Liar(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    assert type(roundtrip(Liar(2.0))) is float
    assert type(roundtrip(np.float64(2.0))) is float
    assert isinstance(roundtrip(np.float32(2.0)), np.float32)
    assert roundtrip(np.ma.masked_array([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_a_slow_answer_does_not_outlive_its_deadline():
    ours, theirs = socket.socketpair()

    def trickle():
        for _ in range(20):
            time.sleep(0.1)
            try:
                theirs.sendall(b"\x08")
            except OSError:
                return

    with ours, theirs:
        threading.Thread(target=trickle).start()
        start = time.monotonic()
        channel = Channel(ours, start + 0.5)
        with pytest.raises(TimeoutError):
            channel.request("name", name="x")
        assert time.monotonic() - start < 1.5
        with pytest.raises(TimeoutError):  # y ya no se espera más
            channel.request("name", name="x")


@pytest.mark.parametrize("shape", [(1, 1), (1,), (1, 1, 1), (2, 1), (3, 4)])
def test_a_view_comes_back_as_its_values(shape):
    """De tamaño 1 y con otro paso, PyTorch la llama contigua, y no se deja leer como bytes."""
    view = torch.randn(*shape, 2)[..., 0]
    assert torch.equal(roundtrip(view), view)
