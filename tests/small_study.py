"""A study folder small enough to run the whole road on it in seconds: 4 participants, 4 slides, 120 genes."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

VISITS = (("screening", -7), ("C2D1", 29))
N = 4
N_WITH_SLIDES = 2
#: CD8+ cells drawn on the slides, by participant and visit; each slide has 100 cells.
POSITIVE = ((12, 36), (15, 40))
GENES = ["GZMA", "PRF1", "CD8A", *(f"GENE{k:03d}" for k in range(117))]


def biopsy(participant: int, visit: int) -> str:
    return f"P{participant + 1:02d}-{'ST'[visit]}"


def small_study(folder: Path, *, slides: bool = True) -> Path:
    """Write the study; CD8 cells triple from screening to C2D1."""
    folder.mkdir(parents=True)
    ihc = "  ihc: {slides: slides.csv, panel: cd8}\n" if slides else ""
    primary = "primary: [ihc:CD8_density], " if slides else ""
    _text(
        folder / "study.yaml",
        "id: SMALL-1\ndata_cutoff: 2025-06-30\n"
        "visits:\n  screening: [-28, -1]\n  C2D1: {day: 29, window: 7}\n"
        "adequacy: {viable_tumor_cells: 100}\n"
        f"assays:\n  rna: {{kind: count, file: counts.csv.gz}}\n{ihc}",
    )
    _text(
        folder / "plan.yaml",
        'formula: "~ visit + (1|participant)"\ncontrasts: {on_treatment: C2D1 - screening}\n'
        f"families: {{{primary}genes: rna}}\nseed: 1\n",
    )
    people = [f"P{p + 1:02d},{10 * (p + 1)},2025-02-01T09:00" for p in range(N)]
    _text(folder / "participants.csv", _lines("participant_id,dose_mg,first_dose_datetime", people))
    rows = [
        f"P{p + 1:02d},{biopsy(p, v)},{name},{day + p},{150 + p},{biopsy(p, v)}"
        for p in range(N)
        for v, (name, day) in enumerate(VISITS)
    ]
    header = "participant_id,biopsy_id,visit,study_day,viable_tumor_cells,library"
    _text(folder / "biopsies.csv", _lines(header, rows))
    write_counts(folder, counts())
    if slides:
        (folder / "slides").mkdir()
        lines = []
        for p in range(N_WITH_SLIDES):
            for v in range(2):
                name = biopsy(p, v)
                draw_slide(folder / "slides" / f"{name}.tif", seed=10 * p + v, positive=POSITIVE[p][v])
                lines.append(f"{name},{name},slides/{name}.tif,B{p % 2 + 1}")
        _text(folder / "slides.csv", _lines("slide_id,biopsy_id,path,batch", lines))
    return folder


def counts() -> list[list[str]]:
    """The count matrix as text, header first."""
    draw = np.random.default_rng(3)
    level = draw.lognormal(5.0, 1.0, len(GENES))
    columns = [biopsy(p, v) for p in range(N) for v in range(2)]
    rows = [["gene", *columns]]
    for g, gene in enumerate(GENES):
        change = 3.0 if g < 3 else 1.0
        mean = [
            level[g] * draw.lognormal(0, 0.2) * (change if v else 1.0) for p in range(N) for v in range(2)
        ]
        rows.append([gene, *map(str, draw.poisson(mean).tolist())])
    return rows


def write_counts(folder: Path, rows: list[list[str]]) -> None:
    text = "".join(",".join(row) + "\n" for row in rows)
    (folder / "counts.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def draw_slide(path: Path, *, seed: int, positive: int, mpp: float | None = 0.5) -> Path:
    """A slide of 300 x 300 pixels: pink tissue on glass, blue nuclei, `positive` of them with a brown rim."""
    draw = np.random.default_rng(seed)
    image = np.full((300, 300, 3), 244.0)
    image[30:270, 30:270] = (232, 214, 226)
    y, x = np.mgrid[0:300, 0:300]
    places = [(r, c) for r in range(46, 262, 22) for c in range(46, 262, 22)]
    chosen = set(draw.permutation(len(places))[:positive].tolist())
    for k, (row, column) in enumerate(places):
        distance = np.hypot(y - row - draw.uniform(-2, 2), x - column - draw.uniform(-2, 2))
        if k in chosen:
            image[distance < 10.5] = (150, 96, 56)
        image[distance < 7] = (92, 84, 150)
    image = np.clip(image + draw.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    metadata: dict[str, Any] = {"axes": "YXS"}
    if mpp is not None:
        metadata |= {"PhysicalSizeX": mpp, "PhysicalSizeXUnit": "µm"}
        metadata |= {"PhysicalSizeY": mpp, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(
        path, image, photometric="rgb", tile=(128, 128), compression="deflate", metadata=metadata, ome=True
    )
    return path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def fingerprint(out: Path) -> dict[str, str]:
    """Hash of every file of a results folder, but the logs and the `run` part of the manifest."""
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = path.relative_to(out).as_posix()
        data = path.read_bytes()
        if name == "manifest.json":
            content = json.loads(data)
            del content["run"]
            data = json.dumps(content, sort_keys=True).encode()
        if name not in {"run.log", "audit.jsonl", "audit.head.json"}:
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def _lines(header: str, rows: list[str]) -> str:
    return "".join(f"{line}\n" for line in [header, *rows])


def _text(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", newline="\n")
