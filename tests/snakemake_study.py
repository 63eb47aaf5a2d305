"""Run the workflow on a small study, as a person would: a study of a hostile name, one config file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fault_kills import Runs, Started, started, surroundings

ROOT: Final = Path(__file__).parents[1]
WORKFLOW: Final = ROOT / "workflows"
#: A shell would run one half of it and fall over the other.
HOSTILE: Final = 'a study\'s "$(touch ran)" `touch ran`; {b} & ,'


def write_config(folder: Path, study: Path, **more: Any) -> Path:
    """Config file for two batches of the small study, with one core each."""
    content = {
        "study": str(study),
        "results": "the 'results'",
        "slides": {"threads": 1, "minutes_per_job": 0.11},
        "steps": {name: {"mem_mb": 3000, "minutes": 10} for name in ("check", "change", "decide", "report")},
        **more,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def snakemake(folder: Path, *arguments: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Call Snakemake in a working directory, with the interpreter of these tests first on the path."""
    bin_folder = Path(sys.executable).parent
    command = [str(bin_folder / "snakemake"), "--snakefile", str(WORKFLOW / "Snakefile"), *arguments]
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
    )


def workflows(folder: Path) -> Runs:
    """Start the workflow where :mod:`fault_kills` starts runs; Snakemake leads a session of its own."""
    bin_folder = Path(sys.executable).parent

    def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Started:
        study, out = arguments[1], arguments[3]
        write_config(folder, Path(study), results=out)
        log = folder / "stderr.txt"
        profile = ("--profile", str(WORKFLOW / "profiles" / "local"), "--cores", "1")
        command = ["snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), *profile]
        path = f"{bin_folder}:{os.environ['PATH']}"
        more = {"PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1", **environment}
        with log.open("w", encoding="utf-8") as handle:
            process = subprocess.Popen(
                [str(bin_folder / command[0]), *command[1:], "--configfile", "config.json"],
                cwd=folder,
                env=surroundings(**more),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )
        return started(process, log)

    return start


def jobs_of(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Jobs by rule, from what a dry run or a run tells."""
    assert done.returncode == 0, done.stdout + done.stderr
    table = re.search(r"^Job stats:\n(.*?)^total", done.stdout + done.stderr, re.DOTALL | re.MULTILINE)
    rows = [] if table is None else [line.split() for line in table.group(1).splitlines()[2:] if line.strip()]
    return {row[0]: int(row[1]) for row in rows}


def ran_in(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The rules that a run carried out on this machine, in their order."""
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^local(?:rule|checkpoint) (\w+):", done.stdout + done.stderr, re.MULTILINE)
