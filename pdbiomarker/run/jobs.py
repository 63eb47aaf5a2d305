"""Work in processes of its own: one process per job, any number at a time, none of which can harm the rest.

A pool whose workers take many jobs breaks when one of them is killed, and cannot say over which job. Here a
process does one job and ends: when it is killed, runs out of memory or hangs, that job has failed and the
others go on. A server that has imported the heavy libraries once forks each process, so that a job starts
in milliseconds.

The server runs with one thread per linear-algebra library, a fixed hash seed, UTC and a UTF-8 locale,
whatever the caller has: results have the same bytes from a notebook, a terminal or a cluster. No process
imports from the working directory: a file ``html.py`` in a study folder is data, never code.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Final, Literal

from pdbiomarker.errors import PdBiomarkerError
from pdbiomarker.processes import surrounded

__all__ = ["Ended", "Job", "Tell", "run_jobs"]

#: How a job tells how far it is: a step's name, items done, items in all.
Tell = Callable[[str, int, int], None]

#: What every process has, whatever the caller has: see the module's docstring.
_SURROUNDINGS: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONSAFEPATH": "1",
    "MPLBACKEND": "Agg",
}
_PRELOAD: Final = ["pdbiomarker.run.warm"]
_PR_SET_PDEATHSIG: Final = 1
_LEAST_ADDRESS_SPACE: Final = 16 << 30
_GRACE_SECONDS: Final = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for one process.

    Attributes
    ----------
    name : str
        What it is about, such as a slide id.
    function : str
        ``"package.module:function"``, called as ``function(**arguments, tell=...)``.
    arguments : mapping
        Texts, numbers, lists and dicts of them.
    seconds : float or None
        The process is killed after so long.
    log : str or None
        File that takes what the process and its libraries print; by default standard error.
    """

    name: str
    function: str
    arguments: Mapping[str, Any]
    seconds: float | None = None
    log: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes
    ----------
    job : Job
    how : {"value", "refused", "memory", "disk", "killed", "timeout", "defect"}
        ``refused`` carries an exception of this package, ``defect`` any other.
    value : object
        What the function returned; the exception; or a text that says why.
    """

    job: Job
    how: Literal["value", "refused", "memory", "disk", "killed", "timeout", "defect"]
    value: Any


@dataclasses.dataclass(slots=True)
class _Running:
    job: Job
    process: ForkServerProcess
    connection: Connection
    started: float
    ended: Ended | None = None


def run_jobs(jobs: Sequence[Job], *, workers: int = 1, tell: Tell | None = None) -> Iterator[Ended]:
    """Run jobs in processes of their own and give each as it ends.

    Parameters
    ----------
    jobs : sequence of Job
        Started in this order.
    workers : int
        How many at a time, at least 1.
    tell : callable, optional
        Called with what the jobs tell of their progress.

    Yields
    ------
    Ended
        In the order in which the jobs end. When the caller stops early, or is interrupted, the processes
        that still run are stopped.
    """
    context = multiprocessing.get_context("forkserver")
    waiting = deque(jobs)
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < max(1, workers):
                running.append(_start(context, waiting.popleft()))
            wait([r.connection for r in running] + [r.process.sentinel for r in running], timeout=0.5)
            for one in list(running):
                _listen(one, tell)
                if one.ended is not None:
                    running.remove(one)
                    _release(one)
                    yield one.ended
    finally:
        _stop(running)


def _start(context: ForkServerContext, job: Job) -> _Running:
    context.set_forkserver_preload(_PRELOAD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, job), name=f"pdbiomarker {job.name}")
    with surrounded(_SURROUNDINGS), _without_main(), _without_working_directory():
        with _deaf_to_interrupts():
            forkserver.ensure_running()
        try:
            process.start()
        except BaseException:
            _end_server()
            raise
    sender.close()
    return _Running(job, process, receiver, time.monotonic())


def _end_server() -> None:
    """End the server that starts processes: interrupted, it would start one that lacks its orders."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the run itself decides when they end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from running the caller's script again, which costs time and may not be guarded."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_working_directory() -> Iterator[None]:
    """Keep new processes, which take over our path, from importing what lies in the working directory.

    The directory that holds this package stays: where it is run from its source, that is the working
    directory.
    """
    before = sys.path
    home = Path(__file__).resolve().parents[2]
    unsafe = {Path.cwd().resolve()} - {home}
    sys.path = [entry for entry in before if entry and Path(entry).resolve() not in unsafe]
    try:
        yield
    finally:
        sys.path = before


def _listen(one: _Running, tell: Tell | None) -> None:
    alive = one.process.is_alive()
    try:
        while one.ended is None and one.connection.poll():
            kind, value = one.connection.recv()
            if kind == "tell":
                if tell is not None:
                    tell(*value)
            else:
                one.ended = Ended(one.job, kind, value)
    except (EOFError, OSError):
        alive = False
    if one.ended is not None:
        return
    if not alive:
        one.process.join(_GRACE_SECONDS)
        one.ended = Ended(one.job, "killed", _cause(one.process.exitcode))
    elif one.job.seconds is not None and time.monotonic() - one.started > one.job.seconds:
        one.ended = Ended(one.job, "timeout", f"it ran for more than {one.job.seconds:.0f} s")


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with status {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ", as when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process was ended by signal {-code}"


def _release(one: _Running) -> None:
    one.connection.close()
    if one.ended is not None and one.ended.how == "timeout":
        one.process.kill()
    one.process.join(_GRACE_SECONDS)
    if one.process.is_alive():
        one.process.kill()
        one.process.join()
    one.process.close()


def _stop(running: Sequence[_Running]) -> None:
    for one in running:
        one.process.kill()
    for one in running:
        one.process.join(_GRACE_SECONDS)
        one.connection.close()


# --- in the process of the job -------------------------------------------------------------------------


def _work(connection: Connection, job: Job) -> None:
    _prepare(job)

    def tell(step: str, done: int, of: int) -> None:
        connection.send(("tell", (step, done, of)))

    try:
        module, _, name = job.function.partition(":")
        answer = ("value", getattr(importlib.import_module(module), name)(**job.arguments, tell=tell))
    except PdBiomarkerError as error:
        answer = ("refused", error)
    except MemoryError:
        answer = ("memory", "memory ran out")
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        answer = ("disk", str(error.strerror)) if full else ("defect", traceback.format_exc())
    except Exception:  # a defect of ours in one job must be told, not lost with its process
        answer = ("defect", traceback.format_exc())
    with contextlib.suppress(BrokenPipeError):  # the run has ended: nobody waits for the answer
        connection.send(answer)
        connection.close()


def _end_with_the_run() -> None:
    """See to it that this process ends when the run is killed outright: nobody else would end it.

    The server ends when no process holds its pipe any more, and we end with the server. It gave the pipe to
    us as well, so we close it, or each would wait for the other.
    """
    server = forkserver._forkserver
    pipe = getattr(server, "_forkserver_alive_fd", None)
    if pipe is not None:
        os.close(pipe)
        setattr(server, "_forkserver_alive_fd", None)  # noqa: B010 - unknown to the type stubs
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    run = multiprocessing.parent_process()
    if run is not None and not run.is_alive():  # it ended before that could take effect
        os._exit(1)


def _prepare(job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells everyone; the run itself decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_the_run()
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = max(_LEAST_ADDRESS_SPACE, physical)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    sys.stdout.flush()
    sys.stderr.flush()
    if job.log is not None:
        descriptor = os.open(Path(job.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    else:
        os.dup2(2, 1)
