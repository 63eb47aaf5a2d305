r"""The noise of a single biopsy's value, and the limits it sets to a change.

sigma is the standard deviation, on the model scale (log2 for counts, densities and intensities; natural logit
for proportions; identity for scores and signatures), of the value of one biopsy around the truth of its
lesion at that visit. A change between two biopsies of an untouched lesion then has the variance 2 sigma^2.

**Limits are prediction limits.** sigma is estimated, with df degrees of freedom, and the change to be judged
is a new one: (change) / (sqrt(2) sigma) follows t with df. Normal limits with the estimate in the place of
sigma are too narrow: with 6 df a rule of 2 of 12 beyond the upper limit has a false go of .139, not .035.

What an estimate leaves out, it says:

* several biopsies of one visit leave out variation in time; where that is as large as sigma^2, a limit of 5 %
  is in truth one of 16.6 %;
* cores, sections and regions of one biopsy leave out differences between biopsies too: a bound from below;
* the spread of changes in treated participants also holds their different responses: a bound from above.

Sources: Fraser and Harris 1989 for the reference change value (doi:10.3109/10408368909106595); Bland and
Altman 1996 for repeatability from within-subject variance (doi:10.1136/bmj.313.7059.744).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pdbiomarker.errors import InputError, Problems
from pdbiomarker.noise.components import RESIDUAL, VarianceComponents, variance_components
from pdbiomarker.noise.counting import counting_of
from pdbiomarker.normalize import normalize
from pdbiomarker.pairing import usable
from pdbiomarker.study import Study

__all__ = [
    "Basis",
    "Noise",
    "Scale",
    "estimate_noise",
    "noise_of_pairs",
    "noise_of_study",
    "scale_of",
]

Array = NDArray[np.float64]
Scale = Literal["log2", "logit", "identity"]
Basis = Literal[
    "replicate biopsies",
    "replicate cores",
    "serial sections",
    "regions",
    "technical replicates",
    "untreated pairs",
    "treated pairs",
]
Bound = Literal["none", "lower", "upper"]

SCALES: Final[Mapping[str, Scale]] = {
    "count": "log2",
    "density": "log2",
    "intensity": "log2",
    "proportion": "logit",
    "score": "identity",
    "signature": "identity",
}
_WITHIN_LESION: Final = ("biopsy", "core", "section", "region", RESIDUAL)
#: What the outermost replicated level below the lesion is called, and how it bounds sigma.
_BASIS: Final[Mapping[str, tuple[Basis, Bound]]] = {
    "biopsy": ("replicate biopsies", "none"),
    "core": ("replicate cores", "lower"),
    "section": ("serial sections", "lower"),
    "region": ("regions", "lower"),
    RESIDUAL: ("technical replicates", "lower"),
}
_SAID: Final[Mapping[str, str]] = {
    "replicate biopsies": "biopsies of one visit: variation in time is left out, so true limits are wider",
    "replicate cores": "cores of one biopsy: differences between biopsies and in time are left out; sigma is "
    "bounded from below",
    "serial sections": "sections of the same biopsy: differences between biopsies and in time are left out; "
    "sigma is bounded from below",
    "regions": "regions of the same section: differences between biopsies and in time are left out; sigma is "
    "bounded from below",
    "technical replicates": "repeated measurements of the same material: all biological variation is left "
    "out; sigma is bounded from below",
    "untreated pairs": "changes without treatment: variation in time is included",
    "treated pairs": "changes under treatment hold different responses as well as noise: sigma is bounded "
    "from above",
}
#: Fewer degrees of freedom than this make limits that few changes ever pass.
_FEW_DF: Final = 10.0
#: Standard deviations below this share of the largest value are rounding.
_ROUNDING: Final = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """How much the value of one biopsy varies around its lesion.

    Attributes
    ----------
    feature : str
    scale : {"log2", "logit", "identity"}
        Of sigma; log2 and natural logit.
    sigma, low, high : float
        Standard deviation of one biopsy's value, with confidence limits; NaN limits where they are not known.
    df : float
        Degrees of freedom of sigma squared; infinite where it is taken as known.
    basis : str
        What was repeated, such as ``replicate biopsies``.
    bound : {"none", "lower", "upper"}
        Whether sigma is bounded from below or above by what the basis leaves out or adds.
    borrowed : bool
        From another study.
    source : str
        This study, or where it is borrowed from.
    counting_variance : float
        The part of sigma squared that is error of counting cells; NaN where not known.
    level : float
        Of `low` and `high`.
    notes : tuple of str
        What to keep in mind when reading it.
    components : VarianceComponents or None
    """

    feature: str
    scale: Scale
    sigma: float
    df: float
    basis: str
    low: float = np.nan
    high: float = np.nan
    bound: Bound = "none"
    borrowed: bool = False
    source: str = "this study"
    counting_variance: float = np.nan
    level: float = 0.95
    notes: tuple[str, ...] = ()
    components: VarianceComponents | None = None

    def __post_init__(self) -> None:
        problems = Problems()
        if self.scale not in set(SCALES.values()):
            problems.add("E-NOISE-001", "There is no such scale.", column="scale", value=self.scale)
        if not (np.isfinite(self.sigma) and self.sigma >= 0):
            problems.add(
                "E-NOISE-001", "A standard deviation is finite and not negative.", column="sigma",
                value=self.sigma,
            )  # fmt: skip
        if not self.df > 0:
            problems.add("E-NOISE-001", "Degrees of freedom are above 0.", column="df", value=self.df)
        problems.raise_if_any()

    def limit(self, level: float = 0.95, *, sided: int = 2) -> float:
        """The reference change value on the model scale: a prediction limit for one change by noise alone.

        Also called the minimal detectable change. The limits of a change are plus and minus this value.

        Parameters
        ----------
        level : float
            Chance that a change by noise alone stays inside.
        sided : {1, 2}
            1: one limit only, the chance beyond it is 1 - level.
        """
        tail = (1 - level) / sided
        return float(stats.t.isf(tail, self.df) * np.sqrt(2) * self.sigma)

    def fold_limit(self, level: float = 0.95, *, sided: int = 2) -> float:
        """The limit as a fold change (log2) or odds ratio (logit); NaN for the identity scale."""
        return float(from_scale(np.array(self.limit(level, sided=sided)), self.scale))

    def chance_beyond(self, change: float) -> float:
        """Probability that noise alone moves one pair upward by at least `change` (model scale), at sigma.

        The estimate is taken as the truth: .079, .156 and .216 for a doubling at a log2 sigma of .5, .7, .9.
        """
        if self.sigma == 0:
            return float(change <= 0)
        return float(stats.norm.sf(change / (np.sqrt(2) * self.sigma)))

    def predicted_beyond(self, change: float) -> float:
        """The same with the uncertainty of sigma: for the next pair, by t with the df of sigma."""
        if self.sigma == 0:
            return float(change <= 0)
        return float(stats.t.sf(change / (np.sqrt(2) * self.sigma), self.df))

    def true_level(self, level: float = 0.95, *, time_ratio: float = 1.0) -> float:
        """What a two-sided limit of `level` is in truth where variation in time was left out.

        Parameters
        ----------
        level : float
        time_ratio : float
            Variance in time over sigma squared.
        """
        inflated = stats.t.isf((1 - level) / 2, self.df) / np.sqrt(1 + time_ratio)
        return float(1 - 2 * stats.t.sf(inflated, self.df))

    def limits(self, level: float = 0.95) -> pd.DataFrame:
        """Limits in a table: prediction limits by t, those at the confidence limits of sigma, and plug-in.

        Returns
        -------
        DataFrame
            ``limit, sided, level, method, change`` (model scale), ``fold``, ``chance_up_2fold``.
        """
        rows = []
        variants = [
            ("prediction (t)", self),
            ("sigma known", dataclasses.replace(self, df=np.inf)),
        ]
        for name, sigma in (("lower confidence limit of sigma", self.low), ("upper confidence limit of sigma",
                                                                           self.high)):  # fmt: skip
            if np.isfinite(sigma):
                variants.append((name, dataclasses.replace(self, sigma=sigma, df=np.inf)))
        for method, noise in variants:
            for sided in (2, 1):
                change = noise.limit(level, sided=sided)
                fold = noise.fold_limit(level, sided=sided)
                chance = noise.chance_beyond(1.0) if self.scale == "log2" else np.nan
                rows.append(("reference change value", sided, level, method, change, fold, chance))
        columns = ["limit", "sided", "level", "method", "change", "fold", "chance_up_2fold"]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        """Say it in a line."""
        borrowed = "borrowed, " if self.borrowed else ""
        bound = {"none": "", "lower": ", bounded from below", "upper": ", bounded from above"}[self.bound]
        return (
            f"Noise of {self.feature}: sigma {self.sigma:.3g} ({self.scale}; {self.low:.3g} to "
            f"{self.high:.3g}), {self.df:.3g} df, {borrowed}{self.basis}{bound}"
        )


def from_scale(values: Array, scale: Scale) -> Array:
    """A change on the model scale as a ratio; NaN for the identity scale, which has none."""
    with np.errstate(over="ignore"):
        if scale == "log2":
            return np.exp2(values)
        if scale == "logit":
            return np.exp(values)
    return np.full(np.shape(values), np.nan)


def scale_of(kind: str) -> Scale:
    """The model scale of a kind of feature.

    Raises
    ------
    InputError
        E-NOISE-001: no such kind.
    """
    if kind not in SCALES:
        problems = Problems()
        problems.add(
            "E-NOISE-001", "There is no such kind of feature.", remedy=f"One of {', '.join(SCALES)}.",
            column="kind", value=kind,
        )  # fmt: skip
        problems.raise_if_any()
    return SCALES[kind]


def estimate_noise(
    values: ArrayLike,
    levels: Mapping[str, ArrayLike],
    *,
    feature: str,
    scale: Scale,
    fixed: ArrayLike | None = None,
    units: Mapping[str, float] | None = None,
    counting: ArrayLike | None = None,
) -> Noise:
    """Estimate the noise of a biopsy's value from replicates.

    Parameters
    ----------
    values, levels, fixed
        As for :func:`variance_components`; sigma is what lies within the lesion (within the visit, where no
        lesion is named).
    feature : str
    scale : {"log2", "logit", "identity"}
        Of `values`.
    units : mapping of level to number, optional
        How many units of a level the value of a biopsy averages, such as ``{"region": 8}``. Default: where
        rows lie below the biopsy, the harmonic mean of their number per biopsy in these data; else 1.
    counting : (n,) array, optional
        Known variance of each value from counting cells, such as ``1 / (n + 1/2) / ln(2)**2`` on log2.

    Returns
    -------
    Noise

    Raises
    ------
    InputError
        E-NOISE-001 and 002, see :func:`variance_components`; E-NOISE-002 also where no level within the
        lesion is replicated.
    """
    found = variance_components(values, levels, fixed=fixed)
    inside = [name for name in found.names if name in _WITHIN_LESION]
    last = found.names[-1]
    averaged = _units_per_biopsy(values, levels, last) if units is None else dict(units)
    notes: list[str] = []
    if not inside:
        _refuse_none(feature, f"Every {last} has one measurement: nothing within it is replicated.")
    outermost = inside[0] if inside[0] != RESIDUAL else _residual_basis(levels)
    basis, bound = _BASIS[outermost]
    notes.append(_SAID[basis])
    sum_ = found.total(inside, units=averaged)
    for name, number in averaged.items():
        if number != 1 and name in inside:
            notes.append(f"the value of a biopsy averages {number:.3g} units of {name}")
    if "lesion" not in levels and basis == "replicate biopsies":
        notes.append("lesions are not told apart: biopsies of different lesions would add their difference")
    if sum_.df < _FEW_DF:
        notes.append(f"{sum_.df:.2g} degrees of freedom: prediction limits are wide")
    largest = float(np.nanmax(np.abs(np.asarray(values, dtype=float)), initial=1.0))
    if sum_.variance <= (_ROUNDING * largest) ** 2:
        _refuse_none(feature, "All replicates are equal; noise of 0 would call every change real.")
    known = np.nan
    if counting is not None:
        used = np.isfinite(np.asarray(values, dtype=float))
        known = float(np.asarray(counting, dtype=float)[used].mean()) / averaged.get(last, 1.0)
    return Noise(
        feature=feature,
        scale=scale,
        sigma=sum_.sd,
        df=sum_.df,
        basis=basis,
        low=float(np.sqrt(sum_.low)),
        high=float(np.sqrt(sum_.high)),
        bound=bound,
        counting_variance=known,
        notes=tuple(notes),
        components=found,
    )


def _refuse_none(feature: str, said: str) -> None:
    problems = Problems()
    problems.add(
        "E-NOISE-002",
        said,
        remedy="Give replicates, or borrow an estimate: noise.borrow_noise.",
        column=feature,
    )
    problems.raise_if_any()


def _residual_basis(levels: Mapping[str, ArrayLike]) -> str:
    """What the rows within the innermost named level are, where no name says it.

    Rows within a participant, visit or lesion are biopsies; rows within a biopsy or below repeat its reading.
    """
    innermost = list(levels)[-1]
    return "biopsy" if innermost in {"participant", "visit", "lesion"} else RESIDUAL


def _units_per_biopsy(values: ArrayLike, levels: Mapping[str, ArrayLike], last: str) -> dict[str, float]:
    """Harmonic mean of the number of units of each level below the biopsy that one biopsy has."""
    if "biopsy" not in levels:
        return {}
    used = np.isfinite(np.asarray(values, dtype=float))
    frame = pd.DataFrame({name: np.asarray(v, dtype=object)[used] for name, v in levels.items()})
    names = list(frame.columns)
    end = names.index("biopsy") + 1
    biopsy = frame.groupby(names[:end], sort=False).ngroup()
    out: dict[str, float] = {}
    for k in range(end, len(names)):
        unit = frame.groupby(names[: k + 1], sort=False).ngroup()
        per = unit.groupby(biopsy).nunique()
        out[names[k]] = float(len(per) / (1.0 / per).sum())
    if last == RESIDUAL:
        per = biopsy.groupby(biopsy).size()
        out[RESIDUAL] = float(len(per) / (1.0 / per).sum())
    return out


def noise_of_study(
    study: Study, assay: str, *, features: Sequence[str] | None = None
) -> dict[str, Noise | str]:
    """Estimate the noise of the features of an assay from participants with several biopsies at a visit.

    All adequate biopsies with a visit are used. The means of the visits are fixed; participants, their visits
    and, where biopsies.csv has the column ``lesion_id`` or ``lesion``, their lesions vary; what is left is
    the difference between biopsies of one visit.

    Parameters
    ----------
    study : Study
    assay : str
    features : sequence of str, optional
        Default: all of them.

    Returns
    -------
    dict of feature to Noise, or to the reason why there is none

    Raises
    ------
    InputError
        E-NOISE-001: the study has no such assay.
    """
    if assay not in study.assays:
        problems = Problems()
        problems.add(
            "E-NOISE-001", "The study has no such assay.",
            remedy=f"It has {', '.join(study.assays) or 'none'}.", column="assay", value=assay,
        )  # fmt: skip
        problems.raise_if_any()
    told = usable(study, assay, visits=study.spec.visit_names, replicates="all")
    rows = told[told["used"]].sort_index()
    data: AnnData = study.assays[assay][rows.index.to_numpy()].copy()
    scaled = normalize(data, visits=[str(v) for v in rows["visit"]])
    y = np.asarray(scaled.layers["y"], dtype=float)
    levels: dict[str, ArrayLike] = {"participant": rows["participant_id"].to_numpy(dtype=object)}
    levels["visit"] = rows["visit"].to_numpy(dtype=object)
    column = next((c for c in ("lesion_id", "lesion") if c in study.biopsies), None)
    if column is not None and not study.biopsies.loc[rows.index, column].isna().any():
        levels["lesion"] = study.biopsies.loc[rows.index, column].to_numpy(dtype=object)
    levels["biopsy"] = rows.index.to_numpy(dtype=object)
    kinds = cast("pd.DataFrame", scaled.var)["kind"].astype(str)
    out: dict[str, Noise | str] = {}
    for k, feature in enumerate(map(str, scaled.var_names)):
        if features is not None and feature not in features:
            continue
        try:
            out[feature] = estimate_noise(
                y[:, k],
                levels,
                feature=feature,
                scale=scale_of(kinds.iloc[k]),
                fixed=levels["visit"],
                counting=counting_of(scaled, feature),
            )
        except InputError as error:
            out[feature] = "; ".join(p.message for p in error.problems)
    return out


def noise_of_pairs(
    changes: ArrayLike, *, feature: str, scale: Scale, treated: bool = True, level: float = 0.95
) -> Noise:
    """Noise from the spread of changes of pairs: SD(change) / sqrt(2), chi-squared limits, n - 1 df.

    Parameters
    ----------
    changes : (n,) array
        On the model scale, one a participant; NaN = not evaluable.
    feature : str
    scale : {"log2", "logit", "identity"}
    treated : bool
        Changes under treatment bound sigma from above; without treatment they include variation in time.
    level : float

    Raises
    ------
    InputError
        E-NOISE-002: fewer than three changes, or no spread.
    """
    given = np.asarray(changes, dtype=float)
    d = given[np.isfinite(given)]
    if len(d) < 3 or np.ptp(d) == 0:
        _refuse_none(feature, f"{len(d)} changes with no spread, or fewer than three, tell no noise.")
    df = len(d) - 1
    variance = float(d.var(ddof=1)) / 2
    low, high = (df * variance / stats.chi2.ppf(q, df) for q in ((1 + level) / 2, (1 - level) / 2))
    basis = "treated pairs" if treated else "untreated pairs"
    return Noise(
        feature=feature,
        scale=scale,
        sigma=float(np.sqrt(variance)),
        df=float(df),
        basis=basis,
        low=float(np.sqrt(low)),
        high=float(np.sqrt(high)),
        bound="upper" if treated else "none",
        level=level,
        notes=(_SAID[basis],),
    )
