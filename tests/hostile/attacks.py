"""Entregas hostiles: cada una intenta ganar puntos, leer, escribir o tumbar a quien corrige.

Ninguna resuelve nada: cada punto que gane es un punto robado. `{secret}` es un archivo con un
secreto que el ataque no debe poder leer, y `{canary}`, uno que no debe poder cambiar.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.notebooks import grade_id
from tests.support import published

NAME = "06_autoatencion"


@dataclass(frozen=True)
class Attack:
    """Un ataque: código para una celda al principio, o en lugar de una respuesta."""

    kind: str
    name: str
    code: str
    cell: str = ""
    dangerous: bool = False  # sin aislar, dañaría la máquina en la que se prueba

    def notebook(self, secret: str, canary: str) -> NotebookNode:
        """Una entrega que no merece ningún punto, con el ataque dentro."""
        notebook = copy.deepcopy(published("release", NAME))
        code = self.code.replace("{secret}", secret).replace("{canary}", canary)
        answers = {self.cell: code} if self.cell else DECOYS
        for cell in notebook.cells:
            if grade_id(cell) in answers:
                cell.source = f"# ejercicio: {grade_id(cell)}\n{answers[grade_id(cell)]}"
        if not self.cell:
            notebook.cells.insert(0, new_code_cell(code))
        return notebook


CLASS, MAP, PLOT, TOPK = "ej1a_clase", "ej1b_mapa", "ej1b_dibujo", "ej1b_lista"

# Respuestas que superan las pruebas visibles y ninguna de las ocultas: quien consiga cambiar las
# ocultas gana sus puntos.
DECOYS = {
    MAP: "def attention_map(model, ids):\n    return torch.zeros(2, 4, 4)",
    PLOT: "def plot_attention(weights, tokens, ax=None):\n"
    "    ax = plt.figure().add_subplot()\n    ax.imshow(torch.zeros(2, 2))\n    return ax",
    TOPK: 'def top_k_attention(weights, tokens, k=3):\n    return [[("x", 0.0)], [("x", 0.0)]]',
}

# Una capa que se deja construir y llamar; lo que devuelve lo pone cada ataque.
LAYER = """
class MultiHeadSelfAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.1):
        super().__init__()
        self.size, self.heads = embed_dim, num_heads

    def forward(self, x, mask=None, causal=False):
"""

YES = """
class Yes:
    def __init__(self, *a, **k): pass
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return Yes()
    def __call__(self, *a, **k): return Yes()
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __hash__(self): return 1
    def __bool__(self): return True
    def __len__(self): return 2
    def __iter__(self): return iter([Yes(), Yes()])
    def __getitem__(self, key): return Yes()
    def __float__(self): return 1.0
    def __int__(self): return 1
    def __index__(self): return 1
    def __neg__(self): return self
    def __add__(self, other): return self
    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __add__
    __and__ = __or__ = __invert__ = lambda self, *a: self
"""

ATTACKS = [
    # --- Reescribir las pruebas ---
    Attack(
        "reescribir",
        "transformador de entrada",
        'get_ipython().input_transformers_post.append(lambda lines: ["pass\\n"])',
    ),
    Attack(
        "reescribir",
        "run_cell que siempre va bien",
        """
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
def run_cell(self, raw_cell, *a, **k):
    return ExecutionResult(None)
InteractiveShell.run_cell = run_cell
InteractiveShell.run_cell_async = lambda self, *a, **k: __import__("asyncio").sleep(0, ExecutionResult(None))
""",
    ),
    Attack(
        "reescribir",
        "errores que no se enseñan",
        """
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.showtraceback = lambda self, *a, **k: None
InteractiveShell._showtraceback = lambda self, *a, **k: None
get_ipython().set_custom_exc((BaseException,), lambda *a, **k: None)
""",
    ),
    Attack(
        "reescribir",
        "cada celda enseña un 100",
        """
import sys
shell = get_ipython()
shell.events.register("post_run_cell", lambda r: shell.displayhook(100.0))
sys.displayhook = lambda value: shell.displayhook.__class__.__call__(shell.displayhook, 100.0)
""",
    ),
    Attack(
        "reescribir",
        "funciones de serie cambiadas",
        """
import builtins
builtins.isinstance = lambda *a: True
builtins.all = builtins.any = builtins.abs = lambda *a, **k: True
builtins.AssertionError = type("AssertionError", (Exception,), {"__new__": lambda c, *a: None})
""",
    ),
    Attack(
        "reescribir",
        "torch.allclose que siempre dice sí",
        """
import torch
for name in ("allclose", "equal", "isclose", "isfinite"):
    setattr(torch, name, lambda *a, **k: True)
""",
    ),
    Attack(
        "reescribir",
        "la clase de todos los iguales",
        YES
        + "MultiHeadSelfAttention = attention_map = plot_attention = from_self_attention = Yes()\n"
        "top_k_attention = lambda *a, **k: [[('a', 1.0)], [('b', 1.0)]]",
        CLASS,
    ),
    Attack(
        "reescribir",
        "traza que salta los assert",
        """
import sys
def trace(frame, event, arg):
    frame.f_trace_lines = True
    if event == "exception" and arg[0] is AssertionError:
        frame.f_locals.clear()
    return trace
sys.settrace(trace)
get_ipython().events.register("pre_run_cell", lambda info: sys.settrace(trace))
""",
    ),
    Attack(
        "reescribir",
        "código de las pruebas, cambiado por dentro",
        """
try:
    import autograder.checks as checks
    def grade(notebook, exercise, *answers):
        return 1.5
    checks.grade.__code__ = grade.__code__
except ImportError:
    pass
""",
    ),
    Attack(
        "reescribir",
        "módulo de pruebas falso",
        """
import sys, types
fake = types.ModuleType("autograder.checks")
fake.grade = lambda *a: 1.5
sys.modules["autograder"] = types.ModuleType("autograder")
sys.modules["autograder.checks"] = fake
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("autograder"):
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
""",
    ),
    Attack(
        "reescribir",
        "al salir, todo bien",
        """
import atexit
atexit.register(lambda: print("100"))
get_ipython().events.register("post_execute", lambda: print("100.0"))
""",
    ),
    Attack(
        "reescribir",
        "una señal cada milisegundo",
        """
import signal
def handler(number, frame):
    while frame:
        if frame.f_code.co_name == "_run":
            frame.f_locals["results"] = []
        frame = frame.f_back
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
""",
    ),
    Attack(
        "reescribir",
        "buscar las pruebas en la memoria",
        """
import gc
def attention_map(model, ids):
    found = [o for o in gc.get_objects() if callable(o) and getattr(o, "__name__", "") == "expected_map"]
    if found:
        state = {k: v for k, v in model.state_dict().items()}
        return found[0](state, ids)
    import sys
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if isinstance(value, torch.Tensor) and value.dim() == 3:
                return value
        frame = frame.f_back
    return torch.zeros(2, 3, 3)
""",
        MAP,
    ),
    Attack(
        "reescribir",
        "el agente, en manos ajenas",
        """
try:
    import agent
    agent.Agent.answer = lambda self, request: 100.0
except ImportError:
    pass
""",
    ),
    # --- Mentir en los mensajes ---
    *(
        Attack(
            "mentir",
            f"respuestas que son {name}",
            f"""
try:
    import agent
    def serve(path, namespace):
        import socket, struct, pickle, os
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        while connection.recv(100000):
            connection.sendall({answer})
    agent.serve = serve
except ImportError:
    pass
""",
        )
        for name, answer in {
            "basura": "b'\\\\xff' * 1000",
            "pickle": "pickle.dumps(os.getcwd)",
            "un mensaje inmenso": "struct.pack('<II', 2**32 - 1, 2**32 - 1) + b'0' * 10**6",
            "JSON sin fondo": "struct.pack('<II', 200000, 0) + b'[' * 200000",
            "tensores imposibles": "struct.pack('<II', 14, 12) + b'{\"value\": 1.0}' + b'\\\\xff' * 12",
            "referencias inventadas": (
                "(lambda t: struct.pack('<II', len(t), 0) + t)"
                '(b\'{"t": "dict", "v": [["value", {"t": "ref", "id": 7, "name": "x"}]]}\')'
            ),
        }.items()
    ),
    # --- Leer ---
    Attack(
        "leer",
        "el curso y las demás entregas",
        """
import os
for path in ("{secret}", os.path.dirname("{secret}"), "/root", "/home", "/etc/passwd"):
    try:
        print(open(path).read() if os.path.isfile(path) else os.listdir(path))
    except OSError as error:
        print(error)
""",
    ),
    Attack("leer", "las variables de entorno", "import os\nprint(dict(os.environ))"),
    Attack(
        "leer",
        "los demás procesos",
        """
import glob, os
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + glob.glob("/proc/*/root"):
    try:
        print(open(path, "rb").read())
    except OSError as error:
        print(error)
try:
    import ctypes
    ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)
    print(open(f"/proc/{os.getppid()}/mem", "rb").read(10))
except OSError as error:
    print(error)
""",
        dangerous=True,  # detendría a quien corrige
    ),
    Attack(
        "leer",
        "lo que está tapado",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flags in (0x10000000, 0x10020000):
    print(libc.unshare(flags))
for place in (b"/proc", b"/kernels", b"/scratch", b"/dev/shm"):
    print(place, libc.umount2(place, 2))
print(libc.mount(b"proc", b"/proc", b"proc", 0, None), os.listdir("/proc")[:9], os.listdir("/kernels"))
assert os.listdir("/kernels") == [], "SECRETO"
""",
        dangerous=True,
    ),
    Attack(
        "leer",
        "las pruebas ocultas",
        """
import os, sys
for folder in sys.path + ["/"]:
    for root, _, files in os.walk(folder or "."):
        if root.count("/") > 6 or "site-packages" in root:
            continue
        for file in files:
            if "autoatencion" in file and file.endswith((".py", ".ipynb")):
                print("SECRETO", os.path.join(root, file))
""",
    ),
    # --- Escribir ---
    Attack(
        "escribir",
        "el libro de notas y lo demás",
        """
import os, shutil
for path in ("{canary}", "{secret}"):
    for action in (lambda: open(path, "w").write("100"), lambda: os.remove(path), lambda: os.chmod(path, 0)):
        try:
            action()
        except OSError as error:
            print(error)
shutil.rmtree(os.path.dirname("{canary}"), ignore_errors=True)
""",
    ),
    Attack(
        "escribir",
        "las bibliotecas y el propio agente",
        """
import os, sys, torch
places = [torch.__file__, os.__file__, "/usr/bin/python3"]
places += [sys.modules[name].__file__ for name in ("agent", "wire") if name in sys.modules]
for place in places:
    try:
        os.access(place, os.W_OK) and "site-packages" not in place and open(place, "a").close()
        open(place + ".intruso", "w").write("1")
        os.remove(place + ".intruso")
        print("SECRETO")
    except OSError as error:
        print(error)
""",
        dangerous=True,
    ),
    Attack(
        "agotar",
        "memoria que no es de ningún proceso",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
tries = {
    "memfd": lambda: os.memfd_create("x"),
    "shm": lambda: libc.shmget(0, 10**9, 0o1600) < 0 and 1 / 0,
    "espacio": lambda: libc.unshare(0x10020000) and 1 / 0,
    "hijo": lambda: libc.syscall(56, 0x10020000 | 17, 0, 0, 0, 0) < 0 and 1 / 0,
    "disco": lambda: libc.mount(b"t", b"/scratch", b"tmpfs", 0, None) and 1 / 0,
}
for name, attempt in tries.items():
    try:
        attempt()
        print("SECRETO", name)
    except (OSError, ZeroDivisionError) as error:
        print(name, error)
""",
        dangerous=True,
    ),
    Attack(
        "escribir",
        "cualquier carpeta que no sea la suya",
        """
import os
for root, folders, _ in os.walk("/"):
    if root.startswith(("/scratch", "/dev/shm", "/proc", "/kernels")) or root.count("/") > 4:
        continue
    try:
        open(os.path.join(root, "intruso"), "w").write("x" * 10**6)
        print("SECRETO", root)
        os.remove(os.path.join(root, "intruso"))
    except OSError:
        pass
""",
        dangerous=True,
    ),
    # --- La red ---
    Attack(
        "red",
        "dentro y fuera",
        """
import socket, os
for address in (("127.0.0.1", {port}), ("1.1.1.1", 53), ("::1", {port})):
    try:
        socket.create_connection(address, 1)
        print("SECRETO")
    except OSError as error:
        print(error)
for path in ("/kernels/server", "\\0atencion"):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect(path)
        print("SECRETO")
    except OSError as error:
        print(error)
""",
    ),
    # --- Agotar ---
    Attack("agotar", "bucle sin fin", "while True: pass"),
    Attack(
        "agotar",
        "bomba de procesos",
        """
import os
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            pass
if os.fork() == 0:
    bomb()
""",
        dangerous=True,
    ),
    Attack(
        "agotar",
        "bomba de hilos",
        """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(1000,)).start()
""",
        dangerous=True,
    ),
    Attack(
        "agotar", "memoria", "big = []\nwhile True: big.append(bytearray(10**7))", dangerous=True
    ),
    Attack(
        "agotar",
        "memoria, repartida entre procesos",
        """
import os, time
for _ in range(20):
    if os.fork() == 0:
        big = bytearray(b"1" * 200_000_000)
        time.sleep(100)
time.sleep(100)
""",
        dangerous=True,
    ),
    Attack(
        "agotar",
        "disco",
        """
import os, tempfile
for i in range(100):
    with open(os.path.join(tempfile.gettempdir(), f"grande{i}"), "wb") as file:
        for _ in range(100):
            file.write(bytes(10**7))
""",
        dangerous=True,
    ),
    Attack("agotar", "gigas de salida", "while True: print('x' * 10**6)", dangerous=True),
    Attack(
        "agotar",
        "un tensor inmenso",
        LAYER + "        return torch.zeros(1).expand(10**11), torch.zeros(1).expand(10**11)\n",
        CLASS,
        dangerous=True,
    ),
    Attack(
        "agotar",
        "una lista dentro de sí misma",
        "def top_k_attention(*a, **k):\n    row = []\n    row.append(row)\n    return [row, row]",
        TOPK,
    ),
    Attack(
        "agotar",
        "un generador sin fin",
        "def top_k_attention(*a, **k):\n    while True:\n        yield ('a', 1.0)",
        TOPK,
    ),
    Attack("agotar", "llamada que no vuelve", LAYER + "        while True: pass\n", CLASS),
    Attack(
        "agotar",
        "no atiende a interrupciones",
        """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    time.sleep(1)
""",
    ),
    Attack(
        "agotar",
        "matar a todos",
        """
import os, signal
for pid in (os.getppid(), 1, -1, os.getpid()):
    try:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        print(error)
os._exit(0)
""",
        dangerous=True,
    ),
    # --- Hacerse pasar por otra cosa ---
    Attack(
        "mentir",
        "un tensor que dice que sí a todo",
        """
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True
"""
        + LAYER
        + "        return x.as_subclass(Liar), x.as_subclass(Liar)\n",
        CLASS,
    ),
    Attack(
        "mentir",
        "un número que siempre es el que hace falta",
        """
class Number(float):
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __abs__(self): return 0.0
    def __lt__(self, other): return True
    def __eq__(self, other): return True
    __hash__ = float.__hash__
class Word(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def top_k_attention(weights, tokens, k=3):
    return [[(Word("x"), Number(5))] * min(k, len(tokens)) for _ in tokens]
""",
        TOPK,
    ),
    Attack(
        "mentir",
        "pickles",
        """
class Evil:
    def __reduce__(self):
        return (open, ("{canary}", "w"))
def top_k_attention(*a, **k):
    import pickle
    return [pickle.dumps(Evil()), Evil()]
""",
        TOPK,
    ),
    Attack(
        "mentir",
        "nan por todas partes",
        "def attention_map(model, ids):\n    n = int((ids != 0).sum())\n"
        "    return torch.full((2, n, n), float('nan'))",
        MAP,
    ),
    Attack(
        "mentir",
        "tipos raros y textos inmensos",
        """
def top_k_attention(*a, **k):
    return ["x" * 10**8, 10**5000, 1j, b"1", range(3), {1: object()}]
def plot_attention(*a, **k):
    return "x" * 10**7
""",
        TOPK,
        dangerous=True,
    ),
    Attack(
        "mentir",
        "HTML, escapes y JavaScript",
        """
from IPython.display import HTML, Javascript, display
display(HTML("<script>alert(1)</script>"), Javascript("alert(1)"))
print("\\x1b[2J\\x1b]0;SECRETO\\x07")
def top_k_attention(*a, **k):
    raise ValueError("<script>alert(1)</script>\\x1b[2J\\x1b]0;titulo\\x07")
""",
        TOPK,
    ),
]


def forged(notebook: NotebookNode, how: str) -> NotebookNode:
    """La entrega vacía con sus metadatos de nbgrader falsificados."""
    cells = {grade_id(c): c for c in notebook.cells if grade_id(c)}
    if how == "celdas de pruebas reescritas":
        for cell in cells.values():
            if cell.metadata["nbgrader"]["grade"] and cell.cell_type == "code":
                cell.source = "100.0"
    elif how == "celdas de pruebas inventadas y repetidas":
        for cell in list(cells.values()):
            double = nbformat.from_dict(copy.deepcopy(cell))
            double.source, double["id"] = "100.0", f"copia-{cell.id}"
            notebook.cells.append(double)
            extra = new_code_cell("100.0", metadata=copy.deepcopy(cell.metadata))
            extra.metadata["nbgrader"]["grade_id"] += "_mas"
            notebook.cells.append(extra)
    elif how == "identificadores y puntos cambiados":
        for cell in cells.values():
            cell.metadata["nbgrader"]["points"] = 1000
            cell.metadata["nbgrader"]["solution"] = True
        cells["ej1a_atencion"].metadata["nbgrader"]["grade_id"] = "ej1a_clase"
    return notebook


FORGERIES = [
    "celdas de pruebas reescritas",
    "celdas de pruebas inventadas y repetidas",
    "identificadores y puntos cambiados",
]
