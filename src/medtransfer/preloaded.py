"""Stages that start without importing: a parent that has the large packages loaded forks a child for each.

A stage spends some 3 seconds on importing torch, timm and MLflow before it does anything. ``medtransfer repro`` starts
one parent, which imports them once, and leaves this project's own modules to the child: it runs the code that is on the
disk, in its own process, as if it had been launched. ``python -m medtransfer`` asks the parent where ``ADDRESS`` names
one, hands its standard streams over, passes signals on, waits, and ends as the child did. Where the parent cannot serve
the request (another interpreter or environment, no parent) the stage runs in the process that was launched.

A child lives no longer than the process that was launched, nor than ``medtransfer repro``. There is no parent where
there is a GPU (a process whose parent has touched the driver cannot use it), nor outside Linux.
"""

import ctypes
import gc
import importlib
import io
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medtransfer.ending import quick_end

ADDRESS = "MEDTRANSFER_PRELOADED"
"""Environment variable: the socket of the parent."""
PACKAGES = ("torch", "torchvision", "timm", "mlflow", "pandas", "pyarrow.parquet", "sklearn.metrics", "scipy.stats")
"""What most stages import, and what takes longest."""
GPUS = ("/dev/nvidiactl", "/dev/kfd")
FREE = ("DVC_", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", ADDRESS)
"""Beginnings of environment variables that no package reads while it is imported; DVC sets some for a stage."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux: the signal that a process gets when its parent ends."""
_WIDTH = 8
"""Bytes of a number."""


def _like() -> list[Any]:
    """Return what has to be the same in both processes for the parent's modules to be those of a launched one."""
    read = {name: value for name, value in os.environ.items() if not name.startswith(FREE)}
    return [sys.executable, list(sys.flags), sorted(map(list, read.items()))]


# The launched process


def run_elsewhere() -> int | None:
    """Let the parent run this command line; return its exit code, or None where this process has to run it."""
    address = os.environ.get(ADDRESS, "")
    if not address:
        return None
    with socket.socket(socket.AF_UNIX) as parent:
        try:
            parent.connect(address)
            request = {"like": _like(), "argv": sys.argv, "path": sys.path, "cwd": str(Path.cwd())}
            content = json.dumps(request | {"env": dict(os.environ)}).encode()
            socket.send_fds(parent, [_bytes(len(content))], [0, 1, 2])
            parent.sendall(content)
            child = _number(parent)
        except OSError:
            return None
        return None if child is None else _wait(parent, child)


def _wait(parent: socket.socket, child: int) -> int:
    def pass_on(number: int, _: Any) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    code = _number(parent)
    if code is None:  # the parent is gone, and its children with it
        code = -signal.SIGKILL
    if code < 0:  # as the child ended, so does this process
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


def _number(parent: socket.socket) -> int | None:
    """Return the next number that the parent says; None where it says nothing more."""
    said = parent.recv(_WIDTH, socket.MSG_WAITALL)
    return int.from_bytes(said, signed=True) if len(said) == _WIDTH else None


def _bytes(number: int) -> bytes:
    return number.to_bytes(_WIDTH, signed=True)


# The parent


class Preloading:
    """The parent of one ``medtransfer repro``; its process starts when the first stage does."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "parent")
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.address)
        self._listening.listen(16)

    def start(self) -> None:
        """Start the process, once; stages that come before it is ready wait for it."""
        if self._process is None:
            program, number = "from medtransfer.preloaded import serve; serve()", self._listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[number],
            )
            self._listening.close()  # so that nobody waits for a parent that has ended

    def end(self) -> None:
        """End the process and its children."""
        self._listening.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


@contextmanager
def preloading() -> Iterator[Preloading | None]:
    """Offer a parent to the stages that start within; None where there can be none."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open") or any(Path(gpu).exists() for gpu in GPUS):
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:  # of mode 700: nobody else can ask
        parent = Preloading(Path(folder))
        os.environ[ADDRESS] = parent.address
        try:
            yield parent
        finally:
            del os.environ[ADDRESS]
            parent.end()


class _Server:
    """Forks a child for every request, tells the one who asked how it ended, and ends those whose asker is gone."""

    def __init__(self, listening: socket.socket, like: list[Any]) -> None:
        self.listening, self.like, self.selector = listening, like, selectors.DefaultSelector()
        self.children: dict[int, tuple[int, socket.socket]] = {}  # by descriptor of the process
        self.selector.register(listening, selectors.EVENT_READ, self._fork)
        self.selector.register(0, selectors.EVENT_READ, self._end)
        self.request: dict[str, Any] | None = None
        self.ended = False

    def serve(self) -> dict[str, Any] | None:
        """Return None at the end; in a child, the request that it is for."""
        while not self.ended:
            for key, _ in self.selector.select():
                key.data(key.fd)
                if self.request or self.ended:
                    break
            if self.request:
                return self.request
        for child, _ in self.children.values():
            _kill(child)
        return None

    def _fork(self, _: int) -> None:
        asker = self.listening.accept()[0]
        try:
            request, streams = _request(asker)
        except (OSError, ValueError):
            asker.close()
            return
        if request["like"] != self.like:
            asker.close()
            _close(streams)
            return
        child = os.fork()
        if not child:
            self.selector.close()
            _close(list(self.children))
            for other in (self.listening, asker, *(other for _, other in self.children.values())):
                other.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            _close(streams)
            self.request = request
            return
        _close(streams)
        process = os.pidfd_open(child)
        self.children[process] = child, asker
        self.selector.register(process, selectors.EVENT_READ, self._ended)
        self.selector.register(asker, selectors.EVENT_READ, lambda _: self._asker_gone(process))
        with suppress(OSError):
            asker.sendall(_bytes(child))

    def _ended(self, process: int) -> None:
        child, asker = self.children.pop(process)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(OSError):
            asker.sendall(_bytes(code))
        self._forget(process, asker)

    def _asker_gone(self, process: int) -> None:
        if process in self.children:
            child, asker = self.children.pop(process)
            _kill(child)
            os.waitpid(child, 0)
            self._forget(process, asker)

    def _forget(self, process: int, asker: socket.socket) -> None:
        for one in (process, asker):
            self.selector.unregister(one)
        os.close(process)
        asker.close()

    def _end(self, _: int) -> None:
        self.ended = True  # nothing is ever written there: the pipe is closed


def _request(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    asker.settimeout(10)
    head, streams, *_ = socket.recv_fds(asker, _WIDTH, 3)
    with asker.makefile("rb") as content:
        found: dict[str, Any] = json.loads(content.read(int.from_bytes(head)))
    asker.settimeout(None)
    return found, streams


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


def _kill(child: int) -> None:
    """End a child and the processes that it has started."""
    for end in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            end(child, signal.SIGKILL)


def _become(request: dict[str, Any], ending: list[int]) -> None:
    """Be ``python -m medtransfer`` as the one who asked was launched; ``ending`` as ``quick_end`` returned it."""
    gc.unfreeze()
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)  # also where the parent is killed
    os.setpgid(0, 0)  # Ctrl-C reaches the process that was launched, which passes it on
    for passed in PASSED_ON:
        signal.signal(passed, signal.default_int_handler if passed == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update({name: value for name, value in request["env"].items() if name != ADDRESS})
    os.chdir(request["cwd"])
    sys.argv, sys.path[:] = request["argv"], request["path"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = io.FileIO(number, "r" if not number else "w", closefd=False)
        buffered = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
        stream = io.TextIOWrapper(buffered, line_buffering=number == 2 or raw.isatty())
        setattr(sys, name, stream)
    random.seed()
    sys.modules["numpy"].random.seed()
    for name in [name for name in sys.modules if name.partition(".")[0] == "medtransfer"]:
        del sys.modules[name]
    runpy.run_module("medtransfer", init_globals={"ENDING": ending}, run_name="__main__", alter_sys=True)


def serve() -> None:
    """Be the parent, until standard input is closed; in a child, be what was asked for."""
    ending = quick_end()
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_IGN)
    like = _like()
    from medtransfer.tracking.store import import_mlflow

    import_mlflow()
    for package in PACKAGES:
        importlib.import_module(package)
    gc.freeze()
    request = _Server(socket.socket(fileno=int(sys.argv[1])), like).serve()
    if request:
        _become(request, ending)
    ending.append(0)
