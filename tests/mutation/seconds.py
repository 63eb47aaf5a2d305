"""A plugin that writes what each test took, as soon as it is known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for each phase of a test."""
    target = os.environ.get("PDBIOMARKER_SECONDS")
    if target and "PYTEST_XDIST_WORKER" not in os.environ:
        entry = {
            "test": report.nodeid,
            "seconds": report.duration,
            "outcome": report.outcome,
            "when": report.when,
        }
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
