"""Do two assays tell the same? Levels at each visit, changes, correlation within participants, agreement.

Two values that both change on treatment correlate over time without being related; so the correlation within
participants is centred by visit (with two visits it is then the correlation of the changes). Agreement is
shown on the standardised scale, because a count of cells and a count of reads have no common unit: z = (y -
mean)/SD over all biopsies with both values, D = z_a - z_b. A participant is discordant at a visit where D
lies outside the 99 % prediction limits from all *other* biopsies of that visit (so that he cannot widen his
own limits), with a hint at what else could be the matter: swapped samples, tumour content, another core.

Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pdbiomarker.change import PDResult
from pdbiomarker.link.association import Association, repeated_measures_correlation, spearman
from pdbiomarker.link.found import Link, link_row, link_table
from pdbiomarker.link.values import find_measured, level_table

__all__ = ["DISCORDANT_LEVEL", "concordance"]

Floats = NDArray[np.float64]

#: Probability within the limits of disagreement.
DISCORDANT_LEVEL: Final = 0.99
_FEWEST: Final = 5
_HINT: Final = "swapped samples, tumour content or another core?"


def concordance(
    result: PDResult, feature_a: str, feature_b: str, *, contrast: str | None = None, seed: int | None = None
) -> Link:
    """Compare two features of the same biopsies, such as CD8 by IHC and CD8A by RNA.

    Parameters
    ----------
    result : PDResult
    feature_a, feature_b : str
        ``assay:feature``.
    contrast : str, optional
        Whose visits are compared; default: the plan's first change.
    seed : int, optional
        Of permutations; default: the plan's.

    Returns
    -------
    Link
        `table`: Spearman's correlation at each visit and of the changes, the repeated-measures correlation
        centred by visit, limits of agreement at each visit, and who is discordant. `points`: one row per
        participant and visit, values on the model scale (``a, b``), whether both are of the same biopsies,
        ``difference`` (standardised) with ``limit_low, limit_high``, and ``discordant``.

    Raises
    ------
    InputError
        E-LINK-001: no such feature or contrast.
    """
    a, b = find_measured(result, feature_a, contrast), find_measured(result, feature_b, contrast)
    drawn = result.plan.seed if seed is None else seed
    points = _points(level_table(result, a), level_table(result, b))
    used = points[points["used"]]
    order = [v.name for v in result.study.spec.visits]
    visits = sorted(set(used["visit"]), key=order.index)
    rows = []
    for visit in visits:
        mine = used[used["visit"] == visit]
        rows.append(
            link_row(
                "levels",
                "Spearman correlation",
                spearman(mine["a"], mine["b"], seed=drawn),
                group=visit,
                unit="correlation",
            )
        )
    rows.append(_changes(used, visits, drawn))
    within = repeated_measures_correlation(
        used["a"], used["b"], used["participant_id"].tolist(), visits=used["visit"].tolist()
    )
    rows.append(
        link_row("changes", "correlation within participants, centred by visit", within, unit="correlation")
    )
    rows += _agreement(points, visits)
    return Link(
        "concordance",
        a.reference,
        b.reference,
        a.label,
        b.label,
        a.contrast,
        link_table(rows, a.reference, b.reference, contrast=a.contrast),
        points,
        _note(points),
        facts={"kinds": (a.kind, b.kind), "assays": (a.assay, b.assay), "visits": tuple(visits)},
    )


def _points(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """One row per participant and visit with any value."""
    both = a.merge(b, on=["participant_id", "visit"], how="outer", suffixes=("_a", "_b"), sort=True)
    out = pd.DataFrame({"participant_id": both["participant_id"], "visit": both["visit"]})
    out["a"], out["b"] = both["value_a"].astype(float), both["value_b"].astype(float)
    out["biopsies_a"], out["biopsies_b"] = both["biopsies_a"], both["biopsies_b"]
    out["same_biopsies"] = (both["biopsies_a"] == both["biopsies_b"]).astype(bool)
    out["used"] = out["a"].notna() & out["b"].notna()
    lacks = np.where(out["a"].isna(), "no value of the first", "no value of the second")
    out["why"] = np.where(out["used"], "", lacks).astype(object)
    return out


def _changes(used: pd.DataFrame, visits: list[str], seed: int) -> dict[str, Any]:
    name = "Spearman correlation of changes"
    if len(visits) < 2:
        return link_row("changes", name, note="both values at one visit only")
    wide = used.pivot_table(index="participant_id", columns="visit", values=["a", "b"], sort=True)
    first, last = visits[0], visits[-1]
    changes = [(wide[c][last] - wide[c][first]).to_numpy(dtype=float) for c in ("a", "b")]
    known = np.isfinite(changes[0]) & np.isfinite(changes[1])
    found = spearman(changes[0][known], changes[1][known], seed=seed)
    return link_row("changes", name, found, group=f"{last} - {first}", unit="correlation")


def _agreement(points: pd.DataFrame, visits: list[str]) -> list[dict[str, Any]]:
    """Limits of agreement on the standardised scale; writes difference, limits and flag into `points`."""
    for column in ("difference", "limit_low", "limit_high"):
        points[column] = np.nan
    points["discordant"] = False
    used = points[points["used"]]
    name = "limits of agreement, standardised"
    if len(used) < _FEWEST or used["a"].std() == 0 or used["b"].std() == 0:
        return [link_row("agreement", name, note=f"{len(used)} biopsies with both values that vary")]
    z = [(used[c] - used[c].mean()) / used[c].std() for c in ("a", "b")]
    points.loc[used.index, "difference"] = z[0] - z[1]
    rows = []
    for visit in visits:
        at = used.index[used["visit"] == visit]
        d = points.loc[at, "difference"].to_numpy(dtype=float)
        n = len(d)
        if n < _FEWEST:
            rows.append(link_row("agreement", name, group=visit, note=f"{n} biopsies with both values"))
            continue
        low, high = _others(d)
        points.loc[at, "limit_low"], points.loc[at, "limit_high"] = low, high
        points.loc[at, "discordant"] = (d < low) | (d > high)
        half = float(stats.t.ppf(0.975, n - 1) * d.std(ddof=1) * np.sqrt(1 + 1 / n))
        mean = float(d.mean())
        own = points.loc[at]
        flagged = own.loc[own["discordant"], "participant_id"].tolist()
        said = f"discordant beyond the {100 * DISCORDANT_LEVEL:g} % limits from the others: "
        said += f"{', '.join(flagged)} ({_HINT})" if flagged else "nobody"
        rows.append(
            link_row(
                "agreement",
                name,
                Association(mean, mean - half, mean + half, np.nan, "", n),
                group=visit,
                unit="SD",
                note=said,
            )
        )
    return rows


def _others(d: Floats) -> tuple[Floats, Floats]:
    """Prediction limits for each value from all others."""
    n = len(d)
    mean = (d.sum() - d) / (n - 1)
    squares = np.square(d).sum() - np.square(d) - (n - 1) * np.square(mean)
    sd = np.sqrt(np.maximum(squares, 0) / (n - 2))
    half = stats.t.ppf((1 + DISCORDANT_LEVEL) / 2, n - 2) * sd * np.sqrt(1 + 1 / (n - 1))
    return np.asarray(mean - half), np.asarray(mean + half)


def _note(points: pd.DataFrame) -> str:
    lost = points[~points["used"]]
    parts = [
        f"{n} participant visits left out: {why}."
        for why, n in lost["why"].value_counts().sort_index().items()
    ]
    other = int((points["used"] & ~points["same_biopsies"]).sum())
    if other:
        parts.append(f"At {other} participant visits the two values come from different biopsies.")
    parts.append("Correlation is no agreement: the two need not measure the same thing.")
    return " ".join(parts)
