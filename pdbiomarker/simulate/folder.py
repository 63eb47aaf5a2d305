"""Write a whole study folder with known truth."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.simulate.clinical import CLINICAL_RULES, ClinicalDraw, draw_clinical
from pdbiomarker.simulate.counts import draw_counts, draw_genes
from pdbiomarker.simulate.design import (
    BASELINE,
    ON_TREATMENT,
    ON_TREATMENT_DAY,
    ON_TREATMENT_WINDOW,
    SCREENING_WINDOW,
    VIABLE_TUMOR_CELLS,
    TrialDesign,
)
from pdbiomarker.simulate.faults import spoil_biopsies, spoil_counts, spoil_files
from pdbiomarker.simulate.layout import draw_layout, place_cells
from pdbiomarker.simulate.regions import write_regions
from pdbiomarker.simulate.render import SlideStyle
from pdbiomarker.simulate.slides import render_slide
from pdbiomarker.simulate.trial import CELL_NUMBERS, DATA_CUTOFF, Trial, draw_trial, records_of
from pdbiomarker.simulate.truth import biopsy_truth, cell_summary, feature_truth, participant_truth
from pdbiomarker.tables import write_table

__all__ = ["simulate_study"]

#: Called with the name of a step, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

#: Height and width of a slide, pixels of 0.5 um.
_SHAPE: Final = (1280, 2304)
_MPP: Final = 0.5
_SMALLEST_GENOME: Final = 100


def simulate_study(
    path: str | Path,
    *,
    seed: int = 1,
    n_participants: int = 12,
    slides: bool = True,
    genes: int = 2000,
    design: TrialDesign | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a study folder of a simulated serial-biopsy trial, with its truth.

    A small dose escalation of a made-up drug that draws CD8+ T cells into the tumour: each participant has a
    biopsy at screening and one on treatment, each biopsy a slide stained for CD8 (haematoxylin and DAB) and
    an RNA library. Some biopsies are missing, inadequate, late or taken twice.

    Parameters
    ----------
    path : path
        The folder to be: new or empty.
    seed : int
        The same seed, options and package versions give the same bytes in every file.
    n_participants : int
        1 or more.
    slides : bool
        Draw the slides. Without them study.yaml has no IHC assay; sheets and truth stay the same, with the
        numbers of cells that were planned.
    genes : int
        100 or more; the first 70 bear real symbols.
    design : TrialDesign, optional
        Effects, what goes wrong, faults to plant.
    progress : callable, optional
        Called as ``progress(step, done, total)`` from the thread that called this.

    Returns
    -------
    Path
        `path`, with study.yaml, plan.yaml, participants.csv, biopsies.csv, libraries.csv, counts.csv.gz,
        slides.csv, slides/, regions/, clinical/, README.txt and truth/ (cells.parquet, features.csv,
        participants.csv, biopsies.csv, clinical.csv).

    Raises
    ------
    InputError
        E-SIM-001, an option out of range; E-SIM-002, the folder is not empty.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = simulate_study(f"{folder}/trial", n_participants=2, slides=False, genes=100)
    ...     sorted(p.name for p in study.iterdir())  # doctest: +NORMALIZE_WHITESPACE
    ['README.txt', 'biopsies.csv', 'clinical', 'counts.csv.gz', 'libraries.csv', 'participants.csv',
     'plan.yaml', 'study.yaml', 'truth']
    """
    folder, design = Path(path), design or TrialDesign()
    _check_request(folder, seed, n_participants, genes)
    for_trial, for_genes, for_counts, for_slides, for_clinic = np.random.SeedSequence(seed).spawn(5)
    folder.mkdir(parents=True, exist_ok=True)

    trial = draw_trial(design, n_participants, for_trial)
    gene_table = draw_genes(design, genes, for_genes)
    counts = draw_counts(trial, gene_table, for_counts)
    summary = cell_summary(trial)
    (folder / "truth").mkdir()
    if slides:
        cells, planted = _write_slides(folder, trial, design, for_slides, progress)
        summary = pd.concat([planted, summary.loc[~summary.index.isin(planted.index)]])
        pq.write_table(cells, folder / "truth" / "cells.parquet", compression="zstd")
    clinic = draw_clinical(trial.participants, for_clinic)
    _write_truth(folder, trial, design, gene_table, summary)
    _write_clinic(folder, clinic)
    _write_sheets(folder, trial, design, slides=slides)
    write_table(spoil_counts(counts, design), folder / "counts.csv.gz")
    _write_settings(folder, design, seed, slides=slides)
    spoil_files(folder, _slide_sheet(trial) if slides else _slide_sheet(trial).iloc[:0], design)
    if progress is not None:
        progress("study folder", 1, 1)
    return folder


def _check_request(folder: Path, seed: int, n_participants: int, genes: int) -> None:
    problems = Problems()
    for name, value, least in (
        ("seed", seed, 0),
        ("n_participants", n_participants, 1),
        ("genes", genes, _SMALLEST_GENOME),
    ):
        if value < least:
            problems.add("E-SIM-001", f"{name} must be {least} or more.", column=name, value=value)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.add(
            "E-SIM-002",
            "A simulated study is written into a new or empty folder only.",
            remedy="Name another folder, or empty this one.",
            file=folder.name,
        )
    problems.raise_if_any(InputError)


def _write_slides(
    folder: Path,
    trial: Trial,
    design: TrialDesign,
    seed: np.random.SeedSequence,
    progress: Progress | None,
) -> tuple[pa.Table, pd.DataFrame]:
    """Draw every slide; returns the table of cells and, by biopsy, what was planted."""
    rows = records_of(trial.biopsies[trial.biopsies["collected"]])
    seeds = seed.spawn(len(rows))
    made: dict[int, tuple[pd.DataFrame, dict[str, object]]] = {}
    with ThreadPoolExecutor(max_workers=design.workers) as pool:
        jobs = {
            pool.submit(_write_slide, folder, row, child, regions=design.regions): index
            for index, (row, child) in enumerate(zip(rows, seeds, strict=True))
        }
        for done, job in enumerate(as_completed(jobs), start=1):
            made[jobs[job]] = job.result()
            if progress is not None:
                progress("slides", done, len(rows))
    ordered = [made[index] for index in range(len(rows))]
    cells = pd.concat([part for part, _ in ordered], ignore_index=True)
    table = pa.table(
        {
            "slide_id": pa.array(cells["slide_id"].tolist(), pa.string()),
            "cell": pa.array(cells["cell"].to_numpy(dtype=np.int64)),
            "x_um": pa.array(cells["x_um"].to_numpy(dtype=np.float64).round(3)),
            "y_um": pa.array(cells["y_um"].to_numpy(dtype=np.float64).round(3)),
            "positive": pa.array(cells["positive"].to_numpy(dtype=bool)),
            "compartment": pa.array(cells["compartment"].tolist(), pa.string()),
            "kind": pa.array(cells["kind"].tolist(), pa.string()),
            "dab_level": pa.array(cells["dab_level"].to_numpy(dtype=np.int8)),
            "dab_od": pa.array(cells["dab_od"].to_numpy(dtype=np.float64).round(4)),
            "major_um": pa.array(cells["major_um"].to_numpy(dtype=np.float64).round(3)),
            "minor_um": pa.array(cells["minor_um"].to_numpy(dtype=np.float64).round(3)),
            "angle": pa.array(cells["angle"].to_numpy(dtype=np.float64).round(4)),
        }
    )
    planted = pd.DataFrame([facts for _, facts in ordered]).set_index("biopsy_id")
    return table, planted


def _write_slide(
    folder: Path, row: dict[str, object], seed: np.random.SeedSequence, *, regions: bool
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Draw one slide with its regions; returns its cells and what was planted."""
    for_layout, for_image = seed.spawn(2)
    rng = np.random.default_rng(for_layout)
    layout = draw_layout(
        rng,
        _SHAPE,
        mpp=_MPP,
        area_mm2=_number(row, "area_target"),
        nest_fraction=_number(row, "nest_fraction"),
    )
    cells = place_cells(rng, layout, {name[2:]: int(_number(row, name)) for name in CELL_NUMBERS})
    slide_id = str(row["slide_id"])
    style = SlideStyle(
        hematoxylin_scale=_number(row, "hematoxylin_scale"), dab_scale=_number(row, "dab_scale")
    )
    render_slide(
        folder / "slides" / f"{slide_id}.ome.tiff", cells, layout, seed=for_image, mpp=_MPP, style=style
    )
    if regions:
        write_regions(folder / "regions" / f"{slide_id}.geojson", layout, slide_id)
    cells.insert(0, "slide_id", slide_id)
    cells.insert(1, "cell", np.arange(1, len(cells) + 1))
    positive = cells["positive"]
    return cells, {
        "biopsy_id": row["biopsy_id"],
        "area_mm2": layout.area_mm2,
        "nest_area_mm2": layout.nest_area_mm2,
        "n_cells": len(cells),
        "n_tumor": int((cells["kind"] == "tumor").sum()),
        "n_positive": int(positive.sum()),
        "n_positive_nest": int((positive & (cells["compartment"] == "nest")).sum()),
        "hscore": 100.0 * float(cells["dab_level"].sum()) / len(cells),
    }


def _number(row: dict[str, object], name: str) -> float:
    return float(str(row[name]))


def _write_truth(
    folder: Path, trial: Trial, design: TrialDesign, genes: pd.DataFrame, summary: pd.DataFrame
) -> None:
    biopsies = biopsy_truth(trial, summary)
    for name, table in (
        ("features", feature_truth(trial, design, genes, biopsies)),
        ("participants", participant_truth(trial)),
        ("biopsies", biopsies),
    ):
        numbers = table.select_dtypes("float").columns
        rounded = table.assign(**{column: table[column].round(6) for column in numbers})
        write_table(rounded, folder / "truth" / f"{name}.csv")


def _slide_sheet(trial: Trial) -> pd.DataFrame:
    rows = trial.biopsies[trial.biopsies["collected"]]
    return pd.DataFrame(
        {
            "slide_id": rows["slide_id"],
            "biopsy_id": rows["biopsy_id"],
            "path": "slides/" + rows["slide_id"] + ".ome.tiff",
            "batch": rows["stain_run"],
            "scanner": "simulated 20x",
        }
    )


def _write_sheets(folder: Path, trial: Trial, design: TrialDesign, *, slides: bool) -> None:
    people = trial.participants[
        ["participant_id", "cohort", "dose_mg", "sex", "age", "tumor_type", "first_dose_datetime"]
    ]
    lost = trial.biopsies[~trial.biopsies["collected"]].set_index("participant_id")["missing_reason"]
    reasons = [str(lost.get(person, "")) for person in people["participant_id"]]
    write_table(people.assign(missing_biopsy_reason=reasons), folder / "participants.csv")
    rows = trial.biopsies[trial.biopsies["collected"]].reset_index(drop=True)
    sheet = rows[
        [
            "participant_id",
            "biopsy_id",
            "visit",
            "collection_date",
            "study_day",
            "lesion_id",
            "site",
            "core",
            "tumor_content_pct",
            "viable_tumor_cells",
            "batch",
        ]
    ]
    write_table(spoil_biopsies(sheet, people, design), folder / "biopsies.csv")
    libraries = rows[["library_ids", "biopsy_id", "batch"]].explode("library_ids").dropna()
    libraries = libraries.rename(columns={"library_ids": "library_id"})
    write_table(libraries.reset_index(drop=True), folder / "libraries.csv")
    if slides:
        write_table(_slide_sheet(trial), folder / "slides.csv")


def _write_clinic(folder: Path, clinic: ClinicalDraw) -> None:
    for name, sheet in clinic.sheets.items():
        write_table(sheet, folder / "clinical" / f"{name}.csv")
    (folder / "clinical" / "rules.yaml").write_text(CLINICAL_RULES, encoding="utf-8", newline="\n")
    write_table(clinic.truth.round(8), folder / "truth" / "clinical.csv")


def _write_settings(folder: Path, design: TrialDesign, seed: int, *, slides: bool) -> None:
    """study.yaml, plan.yaml and README.txt."""
    regions = ", regions: regions/" if design.regions else ""
    ihc = f"  ihc: {{slides: slides.csv, panel: cd8{regions}}}\n" if slides else ""
    primary = "primary: [ihc:CD8_density], " if slides else ""
    low, high = SCREENING_WINDOW
    settings = {
        "study.yaml": f"""\
id: SIM-101
data_cutoff: {DATA_CUTOFF.isoformat()}
visits:
  {BASELINE}: [{low}, {high}]
  {ON_TREATMENT}: {{day: {ON_TREATMENT_DAY}, window: {ON_TREATMENT_WINDOW}}}
adequacy: {{viable_tumor_cells: {VIABLE_TUMOR_CELLS}}}
assays:
  rna: {{kind: count, file: counts.csv.gz}}
{ihc}""",
        "plan.yaml": f"""\
formula: "~ visit + (1|participant)"
contrasts: {{on_treatment: {ON_TREATMENT} - {BASELINE}}}
families: {{{primary}genes: rna}}
replicates: select
ddf: kenward-roger
seed: {seed}
""",
        "README.txt": _readme(design, seed),
    }
    for name, text in settings.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _readme(design: TrialDesign, seed: int) -> str:
    faults = f"Faults planted on purpose: {', '.join(sorted(design.faults))}." if design.faults else ""
    paragraphs = (
        "SIMULATED DATA. No participant, biopsy, slide or count in this folder is real: pdbiomarker drew "
        f"them with seed {seed}.",
        "The folder is laid out like a real study (study.yaml, plan.yaml, the sheets, slides/, regions/, "
        "counts.csv.gz). truth/ holds what was planted; no analysis reads it.",
        f"Planted: CD8 density rises on treatment {design.gmr:g}-fold (ratio of geometric means at the mean "
        f"log dose); a tenfold dose adds {design.dose_slope:g} to the log2 fold change; true log2 fold "
        f"changes differ between participants with SD {design.heterogeneity:g}, biopsies of one participant "
        f"with SD {design.biopsy_sd:g}.",
        "truth/features.csv: effects on the model scale (log2; logit for proportions). `true` is the "
        "population's, `true_participants` the mean of those who were drawn, `planted` what a perfect "
        "measurement of the evaluable pairs would give. truth/participants.csv: random effects and true "
        "changes. truth/biopsies.csv: densities (cells per mm2), areas (mm2), cells, and why a biopsy is "
        "missing. truth/cells.parquet: every cell; um from the top left corner of the image. "
        "clinical/: doses, concentrations, lesions, outcomes, antibodies and adverse events; "
        "truth/clinical.csv: clearance (L/h), volume (L), growth of the lesions per day, and who progressed.",
        faults,
    )
    return "\n\n".join(textwrap.fill(text, 100) for text in paragraphs if text) + "\n"
