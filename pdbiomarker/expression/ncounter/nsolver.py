"""nSolver exports: what was already done to the values is found out, and never done again in silence.

The table has probes in rows (the first column, or a column ``Probe Name``) and samples in columns; a column
of code classes (``Code Class``, ``Class Name``) may stand beside the names, and probes that are called
``POS_A`` and ``NEG_A`` are controls without one. Housekeeping genes come from the class column, from the
`genes` table of the assay (its column ``class``), or are named.

===================== ====================================================================================
state                 evidence
===================== ====================================================================================
housekeeping-scaled   the geometric mean of the housekeeping genes is the same (to 1 %) in 80 % of the
                      samples or more
thresholded           three endogenous probes or more share the smallest value of a sample
raw                   whole numbers throughout, and neither of the above
===================== ====================================================================================

Values that are housekeeping-scaled are taken as they are. A sample whose geometric mean is not that of the
others (E-LANE-009) is on another scale: it is left out, because what happened to it is not known. A value at
the floor of a thresholded sample is known to be at most that: it is marked as censored. Raw exports go the
road of RCC files: background, positive controls, housekeeping.

What cannot be found out is told (E-LANE-008): without housekeeping genes nothing says whether values were
scaled, and they are refused rather than scaled on suspicion.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.genes import gene_features
from pdbiomarker.expression.identifiers import current_symbols
from pdbiomarker.expression.library_size import FloatArray
from pdbiomarker.expression.ncounter.rcc import class_of, probe_name
from pdbiomarker.expression.ncounter.reader import LaneOptions
from pdbiomarker.expression.ncounter.scaling import stable_subset, treat_background
from pdbiomarker.provenance import sha256_file
from pdbiomarker.study import Study
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import nearest, read_table

__all__ = ["ExportState", "read_nsolver", "state_of"]

_NAMES: Final = ("probe name", "probename", "probe", "gene name", "gene", "name", "target name")
_CLASSES: Final = ("code class", "codeclass", "class name", "class", "code.class")
_OTHERS: Final = (
    "accession",
    "accession #",
    "analyte type",
    "% samples above threshold",
    "species name",
    "notes",
)
#: The housekeeping geometric mean is the same in this share of the samples, to this part.
_SHARE: Final = 0.8
_SAME: Final = 0.01
_FLOOR_PROBES: Final = 3


@dataclasses.dataclass(frozen=True)
class ExportState:
    """What was done to an export.

    Attributes
    ----------
    scaled : bool
        The housekeeping geometric mean is constant.
    target : float
        That constant; NaN where it is none.
    geomeans : array, samples
        Geometric mean of the housekeeping genes.
    exceptions : list of int
        Samples whose mean is not the constant.
    floors : array, samples
        The value that probes below background were set to; NaN where there is none.
    whole : bool
        All values are whole numbers.
    """

    scaled: bool
    target: float
    geomeans: FloatArray
    exceptions: list[int]
    floors: FloatArray
    whole: bool

    def of(self, samples: Sequence[int]) -> ExportState:
        """Give the state of some of the samples, in that order."""
        rows = list(samples)
        return dataclasses.replace(
            self, geomeans=self.geomeans[rows], exceptions=[], floors=self.floors[rows]
        )


def state_of(values: FloatArray, classes: npt.NDArray[np.str_]) -> ExportState:
    """Find out what was done to an export.

    Parameters
    ----------
    values : array, probes x samples
        Positive or 0.
    classes : array of str, probes
        ``endogenous``, ``housekeeping``, ``positive``, ``negative``, ...
    """
    housekeeping = values[classes == "housekeeping"]
    n = values.shape[1]
    geomeans = (
        np.exp(np.log(np.maximum(housekeeping, 1e-9)).mean(axis=0))
        if housekeeping.size
        else np.full(n, np.nan)
    )
    target = float(np.median(geomeans)) if housekeeping.size else np.nan
    same = np.abs(geomeans / target - 1) <= _SAME
    scaled = bool(n > 2 and housekeeping.size and same.mean() >= _SHARE)
    endogenous = values[classes == "endogenous"]
    floors = np.full(n, np.nan)
    whole = bool((values == np.floor(values)).all())
    for k in range(n if endogenous.size and not whole else 0):
        least = float(endogenous[:, k].min())
        if int((endogenous[:, k] == least).sum()) >= _FLOOR_PROBES:
            floors[k] = least
    exceptions = np.flatnonzero(~same).tolist() if scaled else []
    return ExportState(scaled, target if scaled else np.nan, geomeans, exceptions, floors, whole)


def read_nsolver(
    path: str | Path,
    *,
    study: Study | None = None,
    classes: pd.DataFrame | str | Path | None = None,
    name: str | None = None,
    options: LaneOptions | None = None,
) -> AnnData:
    """Read an nSolver export as an assay of kind intensity.

    Parameters
    ----------
    path : path
        CSV, TSV (also .gz) or XLSX.
    study : Study, optional
        Its `libraries` say which biopsy each sample belongs to.
    classes : DataFrame or path, optional
        First column probe names, a column ``class`` (or ``Code Class``) their code classes.
    name : str, optional
        What problems call the file.
    options : LaneOptions, optional
        `housekeeping` names the genes where no class column does.

    Returns
    -------
    AnnData, biopsies x probes
        As :func:`~pdbiomarker.expression.ncounter.reader.read_ncounter` gives; ``uns["provenance"]`` says
        what was found to have been done to the values and what was done here.

    Raises
    ------
    AssayError
        The table cannot be read; it holds values that are no numbers of 0 or more; nothing says which probes
        are housekeeping genes.
    """
    path, options = Path(path), options or LaneOptions()
    name = path.name if name is None else name
    problems = Problems()
    table = read_table(path, name=name, problems=problems)
    side = (
        classes
        if isinstance(classes, pd.DataFrame) or classes is None
        else read_table(classes, problems=problems)
    )
    problems.raise_if_any(AssayError)
    if table is None:
        raise AssayError(problems)
    probes, kinds, samples, values = _parts(table, side, name, problems, options)
    problems.raise_if_any(AssayError)
    state = state_of(values, kinds)
    kept = _judged(state, samples, name, problems)
    owners = _owners([samples[k] for k in kept], study, name, problems)
    problems.raise_if_any(AssayError)
    used = [k for k, owner in zip(kept, owners, strict=True) if owner is not None]
    biopsies = [owner for owner in owners if owner is not None]
    features = np.flatnonzero(np.isin(kinds, ("endogenous", "housekeeping")))
    # Like lanes that are left out, samples that are left out have no part in the scale of the others.
    state = state.of(used)
    scaled, censored, how = _values(values[:, used], kinds, state, options=options, problems=problems)
    problems.raise_if_any(AssayError)
    adata = _assay(
        scaled[features].T,
        censored[features].T,
        biopsies,
        [samples[k] for k in used],
    )
    adata.obs["housekeeping_geomean"] = state.geomeans
    adata.obs["floor"] = state.floors
    adata.var = _features([probes[k] for k in features], kinds[features])
    keep_problems(adata, problems)
    adata.uns["provenance"] = {
        "reader": "pdbiomarker.expression.read_nsolver",
        "file": name,
        "sha256": sha256_file(path),
        "matrix": f"{len(probes)} probes x {len(samples)} samples, {len(used)} used",
        **how,
    }
    if study is not None:
        adata = _in_order(adata, study)
    return adata


def _parts(
    table: pd.DataFrame, side: pd.DataFrame | None, name: str, problems: Problems, options: LaneOptions
) -> tuple[list[str], npt.NDArray[np.str_], list[str], FloatArray]:
    """Probes, their classes, samples and values."""
    plain = {str(c).strip().lower(): c for c in table.columns}
    key = next((plain[n] for n in _NAMES if n in plain), table.columns[0])
    class_column = next((plain[n] for n in _CLASSES if n in plain), None)
    other = {plain[n] for n in _OTHERS if n in plain}
    columns = [c for c in table.columns if c not in {key, class_column} | other]
    rows = [t is not None for t in table[key].tolist()]
    table = table[rows]
    probes = [probe_name(str(t)) for t in table[key].tolist()]
    values = np.empty((len(probes), len(columns)))
    for k, column in enumerate(columns):
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        bad = ~np.isfinite(numbers) | (numbers < 0)
        if bad.any():
            row = int(np.argmax(bad))
            problems.add(
                "E-COUNT-001" if np.isnan(numbers[row]) else "E-COUNT-002",
                f"{int(bad.sum())} values of sample {column!r} are no numbers of 0 or more, the first of "
                f"{probes[row]!r}.",
                remedy="Export the table again; log-transformed or z-scored values are not taken.",
                file=name,
                row=int(table.index[row]),
                column=str(column),
                value=table[column].iloc[row],
            )
        values[:, k] = numbers
    for probe, times in Counter(probes).items():
        if times > 1:
            problems.add(
                "E-COUNT-005",
                f"Probe {probe!r} stands in {times} rows.",
                remedy="Keep one of them.",
                file=name,
                value=probe,
            )
    given = None if class_column is None else table[class_column].tolist()
    return probes, _classes(probes, given, side, options, name, problems), [str(c) for c in columns], values


def _classes(
    probes: list[str],
    given: list[Any] | None,
    side: pd.DataFrame | None,
    options: LaneOptions,
    name: str,
    problems: Problems,
) -> npt.NDArray[np.str_]:
    """Code class of each probe: named genes, the class column, the table beside it, the names of controls."""
    found: dict[str, str] = {}
    if side is not None:
        plain = {str(c).strip().lower(): c for c in side.columns}
        column = next((plain[n] for n in _CLASSES if n in plain), None)
        if column is not None:
            pairs = zip(side.iloc[:, 0].tolist(), side[column].tolist(), strict=True)
            found = {probe_name(str(p)): class_of(str(c)) for p, c in pairs if p and c}
    classes = []
    for k, probe in enumerate(probes):
        own = class_of(str(given[k])) if given is not None and given[k] else found.get(probe, "")
        if not own and re.fullmatch(r"(POS|NEG)_[A-H]", probe, re.IGNORECASE):
            own = "positive" if probe.upper().startswith("POS") else "negative"
        classes.append("housekeeping" if probe in options.housekeeping else own or "endogenous")
    for gene in (g for g in options.housekeeping if g not in probes):
        problems.add(
            "E-LANE-008",
            f"The export has no gene {gene!r}.",
            remedy=nearest(gene, probes),
            file=name,
            value=gene,
        )
    if "housekeeping" not in classes:
        problems.add(
            "E-LANE-008",
            "Nothing says which probes are housekeeping genes: whether the values are already "
            "normalised cannot "
            "be told.",
            remedy="Keep the column 'Code Class' of the export, name a table of classes under "
            "'genes', or the "
            "genes under 'housekeeping'.",
            file=name,
        )
    return np.array(classes)


def _judged(state: ExportState, samples: list[str], name: str, problems: Problems) -> list[int]:
    """Tell the state; give the samples that are on the common scale."""
    if state.scaled:
        n = len(samples) - len(state.exceptions)
        problems.add(
            "E-COUNT-037",
            f"The values are already normalised: the housekeeping genes have the geometric mean "
            f"{state.target:.2f} in {n} of {len(samples)} samples. They are taken as they are and not "
            "scaled again.",
            remedy="Nothing need be done. With the RCC files at hand, read those instead.",
            file=name,
            severity="warning",
        )
    for k in state.exceptions:
        at_floor = "" if np.isnan(state.floors[k]) else ", many of its probes at the background"
        problems.add(
            "E-LANE-009",
            f"Sample {samples[k]!r} is unlike the others: its housekeeping genes have the geometric mean "
            f"{state.geomeans[k]:.2f}, those of the others {state.target:.2f}{at_floor}. It is on "
            "another scale and "
            "left out.",
            remedy="Look at its lane; export it again with the others, or run it again.",
            file=name,
            column=samples[k],
            value=f"{state.geomeans[k]:.2f}",
            severity="quarantine",
            item=samples[k],
        )
    return [k for k in range(len(samples)) if k not in state.exceptions]


def _values(
    values: FloatArray,
    classes: npt.NDArray[np.str_],
    state: ExportState,
    *,
    options: LaneOptions,
    problems: Problems,
) -> tuple[FloatArray, FloatArray, dict[str, str]]:
    """Values on a common scale, -1 where they are at most that, and what was done."""
    if state.scaled or not state.whole:
        floors = np.where(np.isfinite(state.floors), state.floors, -np.inf)
        out = np.maximum(values, np.finfo(float).tiny)
        censored = np.where((values <= floors) | (values <= 0), -1.0, 0.0)
        done = (
            "housekeeping-scaled" if state.scaled else "not whole numbers, scaled in a way that is not known"
        )
        floored = int(np.isfinite(state.floors).sum())
        if not state.scaled:
            problems.add(
                "E-COUNT-037",
                "The values are no raw counts, and their housekeeping genes are not on one level: "
                "what was done to "
                "them cannot be told.",
                remedy="Export raw counts, or read the RCC files.",
            )
        return (
            out,
            censored,
            {
                "found": f"{done}; {floored} of {values.shape[1]} samples thresholded at background",
                "housekeeping": f"as exported: geometric mean {state.target:.2f}",
                "background": "as exported: values at the floor of their sample are at most that",
            },
        )
    negative = values[classes == "negative"]
    background = negative.mean(axis=0) if negative.size else np.full(values.shape[1], np.nan)
    lod = background + 2 * negative.std(axis=0, ddof=1) if negative.shape[0] > 1 else background
    strong = np.maximum(values[classes == "positive"], 1)
    positive = np.exp(np.log(strong).mean(axis=0)) if strong.size else np.ones(values.shape[1])
    scale = positive.mean() / positive
    rows = np.flatnonzero(classes == "housekeeping")
    if not options.housekeeping:
        rows = rows[stable_subset(np.maximum(values[rows] * scale, 1))]
    means = np.exp(np.log(np.maximum(values[rows] * scale, 1)).mean(axis=0))
    scale = scale * means.mean() / means
    treated = treat_background(values, lod, background, options.background)
    return (
        treated.values * scale,
        treated.censored,
        {
            "found": "raw counts",
            "background": options.background,
            "positive_control": "geometric mean of the positive controls, to its mean over samples",
            "housekeeping": f"geometric mean of {rows.size} genes, to its mean over samples",
        },
    )


def _owners(samples: list[str], study: Study | None, name: str, problems: Problems) -> list[str | None]:
    if study is None:
        return list(samples)
    sheet = {str(library): str(biopsy) for library, biopsy in study.libraries["biopsy_id"].items()}
    owners = [sheet.get(sample) for sample in samples]
    twice = {b for b, n in Counter(o for o in owners if o).items() if n > 1}
    for sample, owner in zip(samples, owners, strict=True):
        if owner is None and sample in study.left_out["library"]:
            continue
        if owner is None:
            problems.add(
                "E-COUNT-007",
                f"No biopsy claims sample {sample!r}; it is left out.",
                remedy=f"Name it in the sheet, or remove the column. {nearest(sample, list(sheet))}",
                file=name,
                row=1,
                column=sample,
                value=sample,
                severity="quarantine",
                item=sample,
            )
        elif owner in twice:
            problems.add(
                "E-COUNT-006",
                f"Biopsy {owner!r} has several samples in the export; scaled values cannot be put together.",
                remedy="Keep one of them in the sheet, or read the RCC files.",
                file=name,
                column=sample,
            )
    if not any(owners):
        problems.add(
            "E-COUNT-007",
            f"No sample of the export is claimed by a biopsy; the export has {', '.join(samples[:3])}.",
            remedy="Use the names of the export's columns as library_id in libraries.csv.",
            file=name,
            row=1,
        )
    return owners


def _assay(x: FloatArray, censored: FloatArray, biopsies: list[str], samples: list[str]) -> AnnData:
    obs = pd.DataFrame(
        {"n_libraries": np.ones(len(biopsies), dtype=np.int64), "libraries": samples},
        index=pd.Index(biopsies, dtype=str),
    )
    adata = AnnData(X=np.ascontiguousarray(x), obs=obs)
    adata.layers["censored"] = np.ascontiguousarray(censored)
    return adata


def _in_order(adata: AnnData, study: Study) -> AnnData:
    """Biopsies in the order of the sheet, with its batches."""
    order = [str(b) for b in study.biopsies.index if str(b) in set(adata.obs_names)]
    adata = adata[order].copy()
    if "batch" in study.libraries:
        batch = dict(
            zip(map(str, study.libraries["biopsy_id"]), study.libraries["batch"].tolist(), strict=True)
        )
        if any(isinstance(v, str) and v for v in batch.values()):
            adata.obs["batch"] = [batch.get(b) or "" for b in order]
    return adata


def _features(probes: list[str], classes: npt.NDArray[np.str_]) -> pd.DataFrame:
    current = current_symbols(probes)
    features = gene_features(probes, [current.get(p, p) for p in probes], kind="intensity", unit="counts")
    return features.assign(code_class=[str(c) for c in classes])
