"""Sound inputs of every format, from which the bad ones are made: small, and the same on every machine."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from bad_inputs.case import Make

STUDY: Mapping[str, str] = {
    "study.yaml": (
        "id: BAD-1\n"
        "data_cutoff: 2025-06-30\n"
        "visits:\n"
        "  screening: [-28, -1]\n"
        "  C2D1: {day: 29, window: 7}\n"
        "adequacy: {viable_tumor_cells: 100}\n"
        "assays:\n"
        "  rna: {kind: count, file: counts.csv}\n"
        "  ihc: {slides: slides.csv, panel: cd8}\n"
    ),
    "plan.yaml": (
        'formula: "~ visit + (1|participant)"\n'
        "contrasts: {on_treatment: C2D1 - screening}\n"
        "families: {genes: rna}\n"
        "seed: 1\n"
    ),
    "participants.csv": (
        "participant_id,cohort,dose_mg,sex,age,weight_kg,first_dose_datetime,biopsy_consent\n"
        "P1,A,10,F,61,70.5,2025-02-01T09:00,yes\n"
        "P2,A,10,M,55,81,2025-02-03T09:00,yes\n"
        "P3,B,30,F,70,64,2025-02-05T09:00,yes\n"
    ),
    "biopsies.csv": (
        "participant_id,biopsy_id,visit,study_day,collection_date,site,core,viable_tumor_cells,"
        "tumor_content_pct,archival\n"
        "P1,P1-S,screening,-7,2025-01-25,liver,1,500,60,no\n"
        "P1,P1-T,C2D1,29,2025-03-01,liver,1,400,55,no\n"
        "P2,P2-S,screening,-7,2025-01-27,lung,1,300,40,no\n"
        "P2,P2-T,C2D1,29,2025-03-03,lung,1,350,45,no\n"
        "P3,P3-S,screening,-7,2025-01-29,skin,1,600,70,no\n"
        "P3,P3-T,C2D1,29,2025-03-05,skin,1,650,75,no\n"
    ),
    "libraries.csv": (
        "library_id,biopsy_id,batch\nL1,P1-S,R1\nL2,P1-T,R1\nL3,P2-S,R2\nL4,P2-T,R2\nL5,P3-S,R1\nL6,P3-T,R1\n"
    ),
    "slides.csv": (
        "slide_id,biopsy_id,path,mpp,batch,scanner\n"
        "S1,P1-S,slides/S1.tif,0.5,R1,A\nS2,P1-T,slides/S2.tif,0.5,R1,A\n"
    ),
    "slides/S1.tif": "one",
    "slides/S2.tif": "two",
}
GENES = tuple(f"GENE{k:03d}" for k in range(60))
LIBRARIES = ("L1", "L2", "L3", "L4", "L5", "L6")


def counts() -> np.ndarray:
    """Counts of 60 genes x 6 libraries, all different, no gene without reads."""
    draw = np.random.default_rng(11)
    level = draw.lognormal(5, 1, len(GENES))
    return draw.poisson(level[:, None] * draw.lognormal(0, 0.1, (1, len(LIBRARIES)))) + 1


def matrix(
    values: np.ndarray | list[list[object]] | None = None,
    genes: tuple[str, ...] | list[str] = GENES,
    libraries: tuple[str, ...] | list[str] = LIBRARIES,
    *,
    sep: str = ",",
    end: str = "\n",
    corner: str = "gene",
) -> str:
    rows = counts().tolist() if values is None else [list(row) for row in values]
    lines = [sep.join([corner, *libraries])]
    lines += [sep.join([g, *map(str, row)]) for g, row in zip(genes, rows, strict=True)]
    return end.join(lines) + end


STUDY = {**STUDY, "counts.csv": matrix()}


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        path.write_bytes(data)
    return folder


def study(**files: str | bytes | None) -> Make:
    """The study folder with files put in place of its own (None: left out); ``__`` stands for ``.``."""
    changed = {name.replace("__", ".").replace("_slash_", "/"): text for name, text in files.items()}
    return study_with(changed)


def study_with(changed: Mapping[str, str | bytes | None]) -> Make:
    def make(folder: Path) -> Path:
        return write(folder, {k: v for k, v in {**STUDY, **changed}.items() if v is not None})

    return make


def edited(file: str, *swaps: tuple[str, str], base: Mapping[str, str] = STUDY) -> Make:
    """The study folder with texts of one file exchanged; each must be there."""
    text = base[file]
    for old, new in swaps:
        if old not in text:
            raise ValueError(f"{file} has no {old!r}")
        text = text.replace(old, new)
    return study_with({**base, file: text})


def cell(file: str, line: int, column: str, value: str, base: Mapping[str, str] = STUDY) -> Make:
    """The study folder with one cell of one sheet changed; `line` as a text editor counts it."""
    return study_with({**base, file: with_cell(base[file], line, column, value)})


def with_cell(text: str, line: int, column: str, value: str) -> str:
    rows = [row.split(",") for row in text.splitlines()]
    rows[line - 1][rows[0].index(column)] = value
    return "".join(",".join(row) + "\n" for row in rows)


def without_column(text: str, column: str) -> str:
    rows = [row.split(",") for row in text.splitlines()]
    place = rows[0].index(column)
    return "".join(",".join(row[:place] + row[place + 1 :]) + "\n" for row in rows)


def one(name: str, content: str | bytes | Callable[[], str | bytes]) -> Make:
    """A single file."""

    def make(folder: Path) -> Path:
        data = content if isinstance(content, str | bytes) else content()
        write(folder, {name: data})
        return folder / name

    return make


def packed(text: str | bytes) -> bytes:
    return gzip.compress(text.encode() if isinstance(text, str) else text, mtime=0)
