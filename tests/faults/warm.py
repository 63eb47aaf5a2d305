"""Starts runs from a process that has imported everything: ``python -m pdbiomarker``, three times as fast.

Reads requests from standard input, a JSON object a line: ``arguments`` (after ``pdbiomarker``),
``environment`` (added to ours), ``log`` (takes standard error). For each, a process in a session of its own
leads the run, and the server that starts its jobs is a fork of that process instead of a new interpreter;
everything else is the product's. Answers ``pid`` when it has started and ``status`` when it has ended, a line
each.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing.forkserver
import multiprocessing.util
import os
import re
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pdbiomarker.run.warm  # noqa: F401 - so that runs need not
from pdbiomarker.cli import main

_SERVER = re.compile(r"main\((\d+), (\d+),")
_spawn = multiprocessing.util.spawnv_passfds


def _spawn_server(path: str, args: Sequence[str], passed: Sequence[int]) -> int:
    """Fork the server of jobs from this process; start anything else as usual."""
    found = _SERVER.search(args[-1]) if "forkserver" in args[-1] else None
    if found is None:
        return int(_spawn(path, args, passed))
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        kept = {0, 1, 2, *passed}
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are numbers
            if int(name) not in kept:
                with contextlib.suppress(OSError):  # the listing itself
                    os.close(int(name))
        server = multiprocessing.forkserver._forkserver
        server._forkserver_alive_fd = server._forkserver_pid = None
        multiprocessing.forkserver.main(int(found[1]), int(found[2]), [])
    except SystemExit:
        status = 0
    finally:
        os._exit(status)


def _lead(request: dict[str, object]) -> None:
    """Become a run."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may ignore it
    environment = request["environment"]
    os.environ.update(environment)
    for descriptor, name in ((0, os.devnull), (1, os.devnull), (2, str(request["log"]))):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    multiprocessing.util.spawnv_passfds = _spawn_server
    if "FAULT_EVENTS" in os.environ:
        runpy.run_path(str(Path(__file__).parent / "hook" / "sitecustomize.py"))
    sys.argv = ["pdbiomarker", *request["arguments"]]
    main()


def serve() -> None:
    """Answer requests until there are no more."""
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _lead(request)
            return
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
