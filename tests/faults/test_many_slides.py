"""One bad slide among many: it is left out with its reason, and costs the others nothing."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from small_study import draw_slide, fingerprint, replace, small_study

import pdbiomarker as pb

_BAD = "P03-T"


def many_slides(folder: Path, n: int) -> Path:
    """A study of slides alone, two of each participant; no two have the same content."""
    small_study(folder, slides=False)
    (folder / "counts.csv.gz").unlink()
    replace(
        folder / "study.yaml",
        "rna: {kind: count, file: counts.csv.gz}",
        "ihc: {slides: slides.csv, panel: cd8}",
    )
    replace(folder / "plan.yaml", "genes: rna", "primary: [ihc:CD8_density]")
    (folder / "slides").mkdir()
    people = [f"P{k + 1:02d}" for k in range(n // 2)]
    rows = {
        "participants": ["participant_id,dose_mg,first_dose_datetime"]
        + [f"{person},10,2025-02-01T09:00" for person in people],
        "biopsies": ["participant_id,biopsy_id,visit,study_day,viable_tumor_cells"],
        "slides": ["slide_id,biopsy_id,path"],
    }
    for k, person in enumerate(people):
        for visit, (letter, label, day) in enumerate((("S", "screening", -7), ("T", "C2D1", 29))):
            name = f"{person}-{letter}"
            draw_slide(
                folder / "slides" / f"{name}.tif", seed=2 * k + visit, positive=10 + k % 7 + 12 * visit
            )
            rows["biopsies"].append(f"{person},{name},{label},{day},150")
            rows["slides"].append(f"{name},{name},slides/{name}.tif")
    for sheet, lines in rows.items():
        (folder / f"{sheet}.csv").write_text("".join(f"{x}\n" for x in lines), encoding="utf-8", newline="\n")
    return folder


def test_fault_47_60_one_bad_slide_among_many(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """8 slides here, 100 with --slow."""
    n = 100 if request.config.getoption("--slow") else 8
    study = many_slides(tmp_path / "study", n)
    replace(study / "slides.csv", f"{_BAD},{_BAD},slides/{_BAD}.tif\n", "")
    without = pb.run_study(study, tmp_path / "without", workers=2, progress=False)
    assert without.exit_code == 0
    sheet = study / "slides.csv"
    sheet.write_text(
        sheet.read_text(encoding="utf-8") + f"{_BAD},{_BAD},slides/{_BAD}.tif\n", encoding="utf-8"
    )
    path = study / "slides" / f"{_BAD}.tif"
    path.write_bytes(path.read_bytes()[:30_000])  # cut short
    outcome = pb.run_study(study, tmp_path / "out", workers=2, progress=False)
    assert outcome.exit_code == 4
    ours, theirs = fingerprint(outcome.out), fingerprint(without.out)
    slides = {name for name in theirs if name.startswith(("slides/", ".done/slide-", "assays/"))}
    assert len(slides) == (n - 1) * 7 + 1
    assert {name for name in slides if ours[name] != theirs[name]} == set()
    tables = ("pd_change", "changes", "robustness", "decisions_cohort", "responders")
    assert all(ours[f"results/{name}.csv"] == theirs[f"results/{name}.csv"] for name in tables)
    with (outcome.out / "results" / "quarantine.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert (row["item"], row["kind"]) == (_BAD, "slide")
    assert row["code"].startswith("E-SLIDE-")
    assert row["reason"]
    assert row["remedy"]
    first = (outcome.out / "review.html").read_text(encoding="utf-8").partition("</section>")[0]
    text = re.sub(r"<[^>]+>", " ", first)
    assert re.search(rf"{n // 2 - 1} of {n // 2}\b.*1 slide quarantined", text, re.DOTALL), text[-3000:]
    assert row["code"] in text
    assert _BAD in text
