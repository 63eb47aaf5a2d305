"""What the how-to pages start from: exports of cells, nCounter lanes, single cells, with a planted change."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from rcc_set import draw, rcc_text
from scipy import sparse

SLIDES = [f"S{k}" for k in range(1, 9)]
BIOPSIES = [f"B{k}" for k in range(1, 9)]


def write_qupath(folder: Path) -> None:
    """Detections and annotations of eight slides, as QuPath exports them; CD8 rises from .1 to .3."""
    folder.mkdir(parents=True)
    draw_ = np.random.default_rng(4)
    place = "Image\tName\tClass\tParent\tROI\tCentroid X µm\tCentroid Y µm"
    cells, areas = [f"{place}\tNucleus: DAB OD mean"], [f"{place}\tNum Detections\tArea µm^2"]
    for k, slide in enumerate(SLIDES):
        share = (0.1 if k % 2 == 0 else 0.3) * draw_.uniform(0.8, 1.25)
        for parent in ("Tumor", "Stroma"):
            areas.append(f"{slide}.svs\t{parent}\t{parent}\tImage\tPolygon\t500\t500\t300\t250000")
            for _ in range(300):
                positive = draw_.random() < share
                call, dab = ("Positive", 0.45) if positive else ("Negative", 0.05)
                x, y = draw_.uniform(0, 1000, 2)
                cells.append(f"{slide}.svs\t{call}\t{call}\t{parent}\tPolygon\t{x:.2f}\t{y:.2f}\t{dab}")
    (folder / "detections.tsv").write_text("\n".join(cells) + "\n", encoding="utf-8")
    (folder / "annotations.tsv").write_text("\n".join(areas) + "\n", encoding="utf-8")


def write_lanes(folder: Path) -> None:
    """Eight lanes of an nCounter run, one of each biopsy; six genes rise by 1.5 on log2."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    base = 2.0 ** np.random.default_rng(99).permutation(np.linspace(1, 11, 60))
    base[:6] = 300.0
    for k, biopsy in enumerate(BIOPSIES):
        effect = {f"GENE{g:02d}": 1.5 for g in range(6)} if k % 2 else {}
        counts = draw(rng, base=base, effect=effect)
        text = rcc_text(counts, lane=k % 12 + 1, sample=biopsy)
        (folder / f"{biopsy}.RCC").write_text(text, encoding="utf-8")


def write_cells(path: Path) -> None:
    """Single cells of eight biopsies with raw counts and types; CD8 T cells double in share."""
    rng = np.random.default_rng(5)
    genes = ["CD8A", "GZMA", "PRF1", *(f"GENE{k:03d}" for k in range(297))]
    obs, rows = [], []
    level = rng.lognormal(0.5, 1.0, len(genes))
    for k, biopsy in enumerate(BIOPSIES):
        n = 60
        share = 0.3 if k % 2 else 0.15
        types = np.where(rng.random(n) < share, "CD8 T", "tumour")
        obs += [(biopsy, kind) for kind in types]
        rows.append(rng.poisson(level * rng.lognormal(0, 0.1, (n, 1))))
    frame = pd.DataFrame(obs, columns=["biopsy_id", "annotation"])
    frame.index = [f"cell{k:04d}" for k in range(len(frame))]
    counts = sparse.csr_matrix(np.vstack(rows).astype(np.float32))
    data = ad.AnnData(counts, obs=frame, var=pd.DataFrame(index=genes))
    path.parent.mkdir(parents=True, exist_ok=True)
    data.write_h5ad(path)
