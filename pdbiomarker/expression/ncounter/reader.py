"""A folder of RCC files as an assay: lanes judged, scaled, and put together by biopsy.

Quarantined, the rest goes on: lanes whose file is damaged or cut short (E-LANE-001), of another
code set than most (E-LANE-002), with too few fields of view (003), too high a binding density (004), missing
or non-linear positive controls (005), copies of another lane (010), and lanes that no biopsy claims
(E-COUNT-007; control lanes are only told). Everything else is told (:mod:`.quality`).

Two kinds of assay are made of the same files:

``intensity``
    values on the scale of counts after background, positive-control and housekeeping scaling
    (:mod:`.scaling`), with ``layers["censored"]`` (-1: at most this value) and ``layers["lloq"]`` (the limit
    of detection of each value, on the same scale). Several lanes of a biopsy: the geometric mean; censored
    where all lanes are.
``count``
    raw counts of endogenous and housekeeping probes for the road of counts (voom; the plan's
    `normalization`). Several lanes of a biopsy are summed. No background is taken off; a count below the
    limit of detection carries its own, large variance.

A lane is claimed by its file's name (with or without ``.RCC``) or by its sample id, whichever the sheets
hold. `batch` is the cartridge unless the sheets say otherwise; `lane` and `cartridge` stand beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
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
from pdbiomarker.expression.ncounter.quality import LaneLimits, LaneQuality, judge, lane_quality
from pdbiomarker.expression.ncounter.rcc import Lane, code_sets, rcc_files, read_rcc
from pdbiomarker.expression.ncounter.scaling import stable_subset, treat_background, unwanted_factors
from pdbiomarker.provenance import sha256_file, sha256_json
from pdbiomarker.study import Study, amiss, check_files
from pdbiomarker.study.assay_problems import keep_problems
from pdbiomarker.tables import nearest

__all__ = ["LaneOptions", "check_rcc", "read_ncounter"]

_CONTROL_LANE: Final = re.compile(r"ctrl|control|calib|reference|blank|water|ntc", re.IGNORECASE)
#: A housekeeping gene is above the limit of detection in this share of the lanes.
_SEEN_IN: Final = 0.75


@dataclasses.dataclass(frozen=True)
class LaneOptions:
    """What may be chosen.

    Attributes
    ----------
    background : {"threshold", "subtract", "none"}
        See :mod:`pdbiomarker.expression.ncounter.scaling`.
    housekeeping : tuple of str
        Names of the genes to scale by; empty: chosen by stability among those of the code set.
    unwanted : int
        How many factors of unwanted variation are put into `obs` (``unwanted_1``, ...), from the housekeeping
        genes; columns for the formula.
    limits : LaneLimits
    """

    background: str = "threshold"
    housekeeping: tuple[str, ...] = ()
    unwanted: int = 0
    limits: LaneLimits = dataclasses.field(default_factory=LaneLimits)


@dataclasses.dataclass(frozen=True)
class _Run:
    """Usable lanes of one code set: counts probes x lanes."""

    lanes: list[Lane]
    quality: list[LaneQuality]
    counts: FloatArray
    classes: npt.NDArray[np.str_]
    names: list[str]
    accessions: list[str]

    def where(self, *classes: str) -> npt.NDArray[np.intp]:
        return np.flatnonzero(np.isin(self.classes, classes))

    def figure(self, name: str) -> FloatArray:
        return np.array([getattr(q, name) for q in self.quality], dtype=np.float64)


def check_rcc(path: str | Path) -> Problems:
    """Find everything that is wrong with an RCC file, or with the lanes of a folder of them.

    Parameters
    ----------
    path : path
        One RCC file: its form, and whether the lane is fit for use. A folder: also whether the lanes belong
        together.
    """
    source, problems = Path(path), Problems()
    if source.is_dir():
        _lanes(source, source.name, problems, LaneOptions())
        return problems
    lane = read_rcc(source, problems)
    if lane is not None:
        judge(lane, lane_quality(lane), problems, LaneLimits())
    return problems


def read_ncounter(
    folder: str | Path,
    *,
    study: Study | None = None,
    kind: str = "intensity",
    name: str | None = None,
    options: LaneOptions | None = None,
) -> AnnData:
    """Read a folder of RCC files as an assay.

    Parameters
    ----------
    folder : path
    study : Study, optional
        Its `libraries` say which biopsy each lane belongs to.
    kind : {"intensity", "count"}
        Scaled values, or raw counts; see the head of this module.
    name : str, optional
        What problems call the folder.
    options : LaneOptions, optional

    Returns
    -------
    AnnData, biopsies x probes
        Without a study, lanes x probes. Endogenous and housekeeping probes; `obs` holds the figures of
        :class:`~pdbiomarker.expression.ncounter.quality.LaneQuality`, the factors, `lane`, `cartridge` and
        `batch`; `var` also `code_class` and `accession`. ``uns["problems"]``: see
        :func:`pdbiomarker.expression.problems_of`. ``uns["provenance"]`` says how values were scaled.

    Raises
    ------
    AssayError
        No lane is left, or housekeeping genes that the code set does not have.
    """
    folder, options = Path(folder), options or LaneOptions()
    name = folder.name if name is None else name
    if kind not in {"intensity", "count"}:
        raise ValueError(f"kind must be intensity or count; got {kind!r}.")
    problems = Problems()
    run = _lanes(folder, name, problems, options)
    owners = None if run is None else _owners(run, study, name, problems)
    if run is None or owners is None:
        raise AssayError(problems)
    chosen = [k for k, owner in enumerate(owners) if owner is not None]
    run = _only(run, chosen)
    biopsy = [owner for owner in owners if owner is not None]
    adata = _assemble(run, biopsy, study, kind, options=options, problems=problems)
    problems.raise_if_any(AssayError)
    keep_problems(adata, problems)
    files = rcc_files(folder)
    adata.uns["provenance"] = {
        "reader": "pdbiomarker.expression.read_ncounter",
        "file": name,
        "sha256": sha256_json([[file.name, sha256_file(file)] for file in files]),
        "matrix": f"{len(run.names)} probes x {len(files)} lanes, {len(run.lanes)} used",
        "code_set": run.lanes[0].code_set,
        **dict(adata.uns.pop("scaling", {})),
    }
    return adata


def _lanes(folder: Path, name: str, problems: Problems, options: LaneOptions) -> _Run | None:
    """Read and judge the lanes; None where none is fit."""
    files = rcc_files(folder) if folder.is_dir() else []
    check_files(folder.rglob("*"), problems, root=folder)
    if not files:
        problems.add(
            amiss(folder)[0],
            "There is no RCC file.",
            remedy="Name the folder that holds the RCC files of the run; unpack them from the ZIP archive.",
            file=name,
        )
        return None
    lanes: dict[str, Lane] = {}
    seen: dict[str, str] = {}
    for file in files:
        lane = _lane(file, problems)
        if lane is None:
            continue
        content = lane.counts.tobytes() + lane.cartridge.encode() + lane.lane.encode()
        digest = hashlib.sha256(content).hexdigest()
        twin = seen.setdefault(digest, lane.name)
        if twin != lane.name or lane.name in lanes:
            said = f"{lane.file} holds the same lane as {lanes[twin].file}"
            _quarantine(lane, "E-LANE-010", said, "Keep one of them.", problems)
            continue
        lanes[lane.name] = lane
    sets = sorted(code_sets(lanes).items(), key=lambda item: (-len(item[1]), item[0]))
    for key, others in sets[1:]:
        for lane in (lanes[other] for other in others):
            what = f"code set {key[0]!r}, most lanes {sets[0][0][0]!r}"
            if key[0] == sets[0][0][0]:
                what = "a code set of the same name with other probes than most lanes"
            said = f"Lane {lane.name!r} was measured with {what}"
            _quarantine(lane, "E-LANE-002", said, "Analyse each code set as an assay of its own.", problems)
    usable = [lanes[lane] for lane in sets[0][1]] if sets else []
    judged = [(lane, lane_quality(lane)) for lane in usable]
    fit = [(lane, q) for lane, q in judged if judge(lane, q, problems, options.limits)]
    if not fit:
        problems.add(
            "E-LANE-001",
            f"None of the {len(files)} lanes can be used.",
            remedy="See the reason of each lane.",
            file=name,
        )
        return None
    return _run_of(fit)


def _lane(file: Path, problems: Problems) -> Lane | None:
    """One lane; its faults quarantine it alone."""
    own = Problems()
    lane = read_rcc(file, own)
    stem = re.sub(r"\.rcc(\.gz)?$", "", file.name, flags=re.IGNORECASE)
    for problem in own.errors[:1]:
        more = f" ({len(own.errors) - 1} more faults)" if len(own.errors) > 1 else ""
        problems.extend(
            [
                dataclasses.replace(
                    problem,
                    code="E-LANE-001",
                    message=f"The file cannot be used, and the lane is left out: {problem.message}{more}",
                    severity="quarantine",
                    item=stem,
                )
            ]
        )
    return lane


def _quarantine(lane: Lane, code: str, said: str, remedy: str, problems: Problems) -> None:
    problems.add(
        code, f"{said}; it is left out.", remedy=remedy, file=lane.file, severity="quarantine", item=lane.name
    )


def _run_of(fit: Sequence[tuple[Lane, LaneQuality]]) -> _Run:
    """Bring the lanes to the order of probes of the first by name; duplicates of a probe keep their place."""
    first = fit[0][0]
    keys = sorted((p.code_class, p.name, p.accession) for p in first.probes)
    counts = np.empty((len(keys), len(fit)))
    for k, (lane, _) in enumerate(fit):
        place = {(p.code_class, p.name): row for row, p in enumerate(lane.probes)}
        counts[:, k] = lane.counts[[place[c, n] for c, n, _ in keys]]
    return _Run(
        lanes=[lane for lane, _ in fit],
        quality=[q for _, q in fit],
        counts=counts,
        classes=np.array([c for c, _, _ in keys]),
        names=[n for _, n, _ in keys],
        accessions=[a for _, _, a in keys],
    )


def _only(run: _Run, chosen: Sequence[int]) -> _Run:
    return dataclasses.replace(
        run,
        lanes=[run.lanes[k] for k in chosen],
        quality=[run.quality[k] for k in chosen],
        counts=run.counts[:, list(chosen)],
    )


def _owners(run: _Run, study: Study | None, name: str, problems: Problems) -> list[str | None] | None:
    """Biopsy of each lane; without a study, the lane's name. None where no lane has one."""
    if study is None:
        return [lane.name for lane in run.lanes]
    sheet = {str(library): str(biopsy) for library, biopsy in study.libraries["biopsy_id"].items()}
    samples = [lane.sample for lane in run.lanes]
    owners: list[str | None] = []
    found: set[str] = set()
    for lane in run.lanes:
        ids = [lane.name, lane.file] + ([lane.sample] if samples.count(lane.sample) == 1 else [])
        known = next((i for i in ids if i in sheet), None)
        owners.append(None if known is None else sheet[known])
        if known is not None:
            found.add(known)
            continue
        if study.left_out["library"] & set(ids):
            continue
        control = bool(_CONTROL_LANE.search(f"{lane.name} {lane.sample}"))
        problems.add(
            "E-COUNT-007",
            f"No biopsy claims lane {lane.name!r}; it is left out."
            + (" It is named like a control." if control else ""),
            remedy="Name it in libraries.csv, or remove the file."
            + ("" if control else f" {nearest(lane.name, list(sheet))}"),
            file=lane.file,
            value=lane.sample,
            severity="warning" if control else "quarantine",
            item=lane.name,
        )
    _tell_absent(run, study, found, problems)
    if not any(owners):
        problems.add(
            "E-COUNT-007",
            f"No lane is claimed by a biopsy; a lane is called {run.lanes[0].name!r} or {samples[0]!r}.",
            remedy="Use the names of the RCC files, or the sample ids, as library_id in libraries.csv.",
            file=name,
        )
        return None
    return owners


def _tell_absent(run: _Run, study: Study, found: set[str], problems: Problems) -> None:
    """Libraries of the sheets without a lane; those that are quarantined have been told."""
    told = {p.item for p in problems} | {p.file for p in problems.quarantined}
    sheet = study.libraries
    sources = sheet["source"].tolist() if "source" in sheet else [""] * len(sheet)
    known = [lane.name for lane in run.lanes]
    for library, source in zip(map(str, sheet.index), sources, strict=True):
        stem = re.sub(r"\.rcc(\.gz)?$", "", library, flags=re.IGNORECASE)
        lost = stem in told or library in told or any(str(item).find(f"_{stem}_") >= 0 for item in told)
        if library not in found and not lost and source != "biopsy_id":
            problems.add(
                "E-COUNT-008",
                f"Library {library!r} of the sheets has no RCC file.",
                remedy=f"Correct the id, or remove it from the sheet. {nearest(library, known)}",
                file=str(source),
                value=library,
                severity="quarantine",
                item=library,
            )


# --- values --------------------------------------------------------------------------------------------


def _assemble(
    run: _Run,
    biopsy: Sequence[str],
    study: Study | None,
    kind: str,
    *,
    options: LaneOptions,
    problems: Problems,
) -> AnnData:
    """Values of the features by biopsy, with the figures of the lanes."""
    features = run.where("endogenous", "housekeeping")
    order = list(dict.fromkeys(biopsy))
    if study is not None:
        place = {str(b): k for k, b in enumerate(study.biopsies.index)}
        order.sort(key=lambda b: (place.get(b, len(place)), b))
    members = {b: [k for k, own in enumerate(biopsy) if own == b] for b in order}
    positive, housekeeping, genes, ready = _factors(run, options, problems)
    lod, background = run.figure("lod"), run.figure("background")
    scale = positive * housekeeping
    layers: dict[str, FloatArray] = {}
    if kind == "count":
        x = np.array([run.counts[features][:, members[b]].sum(axis=1) for b in order])
        how = {"counts": "raw counts, lanes of a biopsy summed"}
    else:
        treated = treat_background(run.counts[features], lod, background, options.background)
        x, layers = _pooled(treated.values * scale, treated.censored, lod * scale, members)
        how = {
            "background": options.background,
            "positive_control": "geometric mean of POS_A to POS_E, to its mean over lanes",
            "housekeeping": ", ".join(genes) if ready else "not scaled: no usable housekeeping genes",
        }
    obs = _lane_table(run, order, members, {"positive_factor": positive, "housekeeping_factor": housekeeping})
    if options.unwanted and genes:
        logs = np.log2(np.maximum(run.counts, 1) * scale)
        controls = [k for k in run.where("housekeeping", "endogenous") if run.names[k] in genes]
        factors = unwanted_factors(logs, np.array(controls), options.unwanted)
        for j in range(factors.shape[1]):
            obs[f"unwanted_{j + 1}"] = [factors[members[b], j].mean() for b in order]
    if study is not None and "batch" in study.libraries:
        _set_batch(obs, study, order)
    adata = AnnData(X=x, obs=obs, var=_probe_table(run, features, kind))
    for layer, values in layers.items():
        adata.layers[layer] = values
    adata.uns["scaling"] = how
    return adata


def _factors(
    run: _Run, options: LaneOptions, problems: Problems
) -> tuple[FloatArray, FloatArray, tuple[str, ...], bool]:
    """Positive-control and housekeeping factors, the genes chosen, and whether they could be used."""
    geomean = run.figure("positive_geomean")
    positive = geomean.mean() / geomean
    _tell_range(run, positive, "positive_factor", options.limits.positive_factor, problems)
    scaled = run.counts * positive
    rows = run.where("housekeeping")
    if options.housekeeping:
        known = {n: k for k, n in enumerate(run.names) if run.classes[k] in {"endogenous", "housekeeping"}}
        for gene in (g for g in options.housekeeping if g not in known):
            problems.add(
                "E-LANE-008",
                f"The code set has no gene {gene!r}.",
                remedy=nearest(gene, list(known)),
                file="study.yaml",
                column="housekeeping",
                value=gene,
            )
        rows = np.array([known[g] for g in options.housekeeping if g in known], dtype=np.intp)
    else:
        seen = (run.counts[rows] > run.figure("lod")).mean(axis=1)
        rows = rows[seen >= _SEEN_IN]
        rows = rows[stable_subset(np.maximum(scaled[rows], 1))] if rows.size else rows
    genes = tuple(run.names[k] for k in rows)
    ones = np.ones(len(run.lanes))
    if rows.size == 0 or (not options.housekeeping and rows.size < 3):
        problems.add(
            "E-LANE-008",
            f"{rows.size} housekeeping genes are above the limit of detection in 3 of 4 lanes; 3 are "
            "needed. The "
            "values are not scaled by housekeeping genes.",
            remedy="Leave out lanes with little RNA, or name genes under 'housekeeping'.",
            severity="warning",
        )
        return positive, ones, genes, False
    means = np.exp(np.log(np.maximum(scaled[rows], 1)).mean(axis=0))
    for k in np.flatnonzero(means < run.figure("lod") * positive):
        problems.add(
            "E-LANE-008",
            f"Lane {run.lanes[k].name!r}: the housekeeping genes have a geometric mean of "
            f"{means[k]:.3g} counts, "
            "below the limit of detection: its factor is mostly noise.",
            remedy="Read this lane with caution.",
            file=run.lanes[k].file,
            severity="warning",
            item=run.lanes[k].name,
        )
    factors = means.mean() / means
    _tell_range(run, factors, "housekeeping_factor", options.limits.housekeeping_factor, problems)
    return positive, factors, genes, True


def _tell_range(
    run: _Run, factors: FloatArray, name: str, limits: tuple[float, float], problems: Problems
) -> None:
    for k in np.flatnonzero((factors < limits[0]) | (factors > limits[1])):
        problems.add(
            "E-LANE-007",
            f"Lane {run.lanes[k].name!r}: the {name.replace('_', ' ')} is outside {limits[0]:g} to "
            f"{limits[1]:g}.",
            remedy="Read this lane with caution.",
            file=run.lanes[k].file,
            column=name,
            value=f"{factors[k]:.4g}",
            severity="warning",
            item=run.lanes[k].name,
        )


def _pooled(
    values: FloatArray, censored: FloatArray, lod: FloatArray, members: Mapping[str, list[int]]
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Geometric means over the lanes of each biopsy, biopsies x features."""
    logs = np.log(values)
    x = np.array([np.exp(logs[:, own].mean(axis=1)) for own in members.values()])
    side = np.array([-(censored[:, own] < 0).all(axis=1).astype(np.float64) for own in members.values()])
    with np.errstate(invalid="ignore"):
        limits = np.array([np.exp(np.log(lod[own]).mean()) for own in members.values()])
    return x, {"censored": side + 0.0, "lloq": np.repeat(limits[:, None], x.shape[1], axis=1)}


def _lane_table(
    run: _Run, order: Sequence[str], members: Mapping[str, list[int]], factors: Mapping[str, FloatArray]
) -> pd.DataFrame:
    """Figures of the lanes, as means over the lanes of a biopsy."""
    text = {
        "libraries": [lane.name for lane in run.lanes],
        "lane": [lane.lane for lane in run.lanes],
        "cartridge": [lane.cartridge for lane in run.lanes],
    }
    joined = {
        label: [";".join(dict.fromkeys(values[k] for k in members[b])) for b in order]
        for label, values in text.items()
    }
    size = run.counts[run.where("endogenous", "housekeeping")].sum(axis=0)
    numbers = {f.name: run.figure(f.name) for f in dataclasses.fields(LaneQuality)} | dict(factors)
    columns: dict[str, Any] = {
        "n_libraries": [len(members[b]) for b in order],
        "library_size": [size[members[b]].sum() for b in order],
        **joined,
        "batch": ["+".join(cell.split(";")) for cell in joined["cartridge"]],
        **{label: [values[members[b]].mean() for b in order] for label, values in numbers.items()},
    }
    return pd.DataFrame(columns, index=pd.Index(list(order), dtype=str))


def _set_batch(obs: pd.DataFrame, study: Study, order: Sequence[str]) -> None:
    """The batch of the sheets, where it is given, stands before the cartridge."""
    sheet = study.libraries
    given: dict[str, list[str]] = {}
    for owner, batch in zip(sheet["biopsy_id"].tolist(), sheet["batch"].tolist(), strict=True):
        if isinstance(batch, str) and batch and batch not in given.setdefault(str(owner), []):
            given[str(owner)].append(batch)
    if given:
        own = obs["batch"].tolist()
        obs["batch"] = ["+".join(given.get(b, [])) or own[k] for k, b in enumerate(order)]


def _probe_table(run: _Run, features: npt.NDArray[np.intp], kind: str) -> pd.DataFrame:
    names = [run.names[k] for k in features]
    ids = [
        n if names.count(n) == 1 else f"{n}_{run.accessions[k]}" for n, k in zip(names, features, strict=True)
    ]
    current = current_symbols(names)
    symbols = [current.get(n, n) for n in names]
    return gene_features(ids, symbols, kind=kind, unit="counts").assign(
        code_class=[str(run.classes[k]) for k in features],
        accession=[run.accessions[k] for k in features],
    )
