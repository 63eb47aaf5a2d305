"""The road from counts to result tables on a trial of the size of Riaz 2017: 20,000 genes x 107 libraries.

Usage: python benchmarks/bench_expression.py [--counts COUNTS.csv.gz --samples SAMPLES.csv] [--genes N]

Reads a count matrix with its checks, filters, scales (TMM), finds voom's weights, fits the mixed model of
every gene (REML, Kenward-Roger, moderated) and adjusts: `read_counts`, then `pd_change`. One process, one
thread. Without a matrix one of the same size is drawn from a negative binomial distribution, with
participants, 43 pairs, and 400 genes that change. Prints CPU and wall seconds of each step and the peak of
memory; ends with status 1 above 60 CPU seconds or 2 GB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

import pdbiomarker as pb
from pdbiomarker import expression

LIMIT_SECONDS, LIMIT_MB = 60.0, 2048.0
STUDY = """\
id: BENCH
visits: {Pre: {}, On: {}}
assays: {rna: {kind: count, file: counts.csv.gz}}
"""
PLAN = """\
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: On - Pre}
"""


def draw(n_genes: int, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts (genes x libraries) and their sheet: 64 participants, 43 of them with both visits."""
    rng = np.random.default_rng(seed)
    visits = [(p, v) for p in range(64) for v in ("Pre", "On") if p < 43 or v == ("Pre", "On")[p % 2]]
    sheet = pd.DataFrame(visits, columns=["participant", "visit"])
    sheet.index = [f"L{k:03d}" for k in range(len(sheet))]
    mean = rng.lognormal(4.5, 2.2, n_genes)
    people = rng.normal(0, 0.6, (n_genes, 64))[:, sheet["participant"]]
    change = np.where(np.arange(n_genes) < 400, 1.0, 0.0)[:, None] * (sheet["visit"] == "On").to_numpy()
    mu = mean[:, None] * 2 ** (people + change) * rng.lognormal(0, 0.25, len(sheet))
    counts = rng.negative_binomial(4, 4 / (4 + mu))
    return pd.DataFrame(counts, index=[f"G{k:05d}" for k in range(n_genes)], columns=sheet.index), sheet


def given(counts: str, samples: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A real matrix and its sheet (columns participant, timepoint, flag): unflagged libraries."""
    table = pd.read_csv(counts, index_col=0)
    sheet = pd.read_csv(samples, index_col=0).loc[table.columns]
    sheet = sheet[sheet["flag"].isna()].rename(columns={"timepoint": "visit"})
    return table[sheet.index], sheet


def write(folder: Path, counts: pd.DataFrame, sheet: pd.DataFrame) -> None:
    """Write a study folder."""
    counts.to_csv(
        folder / "counts.csv.gz", index_label="gene", compression={"method": "gzip", "compresslevel": 1}
    )
    people = "P" + sheet["participant"].astype(str)
    rows = pd.DataFrame({"participant_id": people, "biopsy_id": sheet.index, "visit": sheet["visit"]})
    rows.to_csv(folder / "biopsies.csv", index=False)
    pd.DataFrame({"participant_id": sorted(set(people))}).to_csv(folder / "participants.csv", index=False)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts")
    parser.add_argument("--samples")
    parser.add_argument("--genes", type=int, default=20_000)
    chosen = parser.parse_args()
    counts, sheet = given(chosen.counts, chosen.samples) if chosen.counts else draw(chosen.genes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, counts, sheet)
        shape = counts.shape
        del counts
        marks = [("", time.process_time(), time.perf_counter())]
        study = pb.read_study(folder)
        study = study.with_assay("rna", expression.read_assay(study, study.spec.assays[0]))
        marks.append(("read and check", time.process_time(), time.perf_counter()))
        result = pb.pd_change(study, pb.Plan.read(folder / "plan.yaml", study))
        marks.append(("normalise, fit, adjust", time.process_time(), time.perf_counter()))
        result.table.to_csv(folder / "pd_change.csv", index=False)
        marks.append(("write the table", time.process_time(), time.perf_counter()))
    print(f"{shape[0]} genes x {shape[1]} libraries")
    for before, after in itertools.pairwise(marks):
        print(f"{after[0]:24} {after[1] - before[1]:7.1f} s CPU {after[2] - before[2]:7.1f} s wall")
    seconds = marks[-1][1] - marks[0][1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    strict = result.table[result.table["set"] == "strict"]
    tested, called = int(strict["p"].notna().sum()), int((strict["q"] < 0.05).sum())
    print(
        f"{'in all':24} {seconds:7.1f} s CPU, peak {peak:.0f} MB; {tested} genes tested, {called} at q < .05"
    )
    return int(seconds > LIMIT_SECONDS or peak > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
