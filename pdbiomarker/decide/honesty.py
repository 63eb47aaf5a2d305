r"""Honesty checks: what else could have made the result, each with a table and a verdict in words.

**Regression to the mean.** A baseline measured with error is followed by a value nearer to the mean. Without
any effect, and with equal variances, reliability rho gives

    corr(baseline, change) = -sqrt((1 - rho) / 2),
    mean change of the half with low baselines = (1 - rho) sqrt(2 / pi) SD(baseline),

-.45 and .32 SD at rho = .6. A claim that "participants with few cells benefit" has to pass this null, not 0.

**Missing second biopsies** by pattern mixture: the mean change of all N = n + m is theta(delta) = dbar +
f delta, f = m / N, where the m without a second biopsy changed by delta less or more than the others. Its
variance is s^2 / n + delta^2 f (1 - f) / N. The tipping point is the delta nearest 0 at which the confidence
interval reaches the null.

Sources: Bland and Altman 1994, doi:10.1136/bmj.309.6957.780 (regression to the mean); Little 1993,
doi:10.1080/01621459.1993.10594302 (pattern mixture); Austin 2011, doi:10.1080/00273171.2011.568786
(standardised differences).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from pdbiomarker.decide.words import shown
from pdbiomarker.errors import Problems
from pdbiomarker.noise import Noise, Scale

__all__ = [
    "Check",
    "leave_one_out",
    "missing_second_biopsy",
    "offset_sensitivity",
    "regression_to_the_mean",
    "reliability_of",
    "threshold_sensitivity",
    "unpaired_baselines",
]

Array = NDArray[np.float64]
Finding = Literal["clear", "caution", "not told"]

_ALPHA: Final = 0.05
#: Standardised differences beyond this are commonly called an imbalance.
_IMBALANCE: Final = 0.25
_OFFSETS: Final = (0.01, 0.1, 0.5, 1.0, 10.0)
#: Geometric mean ratios that differ by more than this factor are not the same finding.
_SAME_RATIO: Final = 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """One honesty check.

    Attributes
    ----------
    name : str
    question : str
        What it asks.
    finding : {"clear", "caution", "not told"}
        ``clear``: nothing against the result; ``caution``: the result may be due to this; ``not told``: the
        data do not tell.
    verdict : str
        In words, with the numbers that it rests on.
    table : DataFrame
    """

    name: str
    question: str
    finding: Finding
    verdict: str
    table: pd.DataFrame


def reliability_of(noise: Noise, baselines: ArrayLike) -> tuple[float, float, float]:
    """Reliability of a baseline, 1 - sigma^2 / Var(baseline), and its range over the limits of sigma.

    Returns
    -------
    value, low, high : float
        Between 0 and 1; low and high are NaN where the noise has no limits.
    """
    b = np.asarray(baselines, dtype=float)
    variance = float(b[np.isfinite(b)].var(ddof=1))
    value, low, high = (1 - np.square([noise.sigma, noise.high, noise.low]) / variance).tolist()
    return tuple(float(np.clip(x, 0.0, 1.0)) if np.isfinite(x) else np.nan for x in (value, low, high))  # type: ignore[return-value]


def regression_to_the_mean(
    baseline: ArrayLike, change: ArrayLike, *, reliability: float, low: float = np.nan, high: float = np.nan
) -> Check:
    """Compare the correlation of change with baseline with what regression to the mean makes by itself.

    Parameters
    ----------
    baseline, change : (n,) arrays
        Model scale; pairs with a missing value are left out.
    reliability : float
        Share of the variance of baselines that is not noise, between 0 and 1.
    low, high : float, optional
        Its limits; the null nearest to the observed correlation is then tested.

    Raises
    ------
    InputError
        E-RULE-003: a reliability outside 0 to 1, or arrays of different lengths.
    """
    b, d = _paired(baseline, change)
    for name, value in (("reliability", reliability), ("low", low), ("high", high)):
        if not (0 <= value <= 1) and not (np.isnan(value) and name != "reliability"):
            _refuse("E-RULE-003", "A reliability lies between 0 and 1.", name, value)
    question = "Do participants with low baselines rise more than measurement error alone makes them?"
    name = "regression to the mean"
    if len(b) < 5 or np.ptp(b) == 0 or np.ptp(d) == 0:
        table = pd.DataFrame({"quantity": ["pairs"], "observed": [float(len(b))], "by_noise_alone": [np.nan]})
        return Check(name, question, "not told", f"{len(b)} pairs tell no correlation.", table)
    r = float(np.corrcoef(b, d)[0, 1])
    null = _rtm_null(reliability)
    ends = [_rtm_null(x) for x in (low, high) if np.isfinite(x)] + [null]
    nearest = float(np.clip(r, min(ends), max(ends)))
    z = (np.arctanh(r) - np.arctanh(max(nearest, -0.999999))) * np.sqrt(len(b) - 3)
    p = float(2 * stats.norm.sf(abs(z)))
    sd = float(b.std(ddof=1))
    shift = (1 - reliability) * np.sqrt(2 / np.pi)
    below = b <= np.median(b)
    halves = [float((d[half].mean() - d.mean()) / sd) for half in (below, ~below)]
    rows: list[tuple[str, float, float, float]] = [("correlation of change with baseline", r, null, p)]
    rows += [
        ("mean change of the low half, less the mean of all, in SD of baselines", halves[0], shift, np.nan)
    ]
    rows += [
        ("mean change of the high half, less the mean of all, in SD of baselines", halves[1], -shift, np.nan)
    ]
    table = pd.DataFrame(rows, columns=["quantity", "observed", "by_noise_alone", "p"])
    numbers = f"correlation {r:.2f}, by noise alone {null:.2f} at reliability {reliability:.2f}, p {p:.2g}"
    if p > _ALPHA:
        said = f"No more than regression to the mean explains ({numbers}): no claim about low baselines."
        return Check(name, question, "caution", said, table)
    way = "more" if r < nearest else "less"
    return Check(
        name, question, "clear" if way == "more" else "caution",
        f"The change goes with the baseline {way} than regression to the mean explains ({numbers}); a change "
        "of variance between visits would do so too.", table,
    )  # fmt: skip


def _rtm_null(reliability: float) -> float:
    return -float(np.sqrt((1 - reliability) / 2))


def offset_sensitivity(
    baseline: tuple[ArrayLike, ArrayLike],
    on: tuple[ArrayLike, ArrayLike],
    *,
    offsets: Sequence[float] = _OFFSETS,
) -> Check:
    """The geometric mean ratio of densities under other offsets than half a cell.

    Parameters
    ----------
    baseline, on : (cells, mm2), each (n,) arrays
        Counts and areas of the pairs; pairs with a missing value are left out.
    offsets : sequence of float
        Cells added to each count before log2(cells / area).

    Raises
    ------
    InputError
        E-RULE-003: arrays of different lengths, or an offset of 0 or less.
    """
    arrays = [np.asarray(x, dtype=float) for x in (*baseline, *on)]
    if len({a.shape for a in arrays}) > 1 or any(not o > 0 for o in offsets):
        _refuse("E-RULE-003", "Counts and areas need one length, offsets lie above 0.", "offsets", offsets)
    stacked = np.stack(arrays)
    n1, a1, n2, a2 = stacked[:, np.isfinite(stacked).all(axis=0)]
    rows = []
    for offset in offsets:
        d = np.log2((n2 + offset) / a2) - np.log2((n1 + offset) / a1)
        mean, low, high, p = _t_test(d)
        rows.append((offset, 2**mean, 2**low, 2**high, p, len(d)))
    table = pd.DataFrame(rows, columns=["offset_cells", "gmr", "gmr_low", "gmr_high", "p", "n_pairs"])
    zeros = int((n1 == 0).sum() + (n2 == 0).sum())
    question = "Does the finding depend on what is added to a count before its logarithm?"
    name = "offset"
    if table["p"].isna().any():
        return Check(name, question, "not told", "Fewer than two pairs, or no spread.", table)
    crosses = (table["p"] <= _ALPHA).nunique() > 1
    spread = float(table["gmr"].max() / table["gmr"].min())
    counted = f"{zeros} zero count{'s' if zeros != 1 else ''}; ratio {table['gmr'].min():.2f} to "
    counted += f"{table['gmr'].max():.2f}, p {table['p'].min():.2g} to {table['p'].max():.2g}"
    if crosses or spread > _SAME_RATIO:
        what = "whether p lies below .05" if crosses else "the ratio"
        said = f"The offset decides {what} ({counted}): rely on the count model."
        return Check(name, question, "caution", said, table)
    return Check(name, question, "clear", f"The offset does not matter ({counted}).", table)


def threshold_sensitivity(
    change: ArrayLike, noise: Noise, *, folds: Sequence[float] = (1.5, 2.0, 2.5, 3.0, 4.0)
) -> Check:
    """The share of upward responders at several fold changes, against what noise alone gives.

    Parameters
    ----------
    change : (n,) array
        Model scale (log2 or logit); NaN = not evaluable.
    noise : Noise
    folds : sequence of float
        Above 1.

    Raises
    ------
    InputError
        E-RULE-003: a fold of 1 or less, or noise on the identity scale, which has no folds.
    """
    if noise.scale == "identity" or any(not f > 1 for f in folds):
        _refuse("E-RULE-003", "Folds lie above 1, and the identity scale has none.", "folds", folds)
    given = np.asarray(change, dtype=float)
    d = given[np.isfinite(given)]
    base = np.log(2.0) if noise.scale == "log2" else 1.0
    rows = []
    for fold in folds:
        asked = float(np.log(fold) / base)
        k = int((d >= asked - 1e-12).sum())
        chance = noise.predicted_beyond(asked)
        p = float(stats.binom.sf(k - 1, len(d), chance)) if len(d) else np.nan
        rows.append((fold, k, len(d), k / len(d) if len(d) else np.nan, chance, p))
    table = pd.DataFrame(rows, columns=["fold", "n_up", "n_evaluable", "rate", "chance_by_noise", "p"])
    question = "Does the share of responders depend on the fold change that is asked for?"
    name = "threshold"
    if not len(d):
        return Check(name, question, "not told", "No evaluable pair.", table)
    beyond = int((table["p"] <= _ALPHA).sum())
    numbers = ", ".join(f"{row[1]} of {row[2]} at {row[0]:g}-fold" for row in rows)
    if beyond == len(table):
        said = f"More responders than noise gives at every threshold: {numbers}."
        return Check(name, question, "clear", said, table)
    if beyond == 0:
        said = f"At no threshold more responders than noise gives: {numbers}."
    else:
        said = f"More responders than noise gives at {beyond} of {len(table)} thresholds: {numbers}."
    return Check(name, question, "caution", said, table)


def leave_one_out(change: ArrayLike, participants: Sequence[str], *, scale: Scale | None = None) -> Check:
    """The mean change without each participant in turn.

    Parameters
    ----------
    change : (n,) array
        Model scale; NaN = not evaluable.
    participants : (n,) sequence of str
    scale : {"log2", "logit", "identity"}, optional
        In which the verdict tells changes as people read them; default: as they are.

    Raises
    ------
    InputError
        E-RULE-003: lengths that differ.
    """
    given = np.asarray(change, dtype=float)
    if len(given) != len(participants):
        _refuse("E-RULE-003", "One participant for each change.", "participants", len(participants))
    used = np.isfinite(given)
    d = given[used]
    people = [str(person) for person, ok in zip(participants, used, strict=True) if ok]
    rows = [("nobody", *_t_test(d))]
    rows += [(person, *_t_test(np.delete(d, i))) for i, person in enumerate(people)]
    table = pd.DataFrame(rows, columns=["left_out", "change", "low", "high", "p"])
    question, name = "Does the finding rest on one participant?", "leave one out"
    if len(d) < 3 or table["p"].isna().any():
        return Check(
            name, question, "not told", f"{len(d)} evaluable pairs are too few to leave one out.", table
        )
    whole, others = table.iloc[0], table.iloc[1:]
    flips = others[(others["p"] <= _ALPHA) != (whole["p"] <= _ALPHA)]["left_out"].tolist()
    turns = others[np.sign(others["change"]) != np.sign(whole["change"])]["left_out"].tolist()
    widest = others.loc[(others["change"] - whole["change"]).abs().idxmax()]
    first, last = (
        f"{value:.2f}" if scale is None else shown(float(value), scale)
        for value in (whole["change"], widest["change"])
    )
    moves = f"leaving out {widest['left_out']} moves it most, from {first} to {last}"
    if turns or flips:
        what = "the sign" if turns else "whether p lies below .05"
        who = ", ".join(sorted(map(str, turns or flips)))
        return Check(name, question, "caution", f"One participant decides {what}: {who} ({moves}).", table)
    return Check(name, question, "clear", f"No participant decides it ({moves}).", table)


def unpaired_baselines(baselines: pd.DataFrame, paired: ArrayLike) -> Check:
    """Compare participants with and without a second biopsy by what was known at baseline.

    Parameters
    ----------
    baselines : DataFrame
        One row a participant; numbers as they are (densities on the model scale), texts as categories.
    paired : (N,) array of bool

    Returns
    -------
    Check
        Standardised mean differences; of a text the largest one over its categories. With few participants
        their limits are wide, and the verdict says so.

    Raises
    ------
    InputError
        E-RULE-003: lengths that differ.
    """
    has = np.asarray(paired, dtype=bool)
    if has.shape != (len(baselines),):
        _refuse("E-RULE-003", "One flag for each participant.", "paired", has.shape)
    rows = []
    for column in baselines.columns:
        values = baselines[column]
        if pd.api.types.is_numeric_dtype(values):
            rows.append((str(column), "", *_difference(values.to_numpy(dtype=float), has)))
            continue
        known = values.notna().to_numpy()
        found = [
            (
                str(column),
                str(level),
                *_difference(np.where(known, values == level, np.nan).astype(float), has),
            )
            for level in sorted(values.dropna().unique(), key=str)
        ]
        rows += found
    columns = ["characteristic", "category", "paired", "unpaired", "smd", "smd_low", "smd_high"]
    columns += ["n_paired", "n_unpaired"]
    table = pd.DataFrame(rows, columns=columns)
    question = "Are participants without a second biopsy like the others?"
    name = "unpaired baselines"
    m = int((~has).sum())
    if m == 0:
        return Check(name, question, "clear", "Every participant has a second biopsy.", table)
    told = table.dropna(subset=["smd"])
    if not len(told):
        return Check(
            name, question, "not told", f"{m} without a second biopsy are too few to compare.", table
        )
    worst = told.iloc[int(np.argmax(told["smd"].abs().to_numpy()))]
    what = f"{worst['characteristic']}{' ' + worst['category'] if worst['category'] else ''}"
    numbers = f"largest standardised difference {worst['smd']:.2f} ({worst['smd_low']:.2f} to "
    numbers += f"{worst['smd_high']:.2f}) in {what}; {m} without a second biopsy"
    if abs(worst["smd"]) > _IMBALANCE:
        return Check(name, question, "caution", f"They differ: {numbers}.", table)
    wide = bool((told[["smd_low", "smd_high"]].abs().max(axis=1) > _IMBALANCE).any())
    if wide:
        return Check(
            name, question, "not told", f"No difference seen, too few to exclude one: {numbers}.", table
        )
    return Check(name, question, "clear", f"They are alike: {numbers}.", table)


def _difference(values: Array, has: NDArray[np.bool_]) -> tuple[float, ...]:
    first, second = (values[mask & np.isfinite(values)] for mask in (has, ~has))
    n1, n2 = len(first), len(second)
    means = [float(x.mean()) if len(x) else np.nan for x in (first, second)]
    if min(n1, n2) < 2:
        return (*means, np.nan, np.nan, np.nan, n1, n2)
    pooled = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
    if pooled == 0:
        same = means[0] == means[1]
        return (*means, 0.0 if same else np.nan, np.nan, np.nan, n1, n2)
    smd = (means[0] - means[1]) / pooled
    half = 1.959964 * np.sqrt((n1 + n2) / (n1 * n2) + smd**2 / (2 * (n1 + n2)))
    return (*means, smd, smd - half, smd + half, n1, n2)


def missing_second_biopsy(
    change: ArrayLike,
    n_missing: int,
    *,
    null: float = 0.0,
    deltas: Sequence[float] | None = None,
    scale: Scale | None = None,
) -> Check:
    """What the finding would be if participants without a second biopsy had changed differently.

    Parameters
    ----------
    change : (n,) array
        Model scale, of the evaluable pairs.
    n_missing : int
        Participants with a baseline but without a second value.
    null : float
        The change that means no effect.
    deltas : sequence of float, optional
        Differences of the missing changes from the mean of the others; default five from 0 to the one that
        makes them `null`.
    scale : {"log2", "logit", "identity"}, optional
        In which the verdict tells changes as people read them; default: as they are.

    Returns
    -------
    Check
        Rows: the pairs; each delta; no change in any missing participant; the worst change seen in all of
        them; and the tipping point, the difference at which the finding is lost.

    Raises
    ------
    InputError
        E-RULE-003: a negative number missing.
    """
    given = np.asarray(change, dtype=float)
    d = given[np.isfinite(given)]
    if n_missing < 0:
        _refuse("E-RULE-003", "A number of participants is not negative.", "n_missing", n_missing)
    question = "Would the finding hold if participants without a second biopsy had changed less?"
    name = "missing second biopsy"
    columns = ["assumption", "delta", "change", "low", "high", "p"]
    if len(d) < 2 or np.ptp(d) == 0:
        table = pd.DataFrame(columns=columns)
        return Check(name, question, "not told", f"{len(d)} pairs with no spread, or fewer than two.", table)
    mean = float(d.mean())
    gap = null - mean
    rows = [("evaluable pairs only (missing like the others)", 0.0)]
    rows += [("difference", float(x)) for x in (np.linspace(0, gap, 5)[1:-1] if deltas is None else deltas)]
    rows += [("no effect in the missing", gap)]
    rows += [("worst change seen", float((d.min() if mean >= null else d.max()) - mean))]
    tip = _tipping(d, n_missing, null)
    rows += [("tipping point", tip)] if np.isfinite(tip) else []
    table = pd.DataFrame(
        [(said, delta, *_mixture(d, n_missing, delta, null=null)) for said, delta in rows], columns=columns
    )
    if table["p"].iloc[0] > _ALPHA:
        said = f"The pairs alone show no effect (p {table['p'].iloc[0]:.2g}), so there is none to lose."
        return Check(name, question, "not told", said, table)
    if n_missing == 0:
        return Check(name, question, "clear", "Every baseline has a second value.", table)
    if not np.isfinite(tip):
        return Check(name, question, "clear", f"No difference in the {n_missing} missing loses it.", table)
    share = tip / gap
    said = f"It is lost where the {n_missing} missing changed by {tip:+.2f} from the {mean:.2f} of the others"
    if scale is not None:
        missed, seen = (shown(value, scale) for value in (mean + tip, mean))
        said = f"It is lost where the {n_missing} missing had a mean {missed}, beside {seen} of the others"
    # At share 1 the missing had no effect at all; beyond it they must have gone the other way.
    if share > 1:
        return Check(name, question, "clear", f"{said}: only if they went the other way.", table)
    return Check(name, question, "caution", f"{said}: less than having no effect at all.", table)


def _mixture(d: Array, missing: int, delta: float, *, null: float) -> tuple[float, float, float, float]:
    n = len(d)
    share = missing / (n + missing)
    mean = float(d.mean()) + share * delta
    se = float(np.sqrt(d.var(ddof=1) / n + delta**2 * share * (1 - share) / (n + missing)))
    half = float(stats.t.isf(_ALPHA / 2, n - 1)) * se
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean - null) / se, n - 1))


def _tipping(d: Array, missing: int, null: float) -> float:
    """The delta nearest 0, against the effect, at which the limit reaches the null; infinite if none does."""
    sign = 1.0 if d.mean() >= null else -1.0

    def margin(size: float) -> float:
        _, low, high, _ = _mixture(d, missing, -sign * size, null=null)
        return sign * ((low if sign > 0 else high) - null)

    if missing == 0 or margin(0.0) <= 0:
        return np.inf
    far = 1.0
    while margin(far) > 0:
        far *= 2
        if far > 1e6:
            return np.inf
    return -sign * float(optimize.brentq(margin, 0.0, far))


def _t_test(d: Array) -> tuple[float, float, float, float]:
    if len(d) < 2 or np.ptp(d) == 0:
        return (float(d.mean()) if len(d) else np.nan), np.nan, np.nan, np.nan
    mean, se = float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))
    half = float(stats.t.isf(_ALPHA / 2, len(d) - 1)) * se
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / se, len(d) - 1))


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape:
        _refuse("E-RULE-003", "Baselines and changes have different lengths.", "change", b.shape)
    told = np.isfinite(a) & np.isfinite(b)
    return a[told], b[told]


def _refuse(code: str, said: str, column: str, value: object) -> None:
    problems = Problems()
    problems.add(code, said, column=column, value=value)
    problems.raise_if_any()
