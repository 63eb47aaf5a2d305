"""Shared fixtures."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import pdbiomarker as pb

if TYPE_CHECKING:
    from pdbiomarker.run import RunOutcome

ROOT = Path(__file__).resolve().parents[1]

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Where Python is told to keep no compiled modules, as in many containers, each process that the tests start
# compiles again all that it imports, for longer than most of them work.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: What begins the first half of the tests and what the second, so one worker of two and the other: that which
#: starts whole runs. The fixtures of a room are then built once, and no long test is left for the end.
_FIRST = (
    ("faults/", "slurm/", "test_notebooks.py", "report/", "plot/"),
    ("run/test_workflow.py", "test_readme.py", "test_run", "run/", "test_cli.py"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--slow`: simulations at full size; `--here`: bad inputs in this process, without bounds."""
    parser.addoption("--slow", action="store_true", help="run simulations at full size")
    parser.addoption(
        "--here", action="store_true", help="read bad inputs in this process, without its bounds"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests for two workers; with `--slow` give every property at least 1,000 examples."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = _in_halves(items)
    name = "_hypothesis_internal_use_settings"
    for item in items if config.getoption("--slow") else ():
        test = getattr(item, "obj", None)
        own = getattr(test, name, None)
        if own is not None:
            setattr(test, name, settings(own, max_examples=max(1000, own.max_examples)))


def _in_halves(items: list[pytest.Item]) -> list[pytest.Item]:
    begins = [[i for part in first for i in items if _lies_in(i, part)] for first in _FIRST]
    begins = [list(dict.fromkeys(begin)) for begin in begins]
    taken = {item for begin in begins for item in begin}
    rest = [item for item in items if item not in taken]
    room = max(0, len(items) // 2 - len(begins[0]))
    return [*begins[0], *rest[:room], *begins[1], *rest[room:]]


def _lies_in(item: pytest.Item, part: str) -> bool:
    return item.path.relative_to(ROOT / "tests").as_posix().startswith(part)


def _shared_root() -> Path:
    return Path(os.environ.get("PDBIOMARKER_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a real data set, by its path below `data/` of the shared folder.

    In CI a missing file is a failure; elsewhere the test is skipped, because the data are third-party
    and not part of this repository. `PDBIOMARKER_SHARED` names another folder.
    """
    return lambda name: _shared_file("data", name)


@pytest.fixture(scope="session")
def shared_golden() -> Callable[[str], Path]:
    """Path of an R reference result that may not be copied here, by its path below `golden/`."""
    return lambda name: _shared_file("golden", name)


def _shared_file(part: str, name: str) -> Path:
    path = _shared_root() / part / name
    if path.exists():
        return path
    message = f"real data missing: {part}/{name} (set PDBIOMARKER_SHARED to the folder that holds it)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference numbers kept in this repository, with the scripts that made them."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def sound_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study with slides, for every module that changes nothing in it."""
    from small_study import small_study  # heavy, and most tests do without

    return small_study(tmp_path_factory.mktemp("sound") / "study")


@pytest.fixture(scope="session")
def sound_run(sound_study: Path) -> RunOutcome:
    """One whole run of it, two slides at a time; not to be changed: copy it."""
    return pb.run_study(sound_study, sound_study.parent / "out", workers=2, progress=False)
