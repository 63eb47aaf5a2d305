"""Write `docs/validation.md`: every claim with its oracle, tolerance and measured difference, and what is not validated.

    make validation

Claims are measured when the page is written, by the code that their tests assert with. The results of long
simulations are read from `results/`, where the scripts that make them put them. Claims whose third-party data are
not at hand keep what the page says of them.
"""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

import re
import sys

import numpy as np
import pandas as pd

from tests.validation import assays, clinic, decisions, grid, label_flips, models
from tests.validation.claim import TESTS, Claim, NotHere, Sources
from tests.validation.invariants import PROPERTIES

PAGE = TESTS.parent / "docs" / "validation.md"
#: Of a table of claims.
COLUMNS = 5
CLAIMS: list[Claim] = [*models.CLAIMS, *assays.CLAIMS, *decisions.CLAIMS, *clinic.CLAIMS]

HEAD = """\
# Validation

What the numbers of `pdbiomarker` were held against, how far off they may be, and how far off they are.
`make validation` writes this page: each difference below is measured then, by the same code that the tests assert
with (`tests/validation`). **It does not replace a user's own validation** of the package for its intended use, on the
user's own systems and data; nor is the package a validated or Part 11 compliant system.

"Measured" is the largest difference found, rounded up to one digit; of digits, the fewest correct ones, rounded down.
"Cases" are answers that differ. A claim NAME is the test `validation/test_dossier.py::test_claim[NAME]`; the tests named
under a table go further. Tests are named below `tests/`; `golden/` stands for `tests/golden`, where the reference numbers
lie beside the scripts that made them.
"""

#: What a table does not say by itself.
NOTES = {
    models.M: [
        "Where lmer and ours differ most, lmer's optimiser stopped short: at the same data sets a dense computation that",
        "shares no code with the package meets ours (`arbiter_500`), and our REML criterion is nowhere worse. Least squares",
        "by itself (contrasts of one visit) takes a spread below 1e-12 of the level for rounding, so that a feature like",
        "SmLs07-09 is called constant there, not tested. pbkrtest leaves prior weights out; the 80 weighted sets are held",
        "against the same model on rows scaled by the roots of the weights.",
        "",
    ],
}

NOT_VALIDATED = """\
## What is not validated

- **Pathologists' readings.** No score was compared with a pathologist's on the same slides. Nuclei were compared with
  annotations of four published Ki-67 tiles and with QuPath on one slide of two scanners. CD8 thresholds were set on
  simulated slides and one real tile. Compartments by the simple classifier were checked on painted slides only.
- **Folds, edges, small blur, necrosis** are not looked for everywhere ([limits](limits.md#slides)).
- **Deep segmenters** brought by the user, and their weights. Images of fluorescence are not read at all.
- **NDPI, MRXS, DICOM** beyond small synthetic files; scanners other than those of the test slides.
- **Exports of other programs** beyond those at hand: of HALO the names of object data were seen in published exports,
  those of summaries were not; Olink NPX was read from files written after the published names of its columns.
- **Tobit models in peers**: R has none of this kind in the packages at hand; the oracle is a numerical integral of our
  own making, exact to rounding, that shares no code with the model.
- **Tests of count models**: estimates and standard errors are glmmTMB's; t with pairs - 1 degrees of freedom is held by
  simulation only (.069 at a nominal .05 with 6 pairs).
- **Three or more visits in one joint model**: each contrast is fitted on the visits that it touches.
- **Non-random missingness.** The grid removes second biopsies at random; where those are missing who did badly, no model
  here is right, and the honesty checks only bound it.
- **Links of change to exposure, response and survival** are exploratory; their p are not adjusted, their error rates not
  part of the grid.
- **Transcripts**: alignment and counting are not done here. Error rates were simulated on counts with log-normal and
  gamma spread, and checked by flipped labels on two real cohorts. Whose library it is was tried on swaps planted in one
  published cohort and in simulated trials, not on a mix-up of a laboratory.
- **Noise without replicates**: for densities and proteins there is none to borrow, and it is bounded from above by the
  treated pairs. Whether noise borrowed from a published assay is that of the user's own is not known here.
- **Pharmacokinetics** without compartments only. CRM, TITE-BOIN, iRECIST, split lesions and MedDRA coding are not
  computed.
- **CDISC**: import was held against one public test study; export against the structure of ADaM, not against a
  regulator's validator.
- **Platforms**: measured on Linux, x86-64. Digits beyond those stated may differ on other processors. The page was
  tested in Chromium only, the profile for SLURM on one node; no power cut and no network drive was tried for real.
- **Presets of decision rules** carry the source of their thresholds; that a threshold is right for a drug, an assay or
  a trial is the user's judgement.
"""


def measure(claim: Claim, sources: Sources, former: dict[str, str]) -> str:
    """What the page says of a claim; where its data are not at hand, what it said before."""
    try:
        measured = claim.measure(sources)
    except NotHere as missing:
        if claim.name not in former:
            raise SystemExit(f"{claim.name} needs {missing}") from None
        print(f"{claim.name}: kept, {missing} is not at hand", file=sys.stderr)
        return former[claim.name]
    if not claim.holds(measured):
        raise SystemExit(f"{claim.name}: {measured:g} is outside {claim.tolerance:g}")
    return claim.shown(measured)


def read_measured(page: str) -> dict[str, str]:
    """What a page says of each claim."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == COLUMNS + 2 and re.fullmatch(r"`\w+`", cells[COLUMNS]):
            found[cells[COLUMNS].strip("`")] = cells[COLUMNS - 1]
    return found


def tolerance(claim: Claim) -> str:
    """How far off a claim may be, in words."""
    if claim.unit == "cases":
        return f"{claim.tolerance:.0f} cases"
    if claim.unit == "digits":
        return f"{claim.tolerance:.0f} digits or more"
    if claim.unit in ("share", "points"):
        return f"{claim.tolerance:g}" + (" points" if claim.unit == "points" else "")
    what = {"standard errors": " SE", "log10 p": " of log10 p"}.get(claim.unit, f", {claim.unit}")
    return f"{claim.tolerance:.0e}".replace("e-0", "e-") + what


def claims_part(measured: dict[str, str]) -> list[str]:
    """One table for each area, and the tests that go further."""
    lines = []
    for area in dict.fromkeys(claim.area for claim in CLAIMS):
        own = [claim for claim in CLAIMS if claim.area == area]
        lines += [
            f"### {area}",
            "",
            "| what | oracle | tolerance | measured | claim |",
            "|" + "---|" * COLUMNS,
        ]
        oracle = ""
        for c in own:
            against, oracle = "as above" if c.oracle == oracle else c.oracle, c.oracle
            lines.append(
                "| " + " | ".join((c.what, against, tolerance(c), measured[c.name], f"`{c.name}`")) + " |"
            )
        tests = dict.fromkeys(test for c in own for test in c.tests.split(", "))
        lines += ["", "Further: " + ", ".join(f"`{test}`" for test in tests) + ".", "", *NOTES.get(area, [])]
    return lines


# --- simulations ------------------------------------------------------------------------------------------


def rate(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def outside(table: pd.DataFrame) -> pd.DataFrame:
    """Figures beyond three Monte-Carlo standard errors of nominal; coverage where it is not 1 - rate_05."""
    rows = []
    for row in table.to_dict("records"):
        cell = grid.Cell(row["pairs"], row["icc"], row["missing"], row["errors"])
        for column, nominal in grid.NOMINAL.items():
            told = column != "coverage_95" or cell.errors == "counts"
            if told and abs(row[column] - nominal) > grid.band(nominal, row["sets"]):
                rows.append({"cell": cell, "column": column, "value": row[column], "nominal": nominal})
    return pd.DataFrame(rows)


def too_many(beyond: pd.DataFrame) -> pd.DataFrame:
    """Of these, type I errors above nominal."""
    return beyond[(beyond["column"] != "coverage_95") & (beyond["value"] > beyond["nominal"])]


def grid_part() -> list[str]:
    """The calibration grid: a table for each kind of error, and the cells that are outside."""
    table = pd.read_csv(grid.GRID)
    lines = [
        "## Error rates over a grid",
        "",
        f"`tests/validation/grid.py`: {len(table)} cells of {grid.SETS:,} simulated sets without a change, fitted as",
        "`pd_change` does by default; seed and numbers in `tests/validation/results/grid.csv`. Three Monte-Carlo",
        f"standard errors are {rate(grid.band(0.05, grid.SETS))} at .05 and at coverage .95,",
        f'{rate(grid.band(0.01, grid.SETS))} at .01. "Missing": a third or so of the second biopsies. Twenty-four cells',
        "run with 1,000 sets in every test run. Coverage of counts is that of a true ratio of 2.",
    ]
    titles = {
        "normal": "Normal errors",
        "t5": "t errors with 5 df",
        "counts": "Log-normal counts, median 30 cells",
    }
    for errors, title in titles.items():
        lines += ["", f"### {title}", ""]
        lines.append("| pairs | ICC | complete: .05 | .01 | coverage | missing: .05 | .01 | coverage |")
        lines.append("|" + "---|" * 8)
        part = table[table["errors"] == errors]
        for (pairs, icc), rows in part.groupby(["pairs", "icc"]):
            told = [str(pairs), f"{icc:g}"]
            for missing in (0.0, 0.3):
                row = rows[rows["missing"] == missing].iloc[0]
                told += [rate(row[c]) for c in ("rate_05", "rate_01", "coverage_95")]
            lines.append("| " + " | ".join(told) + " |")
    return [*lines, "", *outside_part(table)]


def outside_part(table: pd.DataFrame) -> list[str]:
    """Say plainly which cells are not nominal."""
    beyond = outside(table)
    figures = 2 * len(table) + int((table["errors"] == "counts").sum())
    worst = table.loc[table["rate_05"].idxmax()]
    cell = grid.Cell(worst["pairs"], worst["icc"], worst["missing"], worst["errors"])
    lines = [
        "### Cells that are not nominal",
        "",
        f"Of {figures} figures {len(beyond)} lie beyond three Monte-Carlo standard errors of nominal; chance alone would",
        f"put about {round(0.0027 * figures)} there. The highest type I error at .05 is {rate(worst['rate_05'])} ({cell.name}).",
        f"Too many rejections: {len(too_many(beyond))} figures, all with missing biopsies and participants who are little",
        "alike. There the variance of participants stops at 0 and the level is that of plain Kenward-Roger, whose excess is",
        "known (up to .059 over 100,000 sets, see [the mixed-model layer](methods/mixed.md)). With complete pairs no cell",
        "rejects too often. Heavy tails make the test conservative.",
        "",
        "| cell | figure | value |",
        "|---|---|---|",
    ]
    names = {
        "rate_05": "type I error at .05",
        "rate_01": "type I error at .01",
        "coverage_95": "coverage of 95 % limits",
    }
    lines += [f"| {r.cell.name} | {names[r.column]} | {rate(r.value)} |" for r in beyond.itertuples()]
    return [*lines, ""]


def fdr_part() -> list[str]:
    """False discovery rate of genes."""
    table = pd.read_csv(grid.FDR)
    lines = [
        "## False discoveries among genes",
        "",
        f"{grid.SETS_OF_GENES} sets of {grid.GENES:,} genes, a tenth of which change, in 36 libraries of 20 participants"
        " (16 pairs); TMM,",
        "voom, Kenward-Roger, moderated variances, Benjamini-Hochberg at 5 %. Correlated: blocks of 50 genes share half of",
        "the variance of a biopsy. `tests/validation/results/fdr.csv`.",
        "",
        "| genes | mean share of false calls | Monte-Carlo SE | sets with a share above .10 | power | mean calls |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("independent", "correlated"):
        own = table[table["genes"] == name]
        se = own["fdp"].std() / np.sqrt(len(own))
        cells = (
            name,
            rate(own["fdp"].mean()),
            rate(se),
            f"{(own['fdp'] > 0.1).mean():.1%}",
            rate(own["power"].mean()),
        )
        lines.append("| " + " | ".join(cells) + f" | {own['calls'].mean():.0f} |")
    limma = pd.read_csv(TESTS / "calibration" / "results.csv").query(
        "scenario.str.startswith('trial of')", engine="python"
    )
    value = limma.set_index("measure")["value"]
    lines += [
        "",
        f"Against limma 3.54 with duplicateCorrelation on the same counts of three trials of 4,000 genes: false discovery"
        f" rate {rate(value['fdr'])} against {rate(value['limma_fdr'])}, power {rate(value['power'])} against"
        f" {rate(value['limma_power'])} (`tests/calibration`).",
        "",
    ]
    return lines


def flips_part() -> list[str]:
    """The null on real tumours."""
    riaz, hgsoc = pd.read_csv(label_flips.RESULTS), pd.read_csv(label_flips.HGSOC_RESULTS)
    return [
        "## Flipped labels on real tumours",
        "",
        "`tests/validation/label_flips.py`: the labels Pre and On of each participant of Riaz 2017 (108 biopsies, 43 pairs)",
        "are exchanged with a fair coin, a biopsy without a partner gets the other label with the same chance, and the whole",
        "road of `pd_change` is gone: filter, TMM, voom, mixed model, moderated variances, Benjamini-Hochberg over about",
        f"{round(riaz['genes'].median(), -2):,.0f} genes. Labels then say nothing about the transcripts, while genes are as"
        " correlated as in tumours.",
        "`tests/validation/results/label_flips.csv`.",
        "",
        *_flips_table(riaz),
        "",
        "Genes move together, so the share of genes below .05 differs much from flip to flip, though of as many independent",
        "genes it would stay within .005 of .05: such a share is no evidence by itself. A false discovery rate is an average",
        "over such flips; where the null calls genes, it may call several at once.",
        "",
        "The same with an ovarian cancer cohort before and after chemotherapy (80 biopsies of 23 participants, one to four of a",
        f"visit, all of which enter the model; {hgsoc['genes'].median():,.0f} genes)."
        " `tests/validation/results/label_flips_hgsoc.csv`.",
        "",
        *_flips_table(hgsoc),
        "",
        *_uniformity(hgsoc),
        "",
    ]


def _flips_table(table: pd.DataFrame) -> list[str]:
    """What flips of a cohort called, beside its true labels."""
    flips, truth = table[table["flip"] > 0], table[table["flip"] == 0].iloc[0]
    n = len(flips)
    share, any10 = (flips["calls_05"] > 0).mean(), (flips["calls_10"] > 0).mean()
    upper = 0.05 + grid.band(0.05, n)
    spread = flips["share_05"].quantile([0.05, 0.5, 0.95])
    as_many = (flips["share_05"] >= truth["share_05"]).mean()
    return [
        "| | |",
        "|---|---|",
        f"| flips | {n:,} of {label_flips.FLIPS:,} planned |",
        f"| flips with any gene at q < .05 | {(flips['calls_05'] > 0).sum()} ({share:.1%}); allowed {upper:.1%} |",
        f"| flips with any gene at q < .10 | {(flips['calls_10'] > 0).sum()} ({any10:.1%}) |",
        f"| most calls in one flip at q < .05 | {flips['calls_05'].max()} |",
        f"| share of genes with p < .05: mean; 5 %, 50 %, 95 % of flips | {rate(flips['share_05'].mean())};"
        f" {rate(spread[0.05])}, {rate(spread[0.5])}, {rate(spread[0.95])} |",
        f"| share of genes with p < .001: mean | {flips['share_001'].mean():.5f} |",
        f"| the true labels | {rate(truth['share_05'])} of genes below .05, {truth['calls_05']:.0f} at q < .05,"
        f" {truth['calls_10']:.0f} at q < .10;"
        f" {as_many:.1%} of flips have as many below .05 |",
    ]


def _uniformity(table: pd.DataFrame) -> list[str]:
    """Whether p of single genes over flips is uniform: Kolmogorov and Smirnov, gene by gene."""
    found = label_flips.uniformity(table)
    differ = found.loc[found["holm"] < 0.05, "below_05"]
    return [
        f"p of {len(found)} genes (every {label_flips.EVERY}th by reads) over these flips against a uniform distribution"
        f" (Kolmogorov-Smirnov):",
        f"median distance {rate(found['distance'].median())}, largest {rate(found['distance'].max())};"
        f" {len(differ)} genes differ at .05 after Holm, and of each of these",
        f"at most {rate(differ.max())} of p lie below .05. Of all these p {rate(found['below_05'].mean())} lie below .05, gene by gene"
        f" {rate(found['below_05'].min())} to {rate(found['below_05'].max())}: for",
        "some genes the test is more cautious than it need be; why was not found out.",
    ]


def invariants_part() -> list[str]:
    """Properties and their tests."""
    lines = [
        "## What must not change an answer",
        "",
        f"{len(PROPERTIES)} properties, by Hypothesis (15 to 60 examples a run, 3 for whole studies; 1,000 with `--slow`).",
        "",
    ]
    for what, tests in PROPERTIES:
        lines.append(f"- {what}: " + ", ".join(f"`{t}`" for t in tests))
    return [*lines, ""]


def page(measured: dict[str, str]) -> str:
    """The whole page."""
    lines = [HEAD, "## Claims", "", f"{len(CLAIMS)} claims.", "", *claims_part(measured)]
    lines += [*grid_part(), *fdr_part(), *flips_part(), *invariants_part()]
    return "\n".join(lines) + "\n" + NOT_VALIDATED


def main() -> None:
    """Measure every claim and write the page."""
    former = read_measured(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    sources = Sources()
    measured = {claim.name: measure(claim, sources, former) for claim in CLAIMS}
    PAGE.write_text(page(measured), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
