"""The long campaign of kills: ``python tests/faults/campaign.py -n 60 -t 60 -o kills.csv``.

A small study is run once undisturbed. Then, in folders of their own, runs are ended by SIGKILL, `n` of them
at events (before a file of the results folder is opened, renamed or removed; stages and victims in turn, the
event within the stage drawn from the seed) and `t` of them at times (drawn from the seed within the stage's
length; where exactly they hit depends on the machine). The same command, without flags, goes on at once.
Every file must then be the undisturbed run's, but run.log and the `run` part of the manifest, and no
temporary file may be left. With --workflow it is the Snakemake workflow that is killed and given again: at
events alone, Snakemake with its step, Snakemake alone, a step alone (which Snakemake takes again), a job of a
step.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fault_kills import (
    STAGES,
    Kill,
    Runs,
    Who,
    arguments,
    cold,
    draw_events,
    events_of,
    hooked,
    kill_at_event,
    kill_at_time,
    strays,
    undisturbed,
    warm,
)
from fault_study import fault_study
from small_study import fingerprint
from snakemake_study import workflows

COLUMNS = ("number", "how", "stage", "victim", "where", "ended", "again", "same_bytes", "strays")


def main() -> int:
    """Run the campaign; the status is the number of kills after which something differed, at most 100."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--events", type=int, default=60)
    parser.add_argument("-t", "--times", type=int, default=60)
    parser.add_argument("-s", "--seed", type=int, default=1)
    parser.add_argument("-c", "--cold", action="store_true", help="start every run as a user does (slow)")
    parser.add_argument("-w", "--workflow", action="store_true", help="kill the Snakemake workflow")
    parser.add_argument("-o", "--out", type=Path, default=Path("kills.csv"))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = cold(root) if options.cold else stack.enter_context(warm(root))
        study = fault_study(root / "study")
        events, begins = undisturbed(run, study, root / "whole", root / "events.txt")
        whole = fingerprint(root / "whole")
        if options.workflow:
            run = workflows(root)
            run(arguments(study, root / "flow"), hooked(root / "flow", root / "flow.txt")).wait()
            events, victims = events_of(root / "flow.txt"), ("group", "leader", "lead", "worker")
            kills = draw_events(events, options.events, seed=options.seed, victims=victims)
        else:
            kills = draw_events(events, options.events, seed=options.seed)
            kills += _draw_times(begins, options.times, seed=options.seed)
        rows = []
        with options.out.open("w", encoding="utf-8", newline="") as handle:
            table = csv.writer(handle, lineterminator="\n")
            table.writerow(COLUMNS)
            for number, kill in enumerate(kills, start=1):
                row = _one(run, number, kill, study, root, whole)
                if kill.event is not None:
                    event = events[kill.event - 1]
                    row["where"] = f"{event.who}: {event.kind} {_named(event.path)}"
                rows.append(row)
                table.writerow([row[c] for c in COLUMNS])
                handle.flush()
    return min(100, _summary(rows))


def _draw_times(begins: dict[str, float], n: int, *, seed: int) -> list[Kill]:
    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    marks = list(begins.items())
    spans = [(name, marks[k + 1][1] - begin) for k, (name, begin) in enumerate(marks[:-1])]
    victims: tuple[Who, ...] = ("group", "lead", "worker")
    kills = []
    for k in range(n):
        stage, length = spans[k % len(spans)]
        kills.append(Kill(victims[(k // len(spans) + k) % 3], stage, seconds=draw.uniform(0, length)))
    return kills


def _one(
    run: Runs, number: int, kill: Kill, study: Path, root: Path, whole: dict[str, str]
) -> dict[str, object]:
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out.with_name("out.work"), ignore_errors=True)
    stage = kill.stage
    if kill.event is not None:
        ended = kill_at_event(run, study, out, kill, root / "log.txt")
        where = ""
    else:
        ended, stage = kill_at_time(run, study, out, kill)
        where = f"{kill.seconds:.3f} s into {kill.stage}"
    again = run(arguments(study, out), {}).wait()  # at once, without a flag
    found = fingerprint(out) if out.exists() else {}
    differ = sorted(n for n in {*found, *whole} if found.get(n) != whole.get(n))
    if differ or again:
        print(
            number,
            kill,
            "differs:",
            differ[:5],
            (root / "stderr.txt").read_text(encoding="utf-8")[-500:],
            flush=True,
        )
    return {
        "number": number,
        "how": "event" if kill.event is not None else "time",
        "stage": stage,
        "victim": kill.who,
        "where": where,
        "ended": ended,
        "again": again,
        "same_bytes": "yes" if not differ else f"no: {differ[0]}",
        "strays": ";".join(strays(out)) or "none",
    }


def _named(path: str) -> str:
    """A path without what differs from run to run."""
    folder, _, name = path.rpartition("/")
    shown = f".partial-*{Path(name).suffix}" if name.startswith(".partial") else name
    return f"{folder}/{shown}" if folder else shown


def _summary(rows: list[dict[str, object]]) -> int:
    good = [r for r in rows if r["again"] == 0 and r["same_bytes"] == "yes" and r["strays"] == "none"]
    kills, fine = Counter(r["stage"] for r in rows), Counter(r["stage"] for r in good)
    for stage in STAGES:
        print(f"{stage:<10} {kills[stage]:>4} kills {fine[stage]:>4} gone on with, same bytes")
    print(f"{'all':<10} {len(rows):>4} kills {len(good):>4} gone on with, same bytes")
    return len(rows) - len(good)


if __name__ == "__main__":
    sys.exit(main())
