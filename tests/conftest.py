"""Shared fixtures."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--slow`: simulations at full size; `--here`: bad inputs in this process, without bounds."""
    parser.addoption("--slow", action="store_true", help="run simulations at full size")
    parser.addoption(
        "--here", action="store_true", help="read bad inputs in this process, without its bounds"
    )


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
