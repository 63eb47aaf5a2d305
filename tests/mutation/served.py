"""Serves one copy of the tree: loads the packages of others once, then runs tests in a child per request."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time


def _run(tests: list[str]) -> int:
    """Run tests until one fails; the product is loaded here, as it lies in the folder now."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    # What is loaded before pytest cannot have its asserts rewritten: these are packages of others.
    options = [
        "-x",
        "-q",
        "--here",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
        "-p",
        "no:cacheprovider",
    ]
    return int(pytest.main([*options, "-p", "no:xdist", "-p", "no:cov", *tests]))


def _judged(tests: list[str], limit: float) -> str:
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        with contextlib.suppress(BaseException):
            code = _run(tests)
        os._exit(code)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def main() -> None:
    """Answer requests, one line each, until the input ends."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"verdict": _judged(asked["tests"], asked["limit"])}), flush=True)


if __name__ == "__main__":
    main()
