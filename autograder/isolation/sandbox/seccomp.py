"""Un filtro de llamadas al sistema para los kernels, además de los espacios de nombres.

Niega lo que ningún ejercicio necesita y permitiría gastar memoria que no es de ningún proceso
(`memfd_create`, `shmget`, montar un disco en memoria), crear más espacios de nombres o mirar en
otros procesos. Los números son los de `asm/unistd.h` de cada arquitectura.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
DENIED = {  # nombre: (x86_64, aarch64)
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "setns": (308, 268),
    "shmget": (29, 194),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}

_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # en `struct seccomp_data`
_X32, _NEW_NAMESPACE = 0x40000000, 0x7E020000  # los CLONE_NEW*
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


def install() -> None:
    """Pone el filtro a este proceso y a los que cree; no se puede quitar.

    Raises:
        OSError: si el sistema no lo admite, o si su arquitectura no está en la tabla.
    """
    program = _program(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filled = Program(len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _program(machine: str) -> bytes:
    """El filtro, en BPF: instrucciones de (código, salto si sí, salto si no, valor)."""
    if machine not in ARCHITECTURES:
        raise OSError(f"la arquitectura {machine} no tiene filtro de llamadas")
    column = list(ARCHITECTURES).index(machine)
    rules = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_deny(_IF_ANY_BIT, _X32),
        *_deny(_IF_EQUAL, CLONE3, errno.ENOSYS),  # glibc prueba entonces con clone
    ]
    for numbers in DENIED.values():
        rules += _deny(_IF_EQUAL, numbers[column])
    rules += [
        (_IF_EQUAL, 0, 3, CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *_deny(_IF_ANY_BIT, _NEW_NAMESPACE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *rule) for rule in rules)


def _deny(test: int, value: int, error: int = errno.EPERM) -> list[tuple[int, int, int, int]]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, _ERRNO | error)]
