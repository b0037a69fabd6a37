"""Lo que cuesta un kernel aislado, frente a uno corriente: arrancarlo, su memoria y cada llamada.

python benchmarks/kernels.py
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from pathlib import Path

import torch
from jupyter_client.manager import AsyncKernelManager
from measuring import digits, ratio, table

from autograder.isolation.provisioner import SandboxKernelManager
from autograder.isolation.trusted import AgentListener
from autograder.isolation.warm import WarmServer
from autograder.limits import Limits

REPEATS = 10
CALLS = 300
LIMITS = {"memory": Limits.memory, "disk": Limits.disk, "processes": Limits.processes}


async def ready(manager: AsyncKernelManager) -> tuple[float, object]:
    """Los segundos hasta que un kernel nuevo ha importado torch y responde."""
    start = time.perf_counter()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    await client.execute_interactive("import torch, matplotlib.pyplot", timeout=60)
    return time.perf_counter() - start, client


async def stop(manager: AsyncKernelManager, client: object) -> None:
    client.stop_channels()
    await manager.shutdown_kernel(now=True)


def private_megabytes(pid: int) -> float:
    """La memoria de un proceso que no comparte con nadie."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def pid_outside(manager: SandboxKernelManager) -> int:
    """El pid de un kernel aislado visto desde fuera: el único con su número dentro."""
    inside = str(manager.provisioner.pid)
    server = manager.provisioner.server.process.pid
    for path in Path("/proc").glob("[0-9]*/status"):
        fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
        pids = fields["NSpid"].split()
        if len(pids) == 3 and pids[1] == inside and descends(int(pids[0]), server):
            return int(pids[0])
    raise LookupError("no se encuentra el kernel")


def descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.split("PPid:")[1].split()[0])
    return False


async def call_milliseconds(manager: SandboxKernelManager, client: object) -> list[float]:
    """Lo que tarda cada llamada a un módulo del kernel, con un tensor pequeño."""
    await client.execute_interactive("import torch\nlayer = torch.nn.Linear(16, 16)")
    listener, times = AgentListener(manager.home), []

    def trusted() -> None:
        channel = listener.accept(time.monotonic() + 60)
        layer, x = channel.request("name", name="layer"), torch.randn(8, 16)
        for _ in range(CALLS):
            start = time.perf_counter()
            layer(x)
            times.append(1000 * (time.perf_counter() - start))
        channel.connection.close()

    worker = threading.Thread(target=trusted)
    worker.start()
    await client.execute_interactive("__import__('agent').serve('/kernel/agent', globals())")
    worker.join()
    listener.close()
    return times


async def main() -> None:
    start = time.perf_counter()
    server = WarmServer()
    warming = time.perf_counter() - start
    cold, warm, memory = [], [], []
    for _ in range(REPEATS):
        manager = AsyncKernelManager(kernel_name="python3")
        seconds, client = await ready(manager)
        cold.append(seconds)
        await stop(manager, client)
        manager = SandboxKernelManager(server, LIMITS)
        seconds, client = await ready(manager)
        warm.append(seconds)
        memory.append(private_megabytes(pid_outside(manager)))
        calls = await call_milliseconds(manager, client)
        await stop(manager, client)
    server.close()
    usual, isolated = statistics.median(cold), statistics.median(warm)
    spread = " y ".join(f"de {min(v):.2f} a {max(v):.2f}" for v in (cold, warm))
    header = ["hasta que responde, con PyTorch importado", "corriente", "aislado", "razón"]
    row = [f"segundos (mediana de {REPEATS})", digits(usual), digits(isolated)]
    print(table(header, [[*row, ratio(usual, isolated)]]))
    print(
        f"\nLos segundos van {spread}. El proceso caliente tarda {warming:.2f} s en arrancar, una "
        f"sola vez; cada kernel aislado ocupa {statistics.median(memory):.0f} MB suyos, y una "
        f"llamada a un módulo con un tensor [8, 16], {statistics.median(calls):.2f} ms (medianas)."
    )


if __name__ == "__main__":
    asyncio.run(main())
