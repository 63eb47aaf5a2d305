"""What a study folder holds is data: it runs no code, names no machine, and leads nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_study import biopsy, copy, replace, small_study

import pdbiomarker as pb
from pdbiomarker.errors import InputError, Problem
from pdbiomarker.run import RunOutcome

SCRIPT = Path(sys.executable).parent / "pdbiomarker"
COMMANDS = ((sys.executable, "-m", "pdbiomarker"), (str(SCRIPT),))
#: Names of modules of Python and of libraries that a run imports.
SHADOWS = ("html", "colorsys", "numpy", "csv", "yaml", "typer", "secrets", "selectors", "pandas", "cv2")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("hardening") / "plain", slides=False)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("hardening") / "slides")


def run(study: Path, out: Path, **options: Any) -> RunOutcome:
    return pb.run_study(study, out, progress=False, **options)


def refused(study: Path, out: Path, **options: Any) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        run(study, out, **options)
    assert caught.value.exit_code == 3
    return [p for p in caught.value.problems if p.severity == "error"]


# --- no code from the working directory or the study folder ---


@pytest.mark.parametrize("command", COMMANDS, ids=["module", "script"])
@pytest.mark.parametrize("arguments", [("run", ".", "-o", "../o"), ("check", ".")], ids=["run", "check"])
def test_no_file_of_the_working_directory_is_run(
    plain: Path, tmp_path: Path, command: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    if not Path(command[0]).exists():
        pytest.skip("the command is not installed as a script")
    study, canary = copy(plain, tmp_path / "study"), tmp_path / "PWNED"
    for name in SHADOWS:
        (study / f"{name}.py").write_text(f"open({str(canary)!r}, 'w').write({name!r})\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    done = subprocess.run(
        [*command, *arguments], cwd=study, env=environment, capture_output=True, text=True, check=False
    )
    assert not canary.exists(), canary.read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
