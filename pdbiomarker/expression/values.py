"""Tables of values that are no counts: features x biopsies in a file, biopsies x features in the study.

The first column is the feature's id, every other column is headed by a biopsy id. A cell is a number, empty
(not measured), or, where study.yaml declares what becomes of them, a limit: ``<5`` or ``>90``. With ``limits:
censored`` the value is known to lie beyond the limit and the model is told so; with ``limits: missing`` it
counts as not measured, and the feature's note says how many. Without the key such a cell is refused: half the
limit, or the limit itself, is never put in its place.

A table of features may say of each its ``label``, ``unit``, ``kind`` (where it differs from the assay's),
``lloq``, ``uloq`` and ``expected_direction``.

Intensities are kept on the scale of their assay, and the model takes log2 of them. A table that holds log2
already says so (``scale: log2``) and is brought back; one that looks like it and does not say so is told.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.valued import (
    VALUE_KINDS,
    feature_table,
    source_of,
    tell_unclaimed,
    value_assay,
)
from pdbiomarker.study import AssaySpec, Study
from pdbiomarker.tables import is_number, nearest, read_table, to_number

__all__ = ["read_values"]

_LIMIT: Final = re.compile(r"([<>])\s*([^<>=\s].*)")
_MOST: Final = 20
_NUMBERS: Final = ("lloq", "uloq", "expected_direction")
#: No logarithm of a measured intensity is above this: 2**30 is a thousand million.
_LOG_CEILING: Final = 30.0
#: 2 to this power, and to minus it, are far beyond any instrument.
_LOG_LIMIT: Final = 100.0
#: Coefficient of variation over biopsies: larger on the assay's own scale, mostly smaller of logarithms.
_LEAST_CV: Final = 0.3
#: Values of a feature from which its spread is judged.
_TO_JUDGE: Final = 4


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Cells of a table, features x columns: values, and -1 below, 0 at, 1 above them."""

    x: FloatArray
    side: FloatArray


def read_values(path: str | Path, *, study: Study, spec: AssaySpec) -> AnnData:
    """Read a table of values as an assay.

    Parameters
    ----------
    path : path
        Features x biopsies: CSV, TSV (either may be gzip-packed) or XLSX; ids are kept as text.
    study : Study
        Its biopsies.
    spec : AssaySpec
        The assay in study.yaml: kind, limits and the table of features.

    Returns
    -------
    AnnData, biopsies x features
        `X` holds values, at the limit where they lie beyond it, intensities on their own scale (2 to the
        power of the cell with ``scale: log2``); ``layers["censored"]`` (only where there are any) is -1 for
        at most X, 0 for observed, 1 for at least X. `var`: the columns of an assay, with uloq.
        ``uns["problems"]`` holds columns that no biopsy claims, and a caution where intensities look like
        logarithms (E-SHEET-290): see :func:`problems_of`.

    Raises
    ------
    AssayError
        With every fault, its line, biopsy and value: cells that are no numbers or outside the range of their
        kind (E-SHEET-007, 008), features or columns given twice (E-SHEET-005, 002), no biopsy of the study.
    """
    path = Path(path)
    name = spec.file or path.name
    problems = Problems()
    table = read_table(path, name=name, problems=problems)
    if table is None or not len(table.columns):
        raise AssayError(problems)
    key = str(table.columns[0])
    features = _ids(table[key], name, key, problems)
    known = [str(biopsy) for biopsy in study.biopsies.index]
    columns = [str(c) for c in table.columns[1:]]
    biopsies = [column for column in columns if column in set(known)]
    tell_unclaimed(columns, known, file=name, what="column", problems=problems)
    lines = [int(line) for line in table.index]
    cells = _cells(table[biopsies], lines, spec, name, problems)
    var = _features(features, study, spec, problems)
    _check_ranges(cells.x, var, biopsies, lines, name, problems)
    if spec.scale == "log2":
        cells = _from_log2(cells, var, biopsies, lines, name, problems)
    else:
        _tell_logarithms(cells, var, name, spec.name, problems)
    problems.raise_if_any(AssayError)
    x, side = (pd.DataFrame(m.T, index=biopsies, columns=var.index) for m in (cells.x, cells.side))
    if spec.limits != "censored" and cells.side.any():
        lost = [{b: "beyond a limit" for b, s in zip(biopsies, row, strict=True) if s} for row in cells.side]
        x, side = x.mask(side != 0), side * 0
        var["unmeasured"] = [json.dumps(told, ensure_ascii=False) for told in lost]
    order = [biopsy for biopsy in known if biopsy in set(biopsies)]
    matrix = f"{len(features)} features x {len(biopsies)} biopsies"
    reader = "pdbiomarker.expression.read_values"
    source = source_of(path, name, reader, matrix=matrix, limits=spec.limits or "none")
    return value_assay(x.loc[order], var, side=side.loc[order], problems=problems, source=source)


def _ids(column: pd.Series, file: str, key: str, problems: Problems) -> list[str]:
    """Ids of the features, each once."""
    ids = ["" if pd.isna(value) else str(value) for value in column]
    seen: dict[str, int] = {}
    for row, text in zip(map(int, column.index), ids, strict=True):
        first = seen.setdefault(text, row)
        if not text:
            problems.add(
                "E-SHEET-004", "A feature has no id.", remedy="Name it.", file=file, row=row, column=key
            )
        elif first != row:
            problems.add(
                "E-SHEET-005",
                f"The feature {text!r} stands in lines {first} and {row}.",
                remedy="Keep one of them.",
                file=file,
                row=row,
                column=key,
                value=text,
            )
    return ids


def _cells(table: pd.DataFrame, lines: list[int], spec: AssaySpec, file: str, problems: Problems) -> _Cells:
    """Numbers and limits; everything else is a fault."""
    x, side = np.full(table.shape, np.nan), np.zeros(table.shape)
    faults = 0
    for k, biopsy in enumerate(table.columns):
        for row, raw in enumerate(table[biopsy].tolist()):
            text = "" if raw is None or pd.isna(raw) else str(raw).strip()
            limit = _LIMIT.fullmatch(text)
            is_limit = limit is not None and is_number(limit[2])
            # A logarithm has no limit at or below 0.
            own_scale = spec.kind == "intensity" and spec.scale is None
            fits = is_limit and not (own_scale and limit is not None and float(limit[2]) <= 0)
            if limit is not None and fits and spec.limits is not None:
                x[row, k], side[row, k] = float(limit[2]), -1.0 if limit[1] == "<" else 1.0
            elif is_number(text):
                x[row, k] = float(text)
            elif text:
                faults += 1
                if faults > _MOST:
                    continue
                remedy = "Give a number, a limit such as <0.8 or >90, or leave the cell empty."
                if is_limit and not fits:
                    remedy = "Give the limit of the assay, which is above 0, or leave the cell empty."
                elif is_limit:
                    remedy = (
                        f"Say in study.yaml what limits of this assay become: '{spec.name}: {{..., limits: "
                        "censored}' (the model knows the limit) or 'limits: missing'."
                    )
                problems.add(
                    "E-SHEET-007",
                    "The cell is not a number.",
                    remedy=remedy,
                    file=file,
                    row=lines[row],
                    column=str(biopsy),
                    value=text,
                )
    if faults > _MOST:
        problems.add(
            "E-SHEET-007",
            f"{faults - _MOST} more cells are not numbers.",
            remedy="See the first ones.",
            file=file,
        )
    return _Cells(x, side)


def _features(features: list[str], study: Study, spec: AssaySpec, problems: Problems) -> pd.DataFrame:
    """The columns of an assay, completed by the table of features."""
    var = feature_table(features, spec.kind)
    if spec.features is None:
        return var
    table = read_table(study.resolve(spec.features), name=spec.features, problems=problems)
    if table is None:
        return var
    key = str(table.columns[0])
    unknown = [str(f) for f in table[key] if str(f) not in set(features)]
    for feature in unknown[:_MOST]:
        problems.add(
            "E-SHEET-006",
            f"The feature {feature!r} is not in {spec.file}.",
            remedy=nearest(feature, features),
            file=spec.features,
            column=key,
            value=feature,
            severity="warning",
        )
    if table[key].duplicated().any():
        twice = str(table.loc[table[key].duplicated(), key].iloc[0])
        problems.add(
            "E-SHEET-005",
            f"The feature {twice!r} occurs twice.",
            remedy="Keep one of them.",
            file=spec.features,
            column=key,
            value=twice,
        )
        return var
    told = table.copy()
    for column in ("label", "unit", "kind", *_NUMBERS):
        if column in told:
            _fill(var, told[column], told[key].astype(str).tolist(), spec, problems)
    return var


def _fill(
    var: pd.DataFrame, given: pd.Series, features: list[str], spec: AssaySpec, problems: Problems
) -> None:
    """Put one column of the table of features into `var`."""
    file, column = str(spec.features), str(given.name)
    index = pd.Index(features, dtype=str)
    if column in _NUMBERS:
        # The index of a column as read are its lines, for the messages.
        numbers = to_number(given, file=file, problems=problems).set_axis(index).reindex(var.index)
        known = numbers.notna().to_numpy()
        values = numbers.to_numpy(dtype=float)
        if column == "expected_direction" and not np.isin(values[known], (-1.0, 0.0, 1.0)).all():
            problems.add(
                "E-SHEET-008",
                "An expected direction is not -1, 0 or 1.",
                remedy="Use 1 for a rise, -1 for a fall, 0 where none is expected.",
                file=file,
                column=column,
            )
            return
        filled = np.where(known, values, var[column].to_numpy(dtype=float))
        var[column] = filled.astype(np.int64) if column == "expected_direction" else filled
        return
    texts = given.set_axis(index).reindex(var.index)
    own = [str(old) if pd.isna(new) else str(new) for old, new in zip(var[column], texts, strict=True)]
    for kind in dict.fromkeys(own) if column == "kind" else ():
        if kind not in VALUE_KINDS:
            problems.add(
                "E-SHEET-008",
                "This kind of a value is unknown.",
                remedy=nearest(kind, VALUE_KINDS),
                file=file,
                column=column,
                value=kind,
            )
    var[column] = own


def _check_ranges(
    x: FloatArray, var: pd.DataFrame, biopsies: list[str], lines: list[int], file: str, problems: Problems
) -> None:
    kinds = var["kind"].to_numpy(dtype=object)
    with np.errstate(invalid="ignore"):
        bad = (x < 0) & np.isin(kinds.astype(str), ("density", "proportion"))[:, None]
        bad |= (x > 1) & (kinds == "proportion")[:, None]
    for row, k in np.argwhere(bad)[:_MOST].tolist():
        problems.add(
            "E-SHEET-008",
            f"A {kinds[row]} is outside its range.",
            remedy="Proportions run from 0 to 1, not to 100; densities are not negative.",
            file=file,
            row=lines[row],
            column=biopsies[k],
            value=f"{x[row, k]:g}",
        )


def _from_log2(
    cells: _Cells, var: pd.DataFrame, biopsies: list[str], lines: list[int], file: str, problems: Problems
) -> _Cells:
    """Bring intensities given as log2 back to the assay's own scale, their limits of quantification too."""
    logged = (var["kind"] == "intensity").to_numpy()
    with np.errstate(invalid="ignore"):
        beyond = (np.abs(cells.x) > _LOG_LIMIT) & logged[:, None]
    for row, k in np.argwhere(beyond)[:_MOST].tolist():
        problems.add(
            "E-SHEET-008",
            "This is no log2 of an intensity.",
            remedy="Give all values as log2, or remove 'scale: log2' from study.yaml.",
            file=file,
            row=lines[row],
            column=biopsies[k],
            value=f"{cells.x[row, k]:g}",
        )
    if beyond.any():
        return cells
    for column in ("lloq", "uloq"):
        var.loc[logged, column] = np.exp2(var.loc[logged, column].clip(-_LOG_LIMIT, _LOG_LIMIT))
    return _Cells(np.where(logged[:, None], np.exp2(cells.x), cells.x), cells.side)


def _tell_logarithms(cells: _Cells, var: pd.DataFrame, file: str, assay: str, problems: Problems) -> None:
    """Tell intensities that look like logarithms, which would be taken a second time.

    They do where none is above 30 and, besides, one is negative, or the features vary little about their
    means (median coefficient of variation below .3, of features with four values or more). Both may be
    honest (a corrected background, a narrow analyte), so nothing is refused.
    """
    x = cells.x[(var["kind"] == "intensity").to_numpy()]
    finite = np.isfinite(x)
    if not finite.any() or np.abs(x[finite]).max() > _LOG_CEILING:
        return
    low, high = x[finite].min(), x[finite].max()
    rows = [row[ok] for row, ok in zip(x, finite, strict=True) if ok.sum() >= _TO_JUDGE]
    spreads = [row.std(ddof=1) / row.mean() for row in rows if row.mean() > 0]
    if low < 0:
        why = f"they run from {low:.3g} to {high:.3g}, and an intensity is not negative"
    elif spreads and np.median(spreads) < _LEAST_CV:
        why = (
            f"they run from {low:.3g} to {high:.3g}, and the median coefficient of variation of the "
            f"features is {np.median(spreads):.2f}"
        )
    else:
        return
    problems.add(
        "E-SHEET-290",
        f"These intensities look like logarithms: {why}. The model takes log2 of intensities.",
        remedy=f"If they are log2, say so in study.yaml: '{assay}: {{..., scale: log2}}'. If they are on the "
        "scale of the assay, nothing need be done.",
        file=file,
        severity="warning",
    )
