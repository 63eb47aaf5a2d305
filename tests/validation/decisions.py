"""Claims on pairs, exact tests, noise and decision rules."""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker.decide import Setting, count_probability, operating_characteristics, power_table, preset
from pdbiomarker.link import fit_shape, hazard_ratio
from pdbiomarker.mixed.adjust import adjust, adjust_for_look
from pdbiomarker.mixed.exact import sign_flip_test, signed_rank_test
from pdbiomarker.noise import Noise, icc, variance_components
from pdbiomarker.pairing import Chooser, assign_visits, pair_table
from pdbiomarker.study import read_study
from tests.builders import study_folder
from tests.validation.claim import Claim, Sources, differing, relative

# --- pairs ------------------------------------------------------------------------------------------------


@functools.cache
def _drawn() -> tuple[pd.DataFrame, pd.Series, dict[str, bool]]:
    """Days of 240 biopsies of 80 participants, the visit that the study gives each, and who is a pair."""
    rng = np.random.default_rng(61)
    days = rng.choice([*range(-40, 0), *range(1, 50)], 240)
    rows = pd.DataFrame({"participant_id": np.repeat([f"P{k:02d}" for k in range(80)], 3), "study_day": days})
    rows.insert(1, "biopsy_id", [f"B{k:03d}" for k in range(240)])
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(study_folder(Path(folder), biopsies=rows.to_csv(index=False)))
    found = assign_visits(study)["visit"].reindex(rows["biopsy_id"])
    pairs = pair_table(Chooser(study), ("screening", "C2D1")).set_index("participant_id")["evaluable"]
    return rows, found, pairs.astype(bool).to_dict()


def _window(day: int) -> str:
    """Day 15 within 3, day 29 within 7, screening from -28 to -1: written out."""
    if -28 <= day <= -1:
        return "screening"
    return "C1D15" if abs(day - 15) <= 3 else "C2D1" if abs(day - 29) <= 7 else ""


def visits(_: Sources) -> float:
    rows, found, _pairs = _drawn()
    return differing(found.fillna(""), rows["study_day"].map(_window))


def pairs(_: Sources) -> float:
    rows, _found, evaluable = _drawn()
    held = rows.assign(visit=rows["study_day"].map(_window)).groupby("participant_id")["visit"].agg(set)
    return differing([evaluable[p] for p in held.index], [{"screening", "C2D1"} <= has for has in held])


# --- exact tests and multiplicity -------------------------------------------------------------------------


def flips(_: Sources) -> float:
    """All signs of 2 to 11 changes, listed one after the other."""
    rng = np.random.default_rng(62)
    found, expected = [], []
    for n in range(2, 12):
        changes = np.round(rng.normal(0.3, 1, n), 1)
        sums = [abs(np.dot(s, np.abs(changes))) for s in itertools.product((-1.0, 1.0), repeat=n)]
        expected.append(np.mean(np.array(sums) >= abs(changes.sum()) - 1e-9))
        found.append(sign_flip_test(changes).p[0])
    return relative(found, expected)


def ranks(sources: Sources) -> float:
    cases = (
        pd.read_csv(sources.golden("exact/signed_rank_cases.csv")).groupby("case")["change"].apply(np.array)
    )
    table = pd.read_csv(sources.golden("exact/signed_rank_results.csv")).dropna(subset="exact")
    found = [
        signed_rank_test(cases[row.case], alternative=row.alternative, correct=row.correct).p[0]
        for row in table.itertuples()
    ]
    return relative(found, table["exact"])


def adjusted(method: str, sources: Sources) -> float:
    families = pd.read_csv(sources.golden("exact/adjusted.csv")).groupby("family")
    return max(relative(adjust(f["p"].to_numpy(), method).p, f[method]) for _, f in families)  # type: ignore[arg-type]


def looks(sources: Sources) -> float:
    worst = 0.0
    for row in pd.read_csv(sources.golden("exact/looks.csv")).itertuples():
        shares, critical = (np.array(text.split(), dtype=float) for text in (row.information, row.critical))
        boundary = "pocock" if "pocock" in row.case else "obrien-fleming"
        p, n = 2 * stats.norm.sf(critical), len(shares)
        share = shares / shares[-1]
        found = [adjust_for_look(p[k], k + 1, n, boundary=boundary, information=share) for k in range(n)]
        worst = max(worst, relative(np.array(found, dtype=float), row.probability))
    return worst


# --- noise ------------------------------------------------------------------------------------------------


def nested(sources: Sources) -> float:
    frame = pd.read_csv(sources.golden("noise/nested.csv"), dtype={"region": str})
    levels = {name: frame[name].to_numpy() for name in ("participant", "visit", "biopsy", "region")}
    found = variance_components(frame["y"].to_numpy(), levels, fixed=levels["visit"])
    expected = pd.read_csv(sources.golden("noise/nested_varcorr.csv")).set_index("component")["variance"]
    names = {"participant": "participant", "visit": "occasion", "biopsy": "biopsy", "region": "Residual"}
    return max(relative(found.variance_of(ours), expected[theirs]) for ours, theirs in names.items())


def agreement(_: Sources) -> float:
    """Six targets and four judges, three forms, two decimals."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = [round(icc(ratings, form).value, 2) for form in ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)")]
    return differing(found, [0.17, 0.29, 0.71])


def _known(sigma: float, df: float = np.inf) -> Noise:
    return Noise("CD8_density", "log2", sigma, df, "replicate biopsies")


def limits(_: Sources) -> float:
    """Reference change values of a known and of an estimated sigma, and the chance of a doubling by noise."""
    found, expected = [], []
    for sigma, df in itertools.product((0.3, 0.5, 0.7, 0.9), (4.0, 12.0, np.inf)):
        found += [_known(sigma, df).fold_limit(), _known(sigma).chance_beyond(1.0)]
        expected.append(2 ** (stats.t.ppf(0.975, df) * np.sqrt(2) * sigma))
        expected.append(stats.norm.sf(1 / (np.sqrt(2) * sigma)))
    return relative(found, expected)


# --- rules ------------------------------------------------------------------------------------------------


def rubinstein(_: Sources) -> float:
    found = [
        count_probability(3, 2, 0.8),
        count_probability(3, 2, 0.1),
        count_probability(3, 2, 0.1, endpoints=2),
    ]
    return differing([round(x, 3) for x in found], [0.896, 0.028, 0.055])


def false_go(_: Sources) -> float:
    """Percentage points between the printed false go and the exact mixture over the estimated noise, 2 of 12."""
    found = operating_characteristics(
        preset("rcv_fraction"), _known(0.7, 6.0), Setting(12), truths=[], n_sims=40_000
    )
    grid = (np.arange(20_000) + 0.5) / 20_000
    s = np.sqrt(stats.chi2.ppf(grid, 6) / 6)
    exact = np.mean(stats.binom.sf(1, 12, stats.norm.sf(stats.t.isf(0.025, 6) * s)))
    return float(100 * abs(found["p_go"].iloc[0] - exact))


def pairs_needed(_: Sources) -> float:
    """Fewest pairs for 80 % power, from the noncentral t distribution, by trying one n after the other."""
    table = power_table()
    folds = (1.5, 2.0, 2.5, 3.0)

    def power(n: int, fold: float, sd: float) -> float:
        far, shift = stats.t.isf(0.025, n - 1), np.sqrt(n) * np.log2(fold) / sd
        return float(
            np.nan_to_num(stats.nct.sf(far, n - 1, shift)) + np.nan_to_num(stats.nct.cdf(-far, n - 1, shift))
        )

    fewest = [
        [next(n for n in itertools.count(3) if power(n, fold, sd) >= 0.8) for fold in folds]
        for sd in table.index
    ]
    return differing(table.to_numpy().ravel(), np.ravel(fewest))


# --- links ------------------------------------------------------------------------------------------------


def shapes(sources: Sources) -> float:
    r = pd.read_csv(sources.golden("link/link_results.csv")).set_index(["case", "quantity"])["value"]
    data = pd.read_csv(sources.golden("link/curves.csv"))
    x, y = (data[c].to_numpy(dtype=float) for c in ("x", "y"))
    names = ("constant", "linear", "log-linear", "bell", "Emax")
    return max(relative(fit_shape(name, x, y).rss, r[name, "rss"]) for name in names)


def hazards(sources: Sources) -> float:
    r = pd.read_csv(sources.golden("link/link_results.csv")).set_index(["case", "quantity"])["value"]
    data = pd.read_csv(sources.golden("link/survival.csv"))
    found = hazard_ratio(data["time"], data["event"], data["change"])
    return relative(
        [found.value, found.low, found.high, found.p], [r["cox", q] for q in ("hr", "low", "high", "p")]
    )


P, E, N, D, L = "Who pairs", "Exact tests and multiplicity", "Noise of a biopsy", "Decision rules", "Links"
WRITTEN = "windows written out, brute force"
R, MVTNORM = "R 4.2.2 (`golden/exact`, 15 digits)", "R's mvtnorm, Miwa's algorithm (`golden/exact`)"

CLAIMS = [
    Claim("visits", P, "visits of 240 biopsies by their day", WRITTEN, "cases", 0, visits,
          "pairing/test_visits.py, test_pairing.py"),
    Claim("pairs", P, "evaluable pairs among 80 participants", WRITTEN, "cases", 0, pairs,
          "pairing/test_accounting.py, pairing/test_quality.py"),
    Claim("sign_flips", E, "p of sign flips, 2 to 11 pairs", "all signs listed", "relative", 1e-12, flips,
          "mixed/test_exact.py, mixed/test_bootstrap.py, change/test_robustness.py"),
    Claim("signed_ranks", E, "exact p of Wilcoxon's signed ranks, with ties and zeros", R, "relative", 1e-12, ranks,
          "mixed/test_exact.py"),
    *(Claim(f"adjusted_{m}", E, f"adjusted p, {told}", f"{R}, p.adjust", "relative", 1e-12, functools.partial(adjusted, m),
            "mixed/test_adjust.py") for m, told in (("holm", "Holm"), ("bh", "Benjamini-Hochberg"), ("by", "Benjamini-Yekutieli"))),
    Claim("looks", E, "p adjusted for repeated looks", MVTNORM, "relative", 1e-7, looks, "mixed/test_adjust.py"),
    Claim("variance_components", N, "variances of unbalanced nested replicates", "lme4 1.1-31 (`golden/noise`)", "relative",
          1e-4, nested, "noise/test_components.py"),
    Claim("icc", N, "intraclass correlations, three forms, two decimals", "Shrout and Fleiss 1979, tables 2 and 4", "cases",
          0, agreement, "noise/test_agreement.py"),
    Claim("change_limits", N, "limits of a change, and the chance of a doubling by noise",
          "normal and t quantiles, closed form", "relative", 1e-10, limits, "noise/test_estimate.py, noise/test_responders.py"),
    Claim("rubinstein", D, "power and false positives of 2 of 3", "published: .896, .028, .055", "cases", 0, rubinstein,
          "decide/test_operating.py"),
    Claim("false_go", D, "printed false go of 2 of 12 with noise on 6 df", "numerical mixture over the estimated noise",
          "points", 0.4, false_go, "decide/test_operating.py, decide/test_evaluate.py"),
    Claim("pairs_needed", D, "pairs for 80 % power, 16 settings", "noncentral t, one n after the other", "cases", 0,
          pairs_needed, "decide/test_planning.py"),
    Claim("shapes", L, "residual sums of squares of five shapes of exposure", "R's lm and nls (`golden/link`)", "relative",
          1e-8, shapes, "link/test_curves.py"),
    Claim("hazard_ratio", L, "hazard ratio, profile limits, p", "R's survival 3.5-3 (`golden/link`)", "relative", 1e-6,
          hazards, "link/test_landmark.py"),
]  # fmt: skip
