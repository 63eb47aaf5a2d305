"""Claims on the mixed models: certified data, R's answers, forty digits, closed forms."""

# ruff: noqa: E501 - tables of claims and prose, one line each
from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from scipy import stats

from pdbiomarker.mixed import RandomSlopes, fit
from pdbiomarker.mixed.dupcor import duplicate_correlation
from pdbiomarker.mixed.moderate import moderated_t, squeeze_variances
from tests.mixed.conftest import fit_densely
from tests.reference_inputs import Certified, nist
from tests.validation.claim import Claim, NotHere, Sources, absolute, differing, digits, relative

Numbers = dict[str, np.ndarray]

# --- NIST -------------------------------------------------------------------------------------------------

TEN = ("SiRstv", "AtmWtAg", *(f"SmLs0{i}" for i in range(1, 7)))
FOUR = ("SmLs07", "SmLs08", "SmLs09")
VARIANCES = ("AtmWtAg", "SiRstv", "SmLs01", "SmLs02", "SmLs04", "SmLs05")


def certified(name: str) -> Certified:
    """A layout of NIST; not here where scipy leaves out its test data."""
    try:
        return nist(name)
    except FileNotFoundError:
        raise NotHere(f"{name}.dat, which some builds of scipy leave out") from None


def nist_f(names: tuple[str, ...], _: Sources) -> float:
    """F of the one-way layout, 1 + m theta, from the REML fit."""
    found, expected = [], []
    for name in names:
        data = certified(name)
        result = fit(data.y[None], np.ones((len(data.y), 1)), data.group)
        found.append(1 + len(data.y) / len(np.unique(data.group)) * result.theta[0, 0])
        expected.append(data.F)
    return digits(found, expected)


def nist_variances(_: Sources) -> float:
    """Residual and between variance: MSW and (MSB - MSW) / m."""
    found, expected = [], []
    for name in VARIANCES:
        data = certified(name)
        result = fit(data.y[None], np.ones((len(data.y), 1)), data.group)
        found += [result.sigma2[0], result.variance[0, 0]]
        expected += [data.within, (data.between - data.within) * len(np.unique(data.group)) / len(data.y)]
    return digits(found, expected)


# --- five hundred data sets -------------------------------------------------------------------------------


@functools.cache
def five_hundred() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ours and R's numbers for every data set of `golden/lmer500`, in the same columns."""
    folder = Sources().golden("lmer500")
    theirs = pd.read_csv(folder / "results.csv", index_col="set")
    rows = []
    for number, data in pd.read_csv(folder / "inputs.csv.gz").groupby("set"):
        X, contrast, weights = design(data)
        kr, satterthwaite = (
            fit([data.y], X, data.participant, weights=weights, contrasts=contrast, ddf=ddf)
            for ddf in ("kenward-roger", "satterthwaite")
        )
        row = {"set": number, "estimate": kr.estimate[0, 0], "status": kr.status[0]}
        row |= {f"{n}_k": getattr(kr, n)[0, 0] for n in ("se", "df", "p")}
        row |= {f"{n}_s": getattr(satterthwaite, n)[0, 0] for n in ("se", "df", "p")}
        row |= {"sigma": np.sqrt(kr.sigma2[0]), "criterion": -2 * kr.loglik[0]}
        rows.append(row)
    return pd.DataFrame(rows).set_index("set"), theirs


def design(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Design, contrast of the second visit, and weights of a data set of `golden/lmer500`."""
    visits = [(data.visit == v).to_numpy(float) for v in (1, 2) if (data.visit == v).any()]
    X = np.column_stack([np.ones(len(data)), *visits, data.x])
    weights = data.w.to_numpy()[None] if data.kind.iloc[0] == "weights" else None
    return X, np.eye(X.shape[1])[1:2], weights


def of_500(column: str, _: Sources) -> float:
    ours, theirs = five_hundred()
    if column == "estimate":
        return absolute(ours.estimate / theirs.se_k, theirs.estimate / theirs.se_k)
    if column.startswith("p_"):
        return absolute(np.log10(ours[column]), np.log10(theirs[column]))
    if column == "criterion":
        return float(max(0.0, (ours.criterion - theirs.criterion).max()))
    return relative(ours[column], theirs[column])


def boundaries(_: Sources) -> float:
    """Fits with lme4's variance at 0 that ours does not flag, and the other way round."""
    ours, theirs = five_hundred()
    return differing(ours.status == "singular", theirs.theta < 1e-6)


def arbiter(_: Sources) -> float:
    """The ten sets in which lmer and ours differ most, against a dense computation that shares no code."""
    ours, theirs = five_hundred()
    off = (
        np.abs(ours.estimate - theirs.estimate) / theirs.se_k + np.abs(ours.se_k / theirs.se_k - 1)
    ).nlargest(10)
    data = pd.read_csv(Sources().golden("lmer500/inputs.csv.gz")).set_index("set")
    worst = 0.0
    for number in off.index:
        rows = data.loc[number]
        X, contrast, weights = design(rows)
        w = None if weights is None else weights[0]
        best = fit_densely(rows.y.to_numpy(), X, rows.participant.tolist(), weights=w, contrasts=contrast)
        mine = ours.loc[number]
        worst = max(worst, abs(mine.estimate - best.estimate[0]) / best.se[0])
        worst = max(worst, relative([mine.se_k, mine.df_k], [best.se[0], best.df[0]]))
    return worst


# --- other oracles ----------------------------------------------------------------------------------------


def paired_t(_: Sources) -> float:
    """t, df and p of 400 sets of 3 to 20 complete pairs, any intraclass correlation."""
    rng = np.random.default_rng(31)
    worst = 0.0
    for n in (3, 5, 8, 12, 20):
        y = rng.normal(size=(80, 2 * n))
        y[:40] += 2 * np.tile(rng.normal(size=(40, n)), 2)
        X = np.column_stack([np.ones(2 * n), np.repeat([0.0, 1.0], n)])
        found = fit(y, X, np.tile(np.arange(n), 2), contrasts=[[0.0, 1.0]], allow_negative_icc=True)
        t = stats.ttest_rel(y[:, n:], y[:, :n], axis=1)
        worst = max(worst, relative(found.t[:, 0], t.statistic), relative(found.p[:, 0], t.pvalue))
        worst = max(worst, relative(found.df[:, 0], n - 1))
    return worst


def forty_digits(column: str, sources: Sources) -> float:
    """Three designs with slopes or nested terms where lmer stops short, at mpmath's optimum."""
    optima = pd.read_csv(sources.golden("high_precision/optima.csv"))
    everything = pd.read_csv(sources.golden("edge_cases/edge_data.csv"))
    worst = 0.0
    for case in ("lesion_nested", "random_slope_corr", "random_slope_diag"):
        data, expected = everything[everything.case == case], optima[optima.case == case]
        groups, slopes = {"participant": data.participant}, None
        if case == "lesion_nested":
            groups["participant/lesion"] = data.lesion
            columns = [data.time == t for t in ("ON", "EOT") if (data.time == t).any()]
        else:
            columns = [data.time.astype(float)]
            own = RandomSlopes(np.column_stack(columns), correlated=case.endswith("corr"))
            slopes = {"participant": own}
        X = np.column_stack([np.ones(len(data)), *columns]).astype(float)
        for ddf, short in (("kenward-roger", "kr"), ("satterthwaite", "satterthwaite")):
            result = fit([data.y], X, groups, slopes=slopes, ddf=ddf)
            theirs = expected["estimate" if column == "estimate" else f"{column}_{short}"]
            worst = max(worst, relative(getattr(result, column)[0], theirs))
    return worst


def several_terms(column: str, sources: Sources) -> float:
    """lmerTest on a participant with a second, crossed or nested term, and on three visits."""
    everything = pd.read_csv(sources.golden("edge_cases/edge_data.csv"))
    results = pd.read_csv(sources.golden("edge_cases/edge_results.csv"))
    worst = 0.0
    for case in ("repeated_slides", "crossed_batch"):
        data = everything[everything.case == case]
        visits = [data.time == t for t in ("ON", "EOT") if (data.time == t).any()]
        X = np.column_stack([np.ones(len(data)), *visits]).astype(float)
        second = {"participant/visit": data.time} if case == "repeated_slides" else {"batch": data.batch}
        for ddf in ("Satterthwaite", "Kenward-Roger"):
            found = fit([data.y], X, {"participant": data.participant, **second}, ddf=ddf.lower())
            theirs = results[(results.case == case) & (results.ddf == ddf)]
            worst = max(worst, relative(getattr(found, column)[0], theirs[column]))
    return worst


def squeeze(kind: str, sources: Sources) -> float:
    table = pd.read_csv(sources.golden("sim200/limma_squeezeVar.csv"))
    covariate = table["covariate"] if kind == "trend" else None
    found = squeeze_variances(table["var"], table["df"], covariate=covariate, robust=kind == "robust")
    pairs = ((found.df_prior, "d0"), (found.s2_prior, "s0"), (found.s2_post, "post"))
    return max(relative(values, table[f"{name}_{kind}"]) for values, name in pairs)


def squeeze_362(sources: Sources) -> float:
    table = pd.read_csv(sources.golden("moderation/squeeze_362_cases.csv"))
    worst = 0.0
    for case, frame in table.groupby("case", sort=False):
        if case == "many_trend":
            continue
        covariate = None if frame["covariate"].isna().all() else frame["covariate"]
        found = squeeze_variances(
            frame["s2"],
            frame["df"],
            covariate=covariate,
            robust=bool(frame["robust"].iloc[0]),
            definition="limma-3.62",
        )
        worst = max(worst, relative(found.s2_post, frame["post"]))
    return worst


def ebayes(sources: Sources) -> float:
    """t of limma's eBayes on voom values, eight contrasts of 200 genes, from its own sigma and df."""
    genes = pd.read_csv(sources.golden("sim200/limma_voom_nocorr_std_genes.csv"), index_col="gene")
    table = pd.read_csv(sources.golden("sim200/limma_voom_nocorr_std_contrasts.csv"))

    def wide(column: str) -> np.ndarray:
        return table.pivot_table(index="gene", columns="contrast", values=column).loc[genes.index].to_numpy()

    prior = squeeze_variances(genes["sigma"] ** 2, genes["df_residual"])
    found = moderated_t(wide("logFC"), wide("stdev_unscaled"), genes["df_residual"], moderation=prior)
    return relative(found.t, wide("t"))


def consensus(sources: Sources) -> float:
    def table(name: str) -> np.ndarray:
        return pd.read_csv(sources.golden(f"sim200/{name}.csv"), index_col=0).to_numpy(float)

    people = pd.read_csv(sources.golden("sim200/samples.csv")).participant
    found = duplicate_correlation(table("voom_E"), table("design"), people, weights=table("voom_weights"))
    limma = pd.read_csv(sources.golden("sim200/limma_dupcor_consensus.csv")).set_index("what")["value"]
    return abs(found.consensus - limma["consensus_weighted"])


NIST = "NIST StRD, analysis of variance, certified values"
FIVE = "lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2 (`golden/lmer500`: 500 data sets, 169 on the boundary, 80 weighted)"
MPMATH = "mpmath, 40 digits (`golden/high_precision`)"
EDGE = "lmerTest 3.1-3, pbkrtest 0.5.2 (`golden/edge_cases`)"
LIMMA = "limma 3.54.1 (`golden/sim200`)"
M, G = "Mixed models", "Moderated variances"

CLAIMS = [
    Claim("nist_f", M, "F of 8 one-way layouts, AtmWtAg, SiRstv, SmLs01-06", NIST, "digits", 10,
          functools.partial(nist_f, TEN), "mixed/test_certified.py"),
    Claim("nist_f_hard", M, "F of SmLs07-09, whose responses have 13 constant digits", NIST, "digits", 4,
          functools.partial(nist_f, FOUR), "mixed/test_certified.py"),
    Claim("nist_variances", M, "REML variances, within and between, of AtmWtAg, SiRstv, SmLs01, 02, 04, 05", NIST,
          "digits", 8, nist_variances, "mixed/test_certified.py"),
    Claim("paired_t", M, "complete pairs: t, df and p of the paired t-test", "scipy.stats.ttest_rel", "relative", 1e-10,
          paired_t, "mixed/test_inference.py"),
    Claim("estimate_500", M, "estimate of a change, 500 data sets", FIVE, "standard errors", 1e-7,
          functools.partial(of_500, "estimate"), "mixed/test_reml.py"),
    Claim("se_kenward_roger_500", M, "standard error, Kenward-Roger", FIVE, "relative", 1e-6,
          functools.partial(of_500, "se_k"), "mixed/test_reml.py"),
    Claim("df_kenward_roger_500", M, "degrees of freedom, Kenward-Roger", FIVE, "relative", 1e-5,
          functools.partial(of_500, "df_k"), "mixed/test_reml.py"),
    Claim("p_kenward_roger_500", M, "p, Kenward-Roger", FIVE, "log10 p", 4e-6, functools.partial(of_500, "p_k"),
          "mixed/test_reml.py"),
    Claim("se_satterthwaite_500", M, "standard error, Satterthwaite", FIVE, "relative", 1e-6,
          functools.partial(of_500, "se_s"), "mixed/test_reml.py"),
    Claim("df_satterthwaite_500", M, "degrees of freedom, Satterthwaite", FIVE, "relative", 1e-5,
          functools.partial(of_500, "df_s"), "mixed/test_reml.py"),
    Claim("p_satterthwaite_500", M, "p, Satterthwaite", FIVE, "log10 p", 4e-6, functools.partial(of_500, "p_s"),
          "mixed/test_reml.py"),
    Claim("sigma_500", M, "residual standard deviation", FIVE, "relative", 1e-6, functools.partial(of_500, "sigma"),
          "mixed/test_reml.py"),
    Claim("criterion_500", M, "by how much our REML criterion is ever worse than lme4's", FIVE, "absolute", 1e-8,
          functools.partial(of_500, "criterion"), "mixed/test_reml.py"),
    Claim("boundary_500", M, "data sets whose flag of a variance at 0 differs from lme4's", FIVE, "cases", 0, boundaries,
          "mixed/test_reml.py"),
    Claim("arbiter_500", M, "the ten data sets that differ most from lmer: estimate, SE, df at the optimum",
          "dense V, traces of n x n products, bisection of the REML slope", "relative", 1e-9, arbiter,
          "mixed/test_inference.py"),
    *(Claim(f"{column}_forty_digits", M, f"{what}, nested and sloped designs", MPMATH, "relative", tolerance,
            functools.partial(forty_digits, column), "mixed/test_certified.py")
      for column, what, tolerance in (("estimate", "estimates", 1e-11), ("se", "standard errors", 1e-11),
                                      ("df", "degrees of freedom", 1e-10))),
    *(Claim(f"{column}_several_terms", M, f"{what}, biopsies within visits and crossed batches", EDGE, "relative",
            tolerance, functools.partial(several_terms, column), "mixed/test_blocks.py, mixed/test_compat.py")
      for column, what, tolerance in (("estimate", "estimates", 1e-6), ("se", "standard errors", 1e-5),
                                      ("df", "degrees of freedom", 1e-4))),
    *(Claim(f"squeeze_{kind}", G, f"prior df, prior and posterior variance ({kind})", f"{LIMMA} squeezeVar", "relative",
            1e-8, functools.partial(squeeze, kind), "mixed/test_moderate.py") for kind in ("std", "trend", "robust")),
    Claim("squeeze_362", G, "posterior variances, the definition since limma 3.62", "pylimma 0.2.0, whose optimiser stops "
          "at 1e-4 (`golden/moderation`)", "relative", 5e-4, squeeze_362, "mixed/test_moderate.py"),
    Claim("ebayes_t", G, "moderated t, 200 genes x 8 contrasts", f"{LIMMA} eBayes", "relative", 1e-8, ebayes,
          "mixed/test_moderate.py"),
    Claim("duplicate_correlation", G, "consensus correlation", f"{LIMMA} duplicateCorrelation", "absolute", 1e-5,
          consensus, "mixed/test_dupcor.py"),
]  # fmt: skip
