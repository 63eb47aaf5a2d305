"""Size and time of the report of a large study: 60 participants, 20,000 genes, 300 slides, clinical sheets.

Usage: python benchmarks/report.py [FOLDER] [--format html,pdf,pptx,xlsx] [--repeat 3] [--profile]

Makes the result of such a study without drawing a slide (a simulated trial with counts of a few hundred
genes, widened to all; cells of slides drawn as numbers; images of slides copied from a few that look like
tissue), writes its report in every format by itself and in all together, and says bytes, seconds on the
clock and of the processor, load of the machine and peak memory, and how long Chromium takes from opening the
page to the first paint and to the end of loading. Seconds on the clock mean little where the load is above
1: seconds of the main thread are the least that a quiet machine of two processors would take. Tests use
:func:`large_result` for what does not depend on a clock: bytes and rows.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import os
import pstats
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
from anndata import AnnData

import pdbiomarker as pb
from pdbiomarker import ihc
from pdbiomarker.change import PDResult
from pdbiomarker.decide import Review, review_of_plan
from pdbiomarker.report import FORMATS, build, formats_of, pictured, write_report
from pdbiomarker.run.assays import count_assays, expression_tables
from pdbiomarker.run.trial import clinical_tables, with_clinical

PANELS = ("cd8", "ki67", "pdl1")
PLAN = """\
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: C2D1 - screening}
families:
  primary: [ihc:CD8_density, ihc:Ki67_pct]
  panel: ihc
  signatures: rna_signatures
  genes: rna
seed: 1
"""
#: Genes that are really counted and modelled; the others repeat them.
MODELLED = 300
#: Images of slides that are really drawn; the others repeat them. Bytes as those of real overlays.
DRAWN = 5
OVERVIEW, FIELD = (334, 600), (1024, 1024)


def large_result(
    folder: Path, *, participants: int = 60, genes: int = 20_000, slides: int = 300
) -> tuple[PDResult, Review | None]:
    """Make the result of a large study in seconds.

    Parameters
    ----------
    folder : Path
        New or empty; gets the study and the images of its slides.
    participants, genes, slides : int
        How many of each.

    Returns
    -------
    PDResult
        With quality tables, clinical tables and images.
    Review
        Its decisions.
    """
    root = pb.simulate_study(
        folder / "study", seed=8, n_participants=participants, slides=False, genes=MODELLED
    )
    (root / "plan.yaml").write_text(PLAN, encoding="utf-8")
    study = pb.read_study(root)
    counts = count_assays(study, [])
    for name, adata in counts.items():
        study = study.with_assay(name, adata)
    stained = list(_slides(study, slides))
    study = study.with_assay("ihc", _measured(stained))
    plan = pb.Plan.read(root / "plan.yaml", study)
    result = pb.pd_change(study, plan)
    quality = {"slides": _quality(stained), **expression_tables(study, counts)}
    result = dataclasses.replace(result, qc=quality, images=_images(study, stained, folder / "images"))
    result = with_clinical(result, clinical_tables(study))
    return _widened(result, genes), review_of_plan(result)


def _slides(study: pb.Study, n: int) -> Iterator[tuple[str, str, str]]:
    """Slide, biopsy and panel of each slide: every biopsy in every panel until there are enough."""
    planned = [(panel, str(biopsy)) for panel in PANELS for biopsy in study.biopsies.index]
    for k in range(n):
        panel, biopsy = planned[k % len(planned)]
        yield f"{biopsy}-{panel}{k // len(planned) or ''}", biopsy, panel


def _measured(stained: list[tuple[str, str, str]]) -> AnnData:
    draw = np.random.default_rng(8)
    scores = []
    for slide, biopsy, panel in stained:
        n = int(draw.integers(300, 900))
        share = 0.25 if biopsy.endswith(("T", "2")) else 0.12
        grades = np.where(draw.random(n) < share, draw.integers(1, 4, n), 0).astype("int8")
        cells = pd.DataFrame({"class": grades, "compartment": "tissue"})
        areas = {"tissue": float(draw.uniform(0.4, 1.2))}
        scores.append((slide, biopsy, ihc.score_cells(cells, areas, ihc.read_panel(panel))))
    batch = pd.DataFrame(
        {"batch": [f"run{1 + k % 6}" for k in range(len(stained))]}, index=[s for s, _, _ in stained]
    )
    return ihc.assemble(scores, [ihc.read_panel(name) for name in PANELS], facts=batch)


def _quality(stained: list[tuple[str, str, str]]) -> pd.DataFrame:
    draw = np.random.default_rng(9)
    n = len(stained)
    return pd.DataFrame(
        {
            "slide_id": [slide for slide, _, _ in stained],
            "biopsy_id": [biopsy for _, biopsy, _ in stained],
            "assay": "ihc",
            "folder": [slide for slide, _, _ in stained],
            "status": "ok",
            "tissue_mm2": draw.uniform(2, 12, n),
            "n_cells": draw.integers(2_000, 60_000, n),
            "white_red": 244.0,
            "white_green": 243.0,
            "white_blue": 242.0,
            "focus": draw.uniform(0.6, 1.0, n),
            "nodata_share": 0.0,
            "artefact_share": draw.uniform(0, 0.08, n),
        }
    )


def _images(
    study: pb.Study, stained: list[tuple[str, str, str]], folder: Path
) -> dict[str, dict[str, str | Path]]:
    """Images of every slide: files of their own, whose bytes are those of the few that were drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"overview": OVERVIEW, "field": FIELD}
    drawn = {(kind, k): _tissue(shape, seed=k) for kind, shape in kinds.items() for k in range(DRAWN)}
    visits = pb.assign_visits(study)["visit"]
    images: dict[str, dict[str, str | Path]] = {}
    for number, (slide, biopsy, _) in enumerate(stained):
        item: dict[str, str | Path] = {
            "biopsy_id": biopsy,
            "participant_id": str(study.biopsies.at[biopsy, "participant_id"]),
            "visit": str(visits[biopsy] or ""),
        }
        for kind in kinds:
            item[kind] = folder / f"{slide}-{kind}.png"
            Path(str(item[kind])).write_bytes(drawn[kind, number % DRAWN])
        images[slide] = item
    return images


def _tissue(shape: tuple[int, int], *, seed: int) -> bytes:
    """An image with the detail of an overlay: stroma, nuclei with outlines, noise of a scanner; as PNG."""
    draw = np.random.default_rng(seed)
    height, width = shape
    rough = cv2.resize(draw.normal(0, 1, (height // 16, width // 16)), (width, height))
    image = np.stack([225 + 9 * rough, 208 + 14 * rough, 226 + 8 * rough], axis=-1)
    for _ in range(height * width // 520):
        centre = (int(draw.integers(width)), int(draw.integers(height)))
        brown = draw.random() < 0.25
        axes = (int(draw.integers(4, 9)), int(draw.integers(4, 9)))
        inside = (60, 110, 150) if brown else (180, 130, 130)
        cv2.ellipse(image, centre, axes, float(draw.uniform(0, 180)), 0, 360, inside, -1)
        rim = (40, 60, 230) if brown else (230, 150, 40)
        cv2.ellipse(image, centre, axes, float(draw.uniform(0, 180)), 0, 360, rim, 1)
    image = image + draw.normal(0, 2.5, image.shape)
    done, data = cv2.imencode(".png", np.clip(image, 0, 255).astype(np.uint8))
    if not done:
        raise RuntimeError("the image could not be written")
    return bytes(data.tobytes())


def _widened(result: PDResult, genes: int) -> PDResult:
    """Repeat the genes under names of their own until there are as many as asked for."""
    table, changes = result.table, result.changes
    own = table[table["assay"] == "rna"]
    modelled = list(dict.fromkeys(own["feature"]))
    copies = -(-max(genes - len(modelled), 0) // len(modelled))
    rows, moved = [table], [changes]
    values = changes[changes["assay"] == "rna"]
    for k in range(1, copies + 1):
        kept = modelled[: min(len(modelled), genes - k * len(modelled))]
        for source, into in ((own, rows), (values, moved)):
            part = source[source["feature"].isin(kept)]
            named = {"feature": part["feature"].astype(str) + f".{k}"}
            if "label" in part:
                named["label"] = part["label"].astype(str) + f".{k}"
            into.append(part.assign(**named))
    return dataclasses.replace(
        result,
        table=pd.concat(rows, ignore_index=True),
        changes=pd.concat(moved, ignore_index=True),
        clinical=MappingProxyType(dict(result.clinical)),
    )


# --- measuring -----------------------------------------------------------------------------------------


def measure(result: PDResult, review: Review | None, formats: list[str], folder: Path) -> dict[str, Path]:
    """Write every format by itself, and all at once, from the result on, and print what it took."""
    paths = {name: folder / f"review.{name}" for name in formats}
    for names in [*([name] for name in formats), *([formats] if len(formats) > 1 else [])]:
        before, processor, main = time.perf_counter(), _processor(), time.thread_time()
        document = build(result.study, result, review, ahead=pictured(names))
        write_report(document, result, {n: paths[n] for n in names}, review=review)
        wall, processor = time.perf_counter() - before, _processor() - processor
        main, peak = time.thread_time() - main, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        size = sum(paths[n].stat().st_size for n in names) / 1e6
        print(
            f"{','.join(names):22} {size:6.2f} MB, {wall:6.1f} s on the clock, {processor:5.1f} s of the "
            f"processor ({main:.1f} s in the main thread), load {os.getloadavg()[0]:.1f}, "
            f"peak memory so far {peak:.2f} GB",
            flush=True,
        )
    return paths


def _processor() -> float:
    """Seconds of the processor so far, those of processes that ended among them."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def open_page(path: Path) -> None:
    """Print how long Chromium takes to paint and to load a page, in a fresh browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        faults: list[str] = []
        page.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="load")
        loaded = time.perf_counter() - start
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        settled = time.perf_counter() - start
        paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        elements = page.evaluate("() => document.getElementsByTagName('*').length")
        browser.close()
    first = "not told" if paint is None else f"{paint / 1000:.2f} s"
    print(
        f"opens: first paint {first}, loaded {loaded:.2f} s, next frame {settled:.2f} s; "
        f"{elements:,} elements; {len(faults)} errors",
        flush=True,
    )


def main() -> None:
    """Make the study, write the report, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--format", default=",".join(FORMATS))
    parser.add_argument("--repeat", type=int, default=1, help="how often to write the report of the study")
    parser.add_argument("--profile", action="store_true", help="where the time goes, by function")
    asked = parser.parse_args()
    formats = formats_of(asked.format.split(","))
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="pdbiomarker-report-"))
    start = time.perf_counter()
    result, review = large_result(folder)
    print(
        f"{len(result.study.participants)} participants, {(result.table['kind'] == 'count').sum():,} rows of "
        f"genes, {len(result.images)} slides, {len(result.clinical)} clinical tables "
        f"(made in {time.perf_counter() - start:.1f} s)",
        flush=True,
    )
    profile = cProfile.Profile()
    if asked.profile:
        profile.enable()
    for _ in range(max(1, asked.repeat)):
        paths = measure(result, review, formats, folder)
    if asked.profile:
        profile.disable()
        pstats.Stats(profile, stream=sys.stdout).sort_stats("cumulative").print_stats(70)
    if "html" in paths:
        open_page(paths["html"])


if __name__ == "__main__":
    main()
