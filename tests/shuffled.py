"""A study with every kind of sheet, and the same study with the rows of every sheet in another order."""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path

from small_study import draw_slide, replace

from pdbiomarker import simulate_study

#: Biopsies that get a slide: of the first participants of the sheet.
_SLIDES = 4


def whole_study(folder: Path, *, seed: int = 3, n_participants: int = 8, genes: int = 120) -> Path:
    """Simulate a trial with counts and a clinic, and give it slides of 300 pixels and an override."""
    simulate_study(folder, seed=seed, n_participants=n_participants, genes=genes, slides=False)
    rows = (folder / "biopsies.csv").read_text(encoding="utf-8").splitlines()[1:]
    biopsies = [row.split(",")[1] for row in rows][:_SLIDES]
    (folder / "slides").mkdir()
    lines = ["slide_id,biopsy_id,path,batch,scanner"]
    for k, biopsy in enumerate(biopsies):
        draw_slide(folder / "slides" / f"{biopsy}.tif", seed=k, positive=12 + 9 * k)
        lines.append(f"S{biopsy},{biopsy},slides/{biopsy}.tif,B{k % 2 + 1},X")
    _write(folder / "slides.csv", lines)
    replace(folder / "study.yaml", "assays:\n", "assays:\n  ihc: {slides: slides.csv, panel: cd8}\n")
    return folder


def shuffle_study(study: Path, target: Path, *, seed: int) -> Path:
    """Copy a study; draw the order of the rows of every sheet, and of rows and columns of the counts."""
    shutil.copytree(study, target)
    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    for path in sorted(target.rglob("*.csv")):
        header, *rows = path.read_text(encoding="utf-8").splitlines()
        draw.shuffle(rows)
        _write(path, [header, *rows])
    path = target / "counts.csv.gz"
    table = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    columns = list(range(1, len(table[0])))
    draw.shuffle(columns)
    header, *rows = ([row[0], *(row[c] for c in columns)] for row in table)
    draw.shuffle(rows)
    text = "".join(",".join(row) + "\n" for row in [header, *rows])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return target


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
