"""One small study and one undisturbed run of it, for every test of faults."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_kills import Event, Runs, undisturbed, warm
from fault_study import fault_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fault_study(tmp_path_factory.mktemp("kills") / "study")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with warm(tmp_path_factory.mktemp("warm")) as runs:
        yield runs


@pytest.fixture(scope="session")
def whole(run: Runs, study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A run from the command line that nothing disturbed, and what it did to its folder."""
    root = tmp_path_factory.mktemp("whole")
    events, _ = undisturbed(run, study, root / "out", root / "events.txt")
    return root / "out", events


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a disk of so many MB; only root can."""
    made: list[Path] = []

    def make(megabytes: int) -> Path:
        place = tmp_path / f"disk{len(made)}"
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
        if os.geteuid() or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
            pytest.skip("a disk of its own needs root")
        made.append(place)
        return place

    yield make
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=True)
