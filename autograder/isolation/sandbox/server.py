"""El proceso caliente: importa lo que tarda una sola vez, y de él nace, por fork, cada kernel.

Lee de su entrada, en una línea de JSON, las celdas con las que empieza toda entrega, y las ejecuta
también una sola vez.

Se ejecuta dentro de bwrap, que ya lo aísla del disco, de la red y de los demás procesos. Cada
kernel se aísla además de sus hermanos, con sus propios espacios de usuario, procesos, red, IPC y
montajes.

    python server.py CARPETA 0|1      (1: aislar cada kernel; 0: solo separar procesos)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import linecache
import os
import random
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import seccomp

SOCKET = "server"
NOBODY = 65534
CHANNELS = 5  # los sockets de un kernel de Jupyter
WATCH_SECONDS = 0.2

_libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


# Lo que usa cualquier cuaderno, y lo que un kernel importa al arrancar o la primera vez que hace
# algo corriente (retropropagar, por ejemplo).
PRELOADED = [
    "agent",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "ipywidgets",
    "matplotlib.font_manager",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "numpy.ctypeslib",
    "numpy.random",
    "tornado.platform.asyncio",
    "torch",
    "torch.fx.experimental.symbolic_shapes",
    "tqdm.auto",
]


PRELUDE_FAILED = 3  # el código de salida si falla el preámbulo


@dataclass
class Left:
    """Lo que deja el preámbulo a cada kernel y no hereda él solo."""

    names: dict[str, Any] | None = None
    random: tuple | None = None  # Python da otra semilla a cada proceso que nace


left = Left()


def warm_up() -> None:
    """Importa lo que se usará, con un solo hilo."""
    for name in PRELOADED:
        importlib.import_module(name)
    torch = sys.modules["torch"]
    torch.set_num_threads(1)
    x = torch.zeros(2, 8, 8, requires_grad=True)  # que mire ya qué procesador es: está en /proc
    values = torch.nn.Linear(8, 8)(x)
    torch.nn.functional.scaled_dot_product_attention(x, x, values).sum().backward()


def run_prelude(sources: list[str]) -> None:
    """Ejecuta las celdas con las que empieza una entrega: ningún kernel tendrá que repetirlas.

    Lo que escriban se pierde.
    """
    if not sources:
        return
    left.names = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        for number, source in enumerate(sources):
            name = f"<celda {number}>"
            linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
            exec(compile(source, name, "exec"), left.names)
    left.random = random.getstate()


def settle() -> None:
    """Deja el proceso listo para bifurcarse: no puede tener más de un hilo."""
    gc.collect()
    gc.freeze()  # que el recolector de un kernel no toque, y así copie, lo que comparte con este
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("el proceso caliente tiene más de un hilo")


@dataclass
class Kernel:
    """Un kernel en marcha, o cómo terminó."""

    memory_limit: int
    code: int | None = None
    reason: str = ""


def serve(folder: Path, isolated: bool) -> None:
    """Atiende peticiones, una línea de JSON cada una, hasta que se cierra la entrada estándar."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    starting = folder / f"{SOCKET}.nuevo"
    listener.bind(str(starting))
    listener.listen(64)
    starting.rename(folder / SOCKET)  # quien espera a que exista puede llamar ya: hay quien escuche
    kernels: dict[int, Kernel] = {}
    next_look = 0.0
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], WATCH_SECONDS)
        _reap(kernels)
        if time.monotonic() > next_look:
            _limit_memory(kernels)
            next_look = time.monotonic() + WATCH_SECONDS
        if sys.stdin in ready:
            break
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            request = json.loads(connection.makefile("rb").readline())
            answer = _answer(request, folder, isolated, kernels, listener)
            connection.sendall(json.dumps(answer).encode() + b"\n")
    for pid, kernel in kernels.items():
        _kill(pid, kernel)


def _answer(
    request: dict[str, Any],
    folder: Path,
    isolated: bool,
    kernels: dict[int, Kernel],
    listener: socket.socket,
) -> dict[str, Any]:
    if request["do"] == "start":
        limits = request["limits"]
        try:
            pid = _start(folder / request["kernel"], isolated, limits, listener)
        except OSError as error:
            return {"error": str(error)}
        kernels[pid] = Kernel(limits["memory"])
        return {"pid": pid}
    pid, kernel = request["pid"], kernels[request["pid"]]
    if request["do"] == "signal" and kernel.code is None:
        if request["signal"] == signal.SIGKILL:
            _kill(pid, kernel)
        else:
            os.kill(pid, request["signal"])
    return {"code": kernel.code, "reason": kernel.reason}


def _kill(pid: int, kernel: Kernel, reason: str = "") -> None:
    """Mata un kernel y a todos sus procesos, y espera a que hayan muerto."""
    if kernel.code is not None:
        return
    os.kill(pid, signal.SIGKILL)
    kernel.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    kernel.reason = reason


def _reap(kernels: dict[int, Kernel]) -> None:
    """Anota los kernels que han terminado."""
    for pid, kernel in _alive(kernels).items():
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            kernel.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _alive(kernels: dict[int, Kernel]) -> dict[int, Kernel]:
    return {pid: kernel for pid, kernel in kernels.items() if kernel.code is None}


def _limit_memory(kernels: dict[int, Kernel]) -> None:
    """Mata los kernels que gastan demasiada memoria."""
    alive = _alive(kernels)
    if not alive:
        return
    parents, own = _processes()
    for pid, kernel in alive.items():
        if _memory(pid, parents, own) > kernel.memory_limit:
            _kill(pid, kernel, "memoria")


def _processes() -> tuple[dict[int, int], dict[int, int]]:
    """De cada proceso, su padre y los bytes que ocupa sin contar lo que viene de archivos."""
    parents, own = {}, {}
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, KeyError):
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
            pid = int(path.parent.name)
            sizes = (fields.get(name, "0").split()[0] for name in ("RssAnon", "RssShmem"))
            parents[pid] = int(fields["PPid"])
            own[pid] = 1024 * sum(map(int, sizes))
    return parents, own


def _memory(root: int, parents: dict[int, int], own: dict[int, int]) -> int:
    """Los bytes de un kernel y sus descendientes, sin los que comparten con este proceso."""
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    shared = own.get(os.getpid(), 0)
    return sum(max(0, own.get(pid, 0) - shared) for pid in family)


# --- Un kernel ------------------------------------------------------------------------------------


def _start(home: Path, isolated: bool, limits: dict[str, int], listener: socket.socket) -> int:
    """Bifurca un kernel cuya carpeta de conexión es `home`, y devuelve su pid.

    Aislado, es el proceso 1 de su propio espacio de procesos: al matarlo mueren con él todos los
    que haya creado. Lo crea un intermediario (nadie entra él mismo en un espacio de procesos
    nuevo), que termina enseguida y deja el kernel a cargo de este proceso.

    Raises:
        OSError: si el sistema no permite el aislamiento.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(home, isolated, limits, listener, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    if not isolated and not text:
        return child
    os.waitpid(child, 0)
    if not text.isdigit():
        raise OSError(text)
    return int(text)


def _child(
    home: Path, isolated: bool, limits: dict[str, int], listener: socket.socket, writer: int
) -> NoReturn:
    """El proceso recién bifurcado: se aísla si hace falta, y se convierte en kernel."""
    try:
        if not isolated:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            limits["spent"] = _private_bytes()
            _become_kernel(home, home / "scratch", limits, listener)
        _enter_namespaces()
        pid = os.fork()
        if pid:
            _seal(pid)
            os.write(writer, str(pid).encode())
            os._exit(0)
        limits["spent"] = _private_bytes()  # antes de tapar /proc
        _mount(home, limits["disk"])
        _drop_capabilities()
        seccomp.install()
        resource.setrlimit(resource.RLIMIT_NPROC, (limits["processes"],) * 2)
        _become_kernel(Path("/kernel"), Path("/scratch"), limits, listener)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writer, str(error).encode())
    os._exit(1)


def _enter_namespaces() -> None:
    """Espacios propios de usuario, procesos, red, IPC y montajes, sin privilegios fuera."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # si no, /proc/self seguiría siendo de root
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(NEWUSER | NEWPID | NEWNET | NEWIPC | NEWNS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _mount(home: Path, disk: int) -> None:
    """Deja a la vista solo la carpeta de conexión del kernel, y discos en memoria con límite."""
    _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    _check(_libc.mount(str(home).encode(), b"/kernel", None, MS_BIND, None), "mount /kernel")
    hidden = {str(home.parent): 4096, "/proc": 4096, "/scratch": disk, "/dev/shm": disk}
    for place, size in hidden.items():
        options = f"size={size},mode=700".encode()
        flags = MS_NOSUID | MS_NODEV
        _check(_libc.mount(b"tmpfs", place.encode(), b"tmpfs", flags, options), f"mount {place}")


def _seal(kernel: int) -> None:
    """Cuando el kernel ya ha creado sus sockets, deja su carpeta en solo lectura: está en disco."""
    while len(list(Path("/kernel").glob("socket-*"))) < CHANNELS:
        if os.waitpid(kernel, os.WNOHANG)[0]:
            raise OSError("el kernel no arrancó")
        time.sleep(0.005)
    locked = os.statvfs("/kernel").f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | locked
    _check(_libc.mount(None, b"/kernel", None, flags, None), "mount /kernel")


def _drop_capabilities() -> None:
    """Sin capacidades no se puede desmontar lo que tapa a los demás."""
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # versión 3; este proceso
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _private_bytes() -> int:
    """La memoria de datos que este proceso ya ha reservado."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if "VmData" in line))


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _become_kernel(
    home: Path, work: Path, limits: dict[str, int], listener: socket.socket
) -> NoReturn:
    """Cierra lo que es del servidor y se convierte en un kernel corriente de IPython."""
    listener.detach()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_DATA, (limits["spent"] + limits["memory"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["disk"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(work)
    os.environ.update(HOME=str(work), TMPDIR=str(work), IPYTHONDIR=f"{work}/.ipython")
    tempfile.tempdir = None
    from ipykernel.kernelapp import IPKernelApp

    arguments = ["-f", str(home / "connection.json"), "--HistoryManager.enabled=False"]
    arguments += ["--InteractiveShell.enable_tip=False"]  # el consejo se elige con `random`
    app = IPKernelApp.instance(user_ns=left.names)
    app.initialize(arguments)
    if left.random:
        random.setstate(left.random)
    app.start()
    os._exit(0)


def check_isolation() -> None:
    """Termina con un error, que lee quien arrancó este proceso, si el sistema no deja aislar."""
    child = os.fork()
    if child == 0:
        try:
            _enter_namespaces()
            seccomp.install()
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[2] == "1":
        check_isolation()
    warm_up()
    try:
        run_prelude(json.loads(sys.stdin.readline()))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(PRELUDE_FAILED)
    settle()
    serve(Path(sys.argv[1]), isolated=sys.argv[2] == "1")
