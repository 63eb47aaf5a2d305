"""Of what tumours, sites and lesions the pairs are, against the participants without a pair.

Whoever has no second biopsy is seldom like the others: the table shows by how much. A pair of another lesion,
or of another site, compares two places as well as two times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from pdbiomarker.study import Study

__all__ = ["MIX_COLUMNS", "pair_mix"]

#: Columns of :func:`pair_mix`, in order.
MIX_COLUMNS: Final = (
    *("assay", "contrast", "characteristic", "level", "n_paired", "n_unpaired", "share_paired"),
    "share_unpaired",
)
UNKNOWN: Final = "not recorded"
NO_BIOPSY: Final = "no usable biopsy"
_SEVERAL: Final = "several"


def pair_mix(study: Study, pairs: pd.DataFrame) -> pd.DataFrame:
    """Count paired and unpaired participants by tumour type, biopsy site and lesion.

    Parameters
    ----------
    study : Study
        `tumor_type` of the participants, `site` and `lesion_id` of the biopsies; a column that is not there
        gives one level, ``not recorded``.
    pairs : DataFrame
        `assay, contrast, participant_id, baseline_biopsy, on_biopsy, evaluable`, one row a participant;
        several biopsies of a visit are joined by ``;``.

    Returns
    -------
    DataFrame
        Columns :data:`MIX_COLUMNS`. Participants without a pair count with the site of the baseline biopsy
        that they have. ``same lesion`` and ``same site`` are of pairs alone. Shares are of the paired, and of
        the unpaired, of the characteristic; empty where there is nobody.
    """
    rows: list[dict[str, Any]] = []
    if pairs.empty:
        return pd.DataFrame(rows, columns=list(MIX_COLUMNS))
    for (assay, contrast), mine in pairs.groupby(["assay", "contrast"], sort=False):
        paired = mine["evaluable"].astype(bool).to_numpy()
        for characteristic, levels in _characteristics(study, mine).items():
            only_pairs = characteristic.startswith("same")
            rows += [
                {"assay": assay, "contrast": contrast, "characteristic": characteristic, **counted}
                for counted in _count(levels, paired, only_pairs=only_pairs)
            ]
    frame = pd.DataFrame(rows, columns=list(MIX_COLUMNS))
    return frame.astype({"n_paired": "Int64", "n_unpaired": "Int64"})


def _characteristics(study: Study, pairs: pd.DataFrame) -> dict[str, list[str]]:
    """Level of each characteristic, a value a row of `pairs`."""
    people = study.participants
    first, second = pairs["baseline_biopsy"].tolist(), pairs["on_biopsy"].tolist()
    tumours = people["tumor_type"] if "tumor_type" in people else pd.Series(dtype=object)
    levels = {
        "tumour type": [_known(tumours.get(person)) for person in pairs["participant_id"]],
        "site of the baseline biopsy": [_of(study, ids, "site") for ids in first],
        "site of the biopsy on treatment": [_of(study, ids, "site") for ids in second],
    }
    for name, column in (("same site", "site"), ("same lesion", "lesion_id")):
        both = [(_of(study, a, column), _of(study, b, column)) for a, b in zip(first, second, strict=True)]
        levels[name] = [
            UNKNOWN if {UNKNOWN, NO_BIOPSY} & set(pair) else "yes" if pair[0] == pair[1] else "no"
            for pair in both
        ]
    return levels


def _known(value: object) -> str:
    return value if isinstance(value, str) and value else UNKNOWN


def _of(study: Study, ids: object, column: str) -> str:
    """A fact of one biopsy, or of several that agree."""
    if not isinstance(ids, str) or not ids:
        return NO_BIOPSY
    if column not in study.biopsies:
        return UNKNOWN
    names = [ids] if ids in study.biopsies.index else ids.split(";")
    values = {_known(study.biopsies.loc[name, column]) for name in names}
    return values.pop() if len(values) == 1 else _SEVERAL


def _count(levels: Sequence[str], paired: Any, *, only_pairs: bool) -> list[dict[str, Any]]:
    series = pd.Series(list(levels), dtype=object)
    inside, outside = series[paired], series[~paired]
    # The most frequent first; of equals, by name; what is not known last.
    last = (UNKNOWN, NO_BIOPSY)
    order = sorted(set(inside if only_pairs else series), key=lambda v: (v in last, -(inside == v).sum(), v))
    rows = []
    for level in order:
        n, lost = int((inside == level).sum()), int((outside == level).sum())
        rows.append(
            {
                "level": level,
                "n_paired": n,
                "n_unpaired": pd.NA if only_pairs else lost,
                "share_paired": n / len(inside) if len(inside) else float("nan"),
                "share_unpaired": lost / len(outside) if len(outside) and not only_pairs else float("nan"),
            }
        )
    return rows
