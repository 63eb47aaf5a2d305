"""Which noise a feature gets: of this study's replicates, else borrowed, else of its pairs, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pdbiomarker.errors import InputError
from pdbiomarker.noise.borrowed import borrow_noise
from pdbiomarker.noise.estimate import Noise, Scale, noise_of_pairs, noise_of_study, scale_of
from pdbiomarker.study import Study

__all__ = ["choose_noise", "components_table", "noise_table"]

#: Own replicates with fewer degrees of freedom than this are passed over where there is anything else.
_LEAST_DF: Final = 3.0
#: Kinds that are made of transcripts; intensities are where they are nCounter probes.
_TRANSCRIPTS: Final = ("count", "signature")
_PROBES: Final = "code_class"


@dataclasses.dataclass(frozen=True, slots=True)
class _Lender:
    """The file that may lend the noise of a feature, and whether the feature is measured by transcripts."""

    path: str | Path | None
    transcripts: bool


def choose_noise(
    study: Study,
    features: Sequence[str],
    *,
    path: str | Path | None = None,
    changes: Mapping[str, ArrayLike] | None = None,
) -> tuple[dict[str, Noise], dict[str, str]]:
    """Give each feature its noise: from replicate biopsies of this study, else borrowed, else from its pairs.

    Parameters
    ----------
    study : Study
        With its assays.
    features : sequence of str
        ``assay:feature``.
    path : path, optional
        A file to borrow from; default ``reference/noise.yaml``.
    changes : mapping of ``assay:feature`` to (n,) array, optional
        Changes of the treated pairs, model scale: the last resort, a bound from above. Without it a feature
        that has no replicates and no published figure gets no noise.

    Returns
    -------
    noise : dict of ``assay:feature`` to Noise
        Its `notes` say why the sources before it were passed over. Fewer than three degrees of freedom of own
        replicates set limits that no change passes: another source is then preferred.
    reasons : dict of ``assay:feature`` to str
        Why there is none, for those that have none.

    Raises
    ------
    InputError
        E-NOISE-001: the study has no such assay; E-NOISE-004: the file cannot be used.

    Examples
    --------
    >>> import pdbiomarker as pb
    >>> study = pb.read_study("trial")
    >>> counts = pb.expression.read_counts("trial/counts.csv.gz", study=study)
    >>> study = study.with_assay("cytolytic", pb.expression.signature_scores(counts))
    >>> noise, passed_over = pb.noise.choose_noise(study, ["cytolytic:CYT"])
    >>> noise["cytolytic:CYT"].borrowed
    True
    """
    noise: dict[str, Noise] = {}
    reasons: dict[str, str] = {}
    for assay in dict.fromkeys(reference.partition(":")[0] for reference in features):
        names = [reference.partition(":")[2] for reference in features if reference.startswith(f"{assay}:")]
        found = noise_of_study(study, assay, features=names)
        var = cast("pd.DataFrame", study.assays[assay].var)
        kinds = var["kind"].astype(str)
        for name in names:
            key = f"{assay}:{name}"
            own = found.get(name, "The assay has no such feature.")
            if name not in kinds.index:
                reasons[key] = str(own)
            elif isinstance(own, Noise) and own.df >= _LEAST_DF:
                noise[key] = own
            else:
                pairs = None if changes is None else changes.get(key)
                lender = _Lender(path, transcripts=kinds[name] in _TRANSCRIPTS or _PROBES in var)
                one = _without_replicates(name, scale_of(kinds[name]), own, lender, changes=pairs)
                if isinstance(one, Noise):
                    noise[key] = one
                else:
                    reasons[key] = one
    return noise, reasons


def _without_replicates(
    name: str, scale: Scale, own: Noise | str, lender: _Lender, *, changes: ArrayLike | None
) -> Noise | str:
    """Noise of a feature without enough replicates: borrowed, or of its pairs; or the reason for none."""
    if isinstance(own, Noise):
        why = f"Replicate biopsies of this study give {own.df:.2g} degrees of freedom only: not used."
    else:
        why = own
    try:
        borrowed = borrow_noise(name, scale, path=lender.path, transcripts=lender.transcripts)
        return dataclasses.replace(borrowed, notes=(*borrowed.notes, why.rstrip(".")))
    except InputError as error:
        if any(p.code != "E-NOISE-003" for p in error.problems):
            raise
        why += " " + "; ".join(p.message for p in error.problems)
    if changes is not None:
        try:
            bound = noise_of_pairs(changes, feature=name, scale=scale)
            return dataclasses.replace(bound, notes=(*bound.notes, why.rstrip(".")))
        except InputError as error:
            why += " " + "; ".join(p.message for p in error.problems)
    return own if isinstance(own, Noise) else why


def noise_table(
    noise: Mapping[str, Noise], reasons: Mapping[str, str] | None = None, *, level: float = 0.95
) -> pd.DataFrame:
    """One row a feature: sigma with its limits, what it rests on, and the reference change value.

    Returns
    -------
    DataFrame
        ``feature, scale, sigma, sigma_low, sigma_high, df, basis, bound, borrowed, source, rcv, rcv_fold``
        (two-sided prediction limit), ``chance_up_2fold`` (log2 only), ``icc`` (ICC(1,1) of single biopsies of
        a participant's visit, with ``icc_low, icc_high``; own replicates only), ``note``.
    """
    rows: list[tuple[object, ...]] = []
    for feature, one in noise.items():
        icc = (np.nan, np.nan, np.nan)
        names = () if one.components is None else one.components.names
        if one.components is not None and len(names) > 1:
            icc = one.components.icc(names[-2])
        up = one.chance_beyond(1.0) if one.scale == "log2" else np.nan
        measured = (feature, one.scale, one.sigma, one.low, one.high, one.df, one.basis, one.bound)
        limits = (one.limit(level), one.fold_limit(level), up)
        rows.append((*measured, one.borrowed, one.source, *limits, *icc, "; ".join(one.notes)))
    for feature, why in (reasons or {}).items():
        rows.append((feature, "", *[np.nan] * 4, "", "", False, "", *[np.nan] * 6, why))
    columns = ["feature", "scale", "sigma", "sigma_low", "sigma_high", "df", "basis", "bound", "borrowed"]
    columns += ["source", "rcv", "rcv_fold", "chance_up_2fold", "icc", "icc_low", "icc_high", "note"]
    return pd.DataFrame(rows, columns=columns)


def components_table(noise: Mapping[str, Noise]) -> pd.DataFrame:
    """Variance components of every feature whose noise has them, one row a level."""
    parts = [
        one.components.table.assign(feature=feature)
        for feature, one in noise.items()
        if one.components is not None
    ]
    if not parts:
        return pd.DataFrame(columns=["feature", "component"])
    table = pd.concat(parts, ignore_index=True)
    return table[["feature", *(c for c in table.columns if c != "feature")]]
