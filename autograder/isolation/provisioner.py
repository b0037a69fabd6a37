"""Los kernels aislados, como los pide Jupyter: un gestor de kernels y su aprovisionador."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

import zmq
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerBase
from traitlets import Any as AnyTrait
from traitlets import Dict

from autograder.isolation.warm import WarmServer

NAME = "atencion-aislado"  # el del punto de entrada, en pyproject.toml
NOBODY = 65534
INNER_CONNECTION = "connection.json"
MAX_MESSAGE = 8 * 2**20
MAX_WAITING = 100
START_SECONDS = 60


class SandboxProvisioner(KernelProvisionerBase):
    """Pide el kernel al proceso caliente, y lo mata entero cuando se termina con él."""

    server: WarmServer = AnyTrait()  # type: ignore[assignment]
    limits: dict[str, int] = Dict()  # type: ignore[assignment]
    pid: int | None = None
    code: int | None = None

    @property
    def manager(self) -> Any:
        """El `SandboxKernelManager` que lo creó."""
        return self.parent

    @property
    def has_process(self) -> bool:
        return self.pid is not None and self.code is None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        manager = self.manager
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        manager = self.manager
        inside = {**json.loads(Path(manager.connection_file).read_text())}
        if self.server.isolated:  # la misma carpeta, con el nombre que tiene dentro
            inside["ip"] = f"/kernel/{Path(manager.ip).name}"
        path = manager.home / INNER_CONNECTION
        path.write_text(json.dumps(inside))
        path.chmod(0o644)
        self.pid = self.server.start(manager.home.name, self.limits)
        # Si el cliente llegara antes que el kernel, tardaría más en volver a intentarlo.
        while len(list(manager.home.glob("socket-*"))) < 5 and await self.poll() is None:
            await asyncio.sleep(0.005)
        return self.connection_info

    async def poll(self) -> int | None:
        if self.pid is None:
            return 0
        if self.code is None:
            self.code, self.manager.death_reason = self.server.poll(self.pid)
        return self.code

    async def wait(self) -> int | None:
        while (code := await self.poll()) is None:
            await asyncio.sleep(0.05)
        return code

    async def send_signal(self, signum: int) -> None:
        if self.pid is not None:
            self.server.signal(self.pid, signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.kill()

    async def cleanup(self, restart: bool = False) -> None:
        if not restart:
            shutil.rmtree(self.manager.home, ignore_errors=True)


class _Client(AsyncKernelClient):
    """Un cliente que sabe que el kernel está listo en cuanto lo está."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Como el de jupyter_client, sin los 0.2 s que ese espera siempre por si llega algo más.

        Raises:
            RuntimeError: si el kernel no responde a tiempo, o ha muerto.
        """
        deadline = time.monotonic() + (timeout or START_SECONDS)
        while time.monotonic() < deadline and await self.is_alive():
            request = self.kernel_info()
            with contextlib.suppress(Empty):  # aún no oye lo que se publica: otra vez
                while not _says_idle(await self.get_iopub_msg(timeout=0.2), request):
                    pass
                await self.get_shell_msg(timeout=1)
                return
        raise RuntimeError("El kernel aislado no arrancó.")


def _says_idle(message: dict[str, Any], request: str) -> bool:
    answers = message["parent_header"].get("msg_id") == request
    return answers and message["content"].get("execution_state") == "idle"


class _OneKernel(KernelSpecManager):
    """Solo conoce un tipo de kernel: el nuestro, que no hace falta instalar."""

    config_of_provisioner: dict[str, Any] = Dict()  # type: ignore[assignment]

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        provisioner = {"provisioner_name": NAME, "config": self.config_of_provisioner}
        metadata = {"kernel_provisioner": provisioner}
        return KernelSpec(display_name="aislado", language="python", metadata=metadata)


class SandboxKernelManager(AsyncKernelManager):
    """Un gestor de kernels aislados, que hablan por sockets de archivo en su propia carpeta."""

    death_reason: str = ""

    def __init__(self, server: WarmServer, limits: dict[str, int]):
        self.home = server.folder / uuid4().hex[:12]
        self.home.mkdir(mode=0o700)
        if server.isolated and os.geteuid() == 0:
            os.chown(self.home, NOBODY, NOBODY)
        if not server.isolated:
            (self.home / "scratch").mkdir()
        specs = _OneKernel(config_of_provisioner={"server": server, "limits": limits})
        super().__init__(
            transport="ipc",
            ip=str(self.home / "socket"),
            connection_file=str(self.home / "manager.json"),
            kernel_spec_manager=specs,
            client_factory=_Client,
        )
        # Lo que un kernel puede hacer guardar a este proceso: mensajes de un tamaño, y pocos.
        self.context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self.context.setsockopt(zmq.RCVHWM, MAX_WAITING)

    def kill_at_once(self) -> None:
        """Mata el kernel y todos sus procesos, atienda o no."""
        provisioner: Any = self.provisioner
        provisioner.server.signal(provisioner.pid, signal.SIGKILL)
