"""The smallest study on which a run takes every step: two participants with slides, counts, a clinic."""

from __future__ import annotations

from pathlib import Path

from small_study import N, small_study


def fault_study(folder: Path) -> Path:
    """Write a study with slides, counts and clinical sheets; each step of a run takes about a second."""
    small_study(folder)
    clinic = folder / "clinical"
    clinic.mkdir()
    doses = [
        f"P{p + 1:02d},2025-02-{1 + k:02d}T09:00,2025-02-{1 + k:02d}T10:00,{10 * (p + 1)},mg,1,{1 + k},given"
        for p in range(N)
        for k in (0, 14)
    ]
    _sheet(clinic / "doses.csv", "participant_id,start,end,amount,unit,cycle,day,status", doses)
    events = [f"P{p + 1:02d},Rash,Skin,{1 + p % 3},2025-02-{10 + p},,no,yes,no" for p in range(N)]
    header = "participant_id,term,system_organ_class,grade,start,end,serious,related,dose_limiting"
    _sheet(clinic / "adverse_events.csv", header, events)
    return folder


def _sheet(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in [header, *rows]), encoding="utf-8", newline="\n")
