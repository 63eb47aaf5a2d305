"""Proteins by proximity extension (Olink): NPX in long form, one row for each sample and protein.

NPX is relative and on a log2 scale: a difference of 1 is a factor of 2, and two proteins cannot be
compared. It is kept as ``2**NPX``, of kind ``intensity``, so that the model works on NPX itself and shows
the change as a fold change.

- A sample is called by its biopsy_id. Samples that no biopsy of the study claims are quarantined; control
  samples are passed over.
- A value below the limit of detection of its plate is known only to lie below it (``limits: censored``, the
  default), or counts as not measured (``limits: missing``). A file without the column LOD is used as given,
  which is told.
- What the laboratory's quality control warned of, by sample and panel, is left out and told, with the
  reason beside the biopsy; ``warned: kept`` keeps it and tells. A warning of a whole protein is told, and
  its values stay.
- The plate is the assay's ``batch``: a formula with ``batch`` means it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.valued import feature_table, source_of, tell_unclaimed, value_assay
from pdbiomarker.study import AssaySpec, Study
from pdbiomarker.tables import nearest, read_table, to_number

__all__ = ["read_olink"]

_NEEDED: Final = ("SampleID", "Assay", "PlateID", "NPX")
_MISSING: Final = ("NA", "NaN", "nan")
_CONTROL: Final = re.compile(r"control|^neg|^ipc|^pc_|calib", re.IGNORECASE)
_MOST: Final = 20


def read_olink(path: str | Path, *, study: Study, spec: AssaySpec) -> AnnData:
    """Read an NPX file in long form as an assay.

    Parameters
    ----------
    path : path
        CSV with semicolons, commas or tabs, or XLSX; columns ``SampleID, Assay, PlateID, NPX`` and, where
        they are known, ``LOD, QC_Warning, Assay_Warning, OlinkID, UniProt, Panel, Sample_Type``.
    study : Study
        Its biopsies.
    spec : AssaySpec
        The assay in study.yaml: `limits`, `warned`.

    Returns
    -------
    AnnData, biopsies x proteins
        `X`: 2**NPX, at the limit where it lies below it (``layers["censored"]`` is -1 there). `obs`:
        ``batch`` (plates), ``qc_warning`` (panels that were warned of), ``below_lod`` (share of the
        values). `var`: the columns of an assay, with ``olink_id, uniprot, panel``; a protein that several
        panels measure has its OlinkID in its name.

    Raises
    ------
    AssayError
        With every fault and its line: columns, numbers, a sample and protein given twice (E-SHEET-001, 004,
        007, 016), no biopsy of the study (E-SHEET-006).
    """
    path, problems = Path(path), Problems()
    name = spec.file or path.name
    rows = _rows(path, name, problems)
    known = [str(biopsy) for biopsy in study.biopsies.index]
    samples = list(dict.fromkeys(rows["sample"]))
    controls = sorted({str(s) for s in rows.loc[rows["control"], "sample"]} - set(known))
    tell_unclaimed(samples, known, file=name, what="sample", problems=problems, controls=controls)
    rows = rows[rows["sample"].isin(known)].copy()
    _check_twice(rows, name, problems)
    problems.raise_if_any(AssayError)
    _tell_proteins(rows, name, problems)
    left_out = _warned(rows, spec.warned or "left_out", name, problems)
    return _assay(rows, left_out, spec, source_of(path, name, "pdbiomarker.expression.read_olink"), problems)


def _rows(path: Path, name: str, problems: Problems) -> pd.DataFrame:
    """Rows of the file under names of our own; the index are its lines."""
    table = read_table(path, name=name, problems=problems)
    if table is None:
        raise AssayError(problems)
    for column in _NEEDED:
        if column not in table:
            near = nearest(column, map(str, table.columns))
            remedy = f"Export NPX in long form, one row for each sample and protein. {near}"
            problems.add(
                "E-SHEET-001", f"The column {column!r} is missing.", remedy=remedy, file=name, column=column
            )
    problems.raise_if_any(AssayError)
    for column in ("SampleID", "Assay"):
        for line in table.index[table[column].isna()][:_MOST]:
            problems.add(
                "E-SHEET-004", "An id is missing.", remedy="Name it.", file=name, row=int(line), column=column
            )
    numbers = {
        column: to_number(table[column].mask(table[column].isin(_MISSING)), file=name, problems=problems)
        for column in ("NPX", "LOD")
        if column in table
    }
    problems.raise_if_any(AssayError)
    if "LOD" not in table:
        problems.add(
            "E-VALUE-281",
            "The file has no limits of detection: values below them are used as given.",
            remedy="Export the column LOD where weak values should be treated as censored.",
            file=name,
            column="LOD",
            severity="warning",
        )
    texts = {
        ours: table[theirs].fillna("") if theirs in table else ""
        for ours, theirs in (
            *(("sample", "SampleID"), ("protein", "Assay"), ("plate", "PlateID"), ("olink_id", "OlinkID")),
            *(("uniprot", "UniProt"), ("panel", "Panel"), ("qc", "QC_Warning"), ("doubt", "Assay_Warning")),
        )
    }
    lod = numbers.get("LOD", np.nan)
    rows = pd.DataFrame({**texts, "npx": numbers["NPX"], "lod": lod}, index=table.index)
    typed = table["Sample_Type"].fillna("").ne("SAMPLE") if "Sample_Type" in table else False
    rows["control"] = rows["sample"].str.contains(_CONTROL) | typed
    rows["feature"] = _features(rows)
    return rows


def _features(rows: pd.DataFrame) -> pd.Series:
    """The protein; with its OlinkID where several assays of the file are called so."""
    assays = rows.groupby("protein")["olink_id"].nunique()
    several = rows["protein"].map(assays).gt(1)
    return rows["protein"].where(~several, rows["protein"] + "_" + rows["olink_id"])


def _check_twice(rows: pd.DataFrame, file: str, problems: Problems) -> None:
    twice = rows[rows.duplicated(["sample", "feature"])]
    for line, row in list(twice.iterrows())[:_MOST]:
        problems.add(
            "E-SHEET-016",
            f"{row['feature']} of sample {row['sample']!r} is given twice.",
            remedy="Keep one of the rows; give a repeated sample its biopsy_id once.",
            file=file,
            row=int(str(line)),
            value=row["sample"],
        )


def _tell_proteins(rows: pd.DataFrame, file: str, problems: Problems) -> None:
    """Tell what the laboratory warned of by protein; it stays."""
    for feature in dict.fromkeys(rows.loc[_is_warned(rows["doubt"]), "feature"]):
        problems.add(
            "E-VALUE-280",
            f"The laboratory's quality control warns of the protein {feature}.",
            remedy="Read it with caution.",
            file=file,
            column="Assay_Warning",
            value=feature,
            severity="warning",
        )


def _warned(rows: pd.DataFrame, decided: str, file: str, problems: Problems) -> pd.DataFrame:
    """Sample and feature of the values to be left out, and tell every sample that was warned of."""
    warned = rows[_is_warned(rows["qc"])]
    for sample, own in warned.groupby("sample", sort=False):
        panels = ", ".join(p for p in dict.fromkeys(own["panel"]) if p)
        kept, said = decided == "kept", f" ({panels})" if panels else ""
        problems.add(
            "E-VALUE-280",
            f"The laboratory's quality control warns of sample {sample!r}{said}: "
            f"{len(own)} values are {'kept' if kept else 'left out'}.",
            remedy="Read it with caution."
            if kept
            else "Measure it again, or say 'warned: kept' in study.yaml.",
            file=file,
            column="QC_Warning",
            value=str(own["qc"].iloc[0]),
            severity="warning" if kept else "quarantine",
            item=str(sample),
        )
    return warned.iloc[:0] if decided == "kept" else warned


def _is_warned(column: pd.Series) -> pd.Series:
    return ~column.str.casefold().isin(["", "pass", "na"])


def _assay(
    rows: pd.DataFrame, left_out: pd.DataFrame, spec: AssaySpec, source: dict[str, str], problems: Problems
) -> AnnData:
    """Values, sides and facts of the biopsies."""
    biopsies, features = (list(dict.fromkeys(rows[c])) for c in ("sample", "feature"))
    below = rows["npx"] < rows["lod"]
    why: dict[str, dict[str, str]] = {feature: {} for feature in features}
    for row in left_out.itertuples():
        why[str(row.feature)][str(row.sample)] = "left out: quality control"
    used = rows["npx"].mask(rows.index.isin(left_out.index))
    if spec.limits == "missing":
        for row in rows[below].itertuples():
            why[str(row.feature)].setdefault(str(row.sample), "below the limit of detection")
        used = used.mask(below)
    value = np.exp2(used.where(~below, rows["lod"].where(used.notna())))
    side = pd.Series(np.where(below & used.notna(), -1.0, 0.0), index=rows.index)
    x, sides = (_matrix(rows, series, biopsies, features) for series in (value, side))
    var = feature_table(features, "intensity", unit="2^NPX")
    first = rows.drop_duplicates("feature").set_index("feature")
    for column in ("olink_id", "uniprot", "panel"):
        var[column] = first[column].reindex(features).to_numpy(dtype=object)
    var["unmeasured"] = [json.dumps(why[feature], ensure_ascii=False) for feature in features]
    by_sample = rows.assign(below=below).groupby("sample", sort=False)
    warned = rows["panel"].where(_is_warned(rows["qc"]), "")
    obs = pd.DataFrame(
        {
            "batch": by_sample["plate"].agg(_joined),
            "qc_warning": warned.groupby(rows["sample"], sort=False).agg(_joined),
            "below_lod": by_sample["below"].mean(),
        }
    ).reindex(biopsies)
    return value_assay(x, var, side=sides.fillna(0.0), obs=obs, problems=problems, source=source)


def _matrix(
    rows: pd.DataFrame, series: pd.Series, biopsies: Sequence[str], features: Sequence[str]
) -> pd.DataFrame:
    x = np.full((len(biopsies), len(features)), np.nan)
    row = pd.Index(biopsies).get_indexer(pd.Index(rows["sample"]))
    x[row, pd.Index(features).get_indexer(pd.Index(rows["feature"]))] = series.to_numpy(dtype=np.float64)
    return pd.DataFrame(x, index=list(biopsies), columns=list(features))


def _joined(values: pd.Series) -> str:
    return "+".join(sorted({str(v) for v in values if v}))
