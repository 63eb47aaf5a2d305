"""Null on real data: exchange the visits of the biopsies of each participant, and count calls.

    OMP_NUM_THREADS=1 PYTHONPATH=tests python -m tests.validation.label_flips [--cohort hgsoc] [--flips N]

appends to `results/label_flips.csv` (Riaz 2017) or `results/label_flips_hgsoc.csv` (an ovarian cancer cohort
with several biopsies of a visit) what it lacks, flip by flip, each from a seed of its own, so it may be
stopped and taken up again. A fair coin for each participant decides whether the two labels of that
participant are exchanged; a biopsy without a partner gets the other label. So labels say nothing about the
transcripts, while the correlation of genes and of the biopsies of one participant is that of real tumours.

Every flip goes the road of `pd_change`: filter, TMM, voom on the design of the flipped labels, mixed model
with Kenward-Roger, moderated variances, Benjamini-Hochberg over the family. What labels do not change
is kept between flips; `test_dossier` holds the numbers of all genes against those of `pd_change` itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import pdbiomarker as pb
from pdbiomarker.change.blocks import choose_block, chooser_of
from pdbiomarker.change.fitting import NUMBERS, Values, fit_rows
from pdbiomarker.change.question import Model, read_model
from pdbiomarker.change.rows import make_setting
from pdbiomarker.expression.library_size import tmm_factors
from pdbiomarker.formula import design_matrix
from pdbiomarker.mixed.adjust import adjust
from pdbiomarker.normalize import filter_by_expr, voom
from tests.hgsoc import build_hgsoc_study
from tests.riaz import build_riaz_study

SEED = 20260116
FLIPS = 1000
RESULTS = Path(__file__).parent / "results" / "label_flips.csv"
PLAN = """\
formula: "~ visit + (1|participant)"
contrasts: {on_treatment: On - Pre}
families: {genes: rna}
ddf: kenward-roger
seed: 1
"""
VISITS = ("Pre", "On")
HGSOC_RESULTS = RESULTS.with_name("label_flips_hgsoc.csv")
HGSOC_PLAN = """\
formula: "~ visit + (1|participant) + (1|participant:visit)"
contrasts: {on_treatment: Post - Pre}
families: {genes: rna}
replicates: all
ddf: kenward-roger
seed: 1
"""
#: Of the ovarian cohort every so many genes, whose p of each flip is kept: over flips it is uniform.
EVERY = 60


@dataclasses.dataclass
class Riaz:
    """The genes (rows) of the biopsies that the plan uses, and what is kept between flips."""

    counts: np.ndarray
    frame: pd.DataFrame
    model: Model
    genes: np.ndarray
    visits: tuple[str, str] = VISITS
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)

    def flipped(self, flip: int) -> pd.DataFrame:
        """The table of biopsies with exchanged labels; flip 0 has the true ones."""
        frame = self.frame.copy()
        if flip:
            people = np.unique(frame["participant"].astype(str))
            coin = np.random.default_rng([SEED, flip]).random(len(people)) < 0.5
            turn = np.isin(frame["participant"].astype(str), people[coin])
            before, after = self.visits
            on = (frame["visit"] == after).to_numpy() ^ turn
            frame["visit"] = np.where(on, after, before).astype(object)
        return frame

    def tests(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of `pd_change` for these labels: estimate, se, df, p, q of the genes that pass the filter."""
        visits = frame["visit"].tolist()
        smallest = min(visits.count(v) for v in self.visits)
        if smallest not in self.kept:
            enough = filter_by_expr(self.counts, visits)
            self.kept[smallest] = enough, tmm_factors(self.counts[enough])
        enough, factors = self.kept[smallest]
        reads = self.counts[enough]
        design = design_matrix(self.model.formula, frame, levels={"visit": list(self.visits)}).matrix
        scaled = voom(reads, design, reads.sum(axis=0) * factors)
        none = np.zeros(len(reads), dtype=bool)
        values = Values(y=scaled.E, w=scaled.weights, numerator=None, denominator=None, small=none)
        rows = pd.DataFrame({"feature": self.genes[enough], "kind": "count", "note": ""})
        rows[list(NUMBERS)] = np.nan
        setting = make_setting(self.model.questions["on_treatment"], self.model, frame)
        fit_rows(rows, values, setting, plan=self.model.plan)
        rows["q"] = adjust(rows["p"].to_numpy(dtype=float), "bh").p
        return rows


def read_riaz(shared_data: Callable[[str], Path], folder: Path) -> tuple[Riaz, pb.Study, pb.Plan]:
    """The study with its counts, as a run reads it, and its arrays."""
    return _read(build_riaz_study(shared_data, folder / "riaz", plan=PLAN), VISITS)


def read_hgsoc(shared_data: Callable[[str], Path], folder: Path) -> tuple[Riaz, pb.Study, pb.Plan]:
    """The same of the ovarian cohort: 80 biopsies of 23 participants, one to four of a visit."""
    return _read(build_hgsoc_study(shared_data, folder / "hgsoc", plan=HGSOC_PLAN), ("Pre", "Post"))


def _read(path: Path, visits: tuple[str, str]) -> tuple[Riaz, pb.Study, pb.Plan]:
    study = pb.read_study(path)
    study = study.with_assay("rna", pb.expression.read_counts(path / "counts.csv.gz", study=study))
    plan = pb.Plan.read(path / "plan.yaml", study)
    model = read_model(study, plan)
    block, _ = choose_block(chooser_of(study, model), "rna", "strict", model)
    raw = study.assays["rna"][block.frame.index.to_numpy()]
    counts = np.ascontiguousarray(np.asarray(raw.X, dtype=float).T)
    return Riaz(counts, block.frame, model, raw.var_names.to_numpy(dtype=object), visits), study, plan


def calls(riaz: Riaz, flip: int, *, genes: Sequence[str] = ()) -> dict[str, object]:
    """What one flip found: genes tested, shares of p below .05 and .001, calls at three rates, smallest q.

    Of `genes` also p itself.
    """
    rows = riaz.tests(riaz.flipped(flip))
    p, q = rows["p"].to_numpy(dtype=float), rows["q"].to_numpy(dtype=float)
    tested = np.isfinite(p)
    return {
        "flip": flip,
        "genes": int(tested.sum()),
        "share_05": f"{(p[tested] < 0.05).mean():.6g}",
        "share_001": f"{(p[tested] < 0.001).mean():.6g}",
        "calls_01": int((q[tested] < 0.01).sum()),
        "calls_05": int((q[tested] < 0.05).sum()),
        "calls_10": int((q[tested] < 0.10).sum()),
        "smallest_q": f"{q[tested].min():.6g}",
    } | {gene: f"{rows.set_index('feature')['p'].get(gene, np.nan):.6g}" for gene in genes}


def uniformity(table: pd.DataFrame) -> pd.DataFrame:
    """How far the p of each watched gene over flips are from a uniform distribution; untested ones go.

    Returns
    -------
    DataFrame
        Indexed by gene: `distance` of Kolmogorov and Smirnov, its p adjusted by Holm over the genes (`holm`),
        and the share of flips with p below .05 (`below_05`).
    """
    flips = table[table["flip"] > 0]
    genes = flips.columns[list(flips.columns).index("smallest_q") + 1 :]
    rows = []
    for gene in genes:
        p = flips[gene].dropna().to_numpy(dtype=float)
        if not len(p):
            continue
        test = stats.kstest(p, "uniform")
        rows.append((gene, float(test.statistic), float(test.pvalue), float((p < 0.05).mean())))
    found = pd.DataFrame(rows, columns=["gene", "distance", "holm", "below_05"]).set_index("gene")
    return found.assign(holm=adjust(found["holm"].to_numpy(dtype=float), "holm").p)


def main() -> None:
    """Do the flips that are lacking."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cohort", choices=("riaz", "hgsoc"), default="riaz")
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    options = parser.parse_args()
    read, results, genes = read_riaz, RESULTS, list[str]()
    if options.cohort == "hgsoc":
        read, results = read_hgsoc, HGSOC_RESULTS
    done = set(pd.read_csv(results)["flip"]) if results.exists() else set()
    with tempfile.TemporaryDirectory() as folder:
        cohort, _, _ = read(lambda name: options.shared / "data" / name, Path(folder))
    if options.cohort == "hgsoc":
        genes = watched(cohort)
    for flip in range(options.flips + 1):
        if flip not in done:
            row = pd.DataFrame([calls(cohort, flip, genes=genes)])
            row.to_csv(results, mode="a", header=not results.exists(), index=False)


def watched(cohort: Riaz) -> list[str]:
    """Every so many genes of those with most reads, whose p is kept of each flip."""
    order = np.argsort(-cohort.counts.min(axis=1), kind="stable")
    return [str(gene) for gene in cohort.genes[order][::EVERY]]


if __name__ == "__main__":
    main()
