"""Results as files, and back.

::

    results/pd_change.csv            PDResult.table
    results/changes.csv              PDResult.changes of assays with at most 200 features
    results/changes_<assay>.parquet  those of larger assays
    results/robustness.csv           PDResult.robustness: exact tests, influence, bootstrap, for panels
    results/link_<kind>.csv          exposure, response, concordance, blood, see pdbiomarker.run.links
    results/accountability.csv, dispositions.csv, biopsies.csv, pairs.csv
    results/overrides.csv            reviewers' decisions, where there are any
    results/quarantine.csv           what was left out, and why
    results/qc_<name>.csv            quality tables
    results/identity.csv             whose library it is, by its transcripts
    results/estimands.csv            primary features under every strategy for intercurrent events
    results/intercurrent_events.csv  which biopsies an intercurrent event affects
    results/pair_mix.csv             tumour type, site and lesion of the pairs
    results/plan_deviations.csv      the plan against its lock, and the looks
    results/clinical_<name>.csv      PDResult.clinical: the trial around the biopsies; clinical.json: types
    results/truth.csv                planted effects, for a simulated study
    results/study.json               study and plan as analysed (study days, no dates)
    assays/<assay>.h5ad              biopsies x features, raw and on the model scale

Numbers keep every bit; :func:`read_result` gives back what :func:`write_result` was given.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from pdbiomarker.change import (
    CHANGE_COLUMNS,
    FEATURE_COUNT_OF_A_PANEL,
    ROBUSTNESS_COLUMNS,
    TABLE_COLUMNS,
    PDResult,
)
from pdbiomarker.errors import Problem, Problems, StudyError
from pdbiomarker.pairing import DISPOSITION_COLUMNS
from pdbiomarker.plan import Plan
from pdbiomarker.provenance import atomic_path, write_text
from pdbiomarker.study import (
    AdequacyRule,
    Archival,
    AssaySpec,
    Declared,
    PlanLock,
    Schedule,
    Study,
    StudySpec,
    Visit,
    no_overrides,
)
from pdbiomarker.study.clinical_sheets import SHEETS
from pdbiomarker.tables import parse_date, read_table, write_table
from pdbiomarker.verification import read_unchanged

__all__ = [
    "frame_of",
    "kinds_of",
    "plan_facts",
    "quarantine_table",
    "read_parts",
    "read_result",
    "read_typed",
    "study_facts",
    "write_assay",
    "write_clinical",
    "write_result",
]

_RESULTS: Final = "results"
_STUDY: Final = "study.json"
_CLINICAL: Final = "clinical.json"
#: Parts of a result's provenance that the analysis itself says.
_TOLD: Final = ("estimand", "lock")
_OWN_FILES: Final = frozenset({"identity"})
_QUARANTINE_COLUMNS: Final = ("item", "kind", "code", "file", "row", "column", "value", "reason", "remedy")
_ITEM_KINDS: Final[Mapping[str, str]] = {
    "SLIDE": "slide",
    "COUNT": "library",
    "LANE": "lane",
    "PAIR": "biopsy",
    "REGION": "region",
    "FILE": "slide",
    "RUN": "slide",
}
#: Dates of the participants stay out of the results: study days carry what the analysis needs.
_DATES: Final = frozenset({"collection_date", "first_dose_datetime", "birth_date"})


# --- writing -------------------------------------------------------------------------------------------


def write_result(result: PDResult, out: Path, *, facts: Mapping[str, Any]) -> list[Path]:
    """Write a result below a results folder and return its files, sorted.

    Parameters
    ----------
    result : PDResult
    out : Path
        The results folder.
    facts : mapping
        JSON kept beside the study: what :func:`read_result` gives back as `provenance` (but the problems,
        which are those of the study) and `images`.
    """
    folder = out / _RESULTS
    small = {a for a, data in result.study.assays.items() if data.n_vars <= FEATURE_COUNT_OF_A_PANEL}
    changes = result.changes
    tables = {
        "pd_change": result.table,
        "changes": changes[changes["assay"].isin(small)],
        "robustness": result.robustness,
        "accountability": result.accountability,
        "dispositions": result.dispositions,
        "biopsies": result.biopsies,
        "pairs": result.pairs,
        "quarantine": quarantine_table(result.study.problems),
        **{_qc_file(name): table for name, table in result.qc.items()},
        **result.listings,
    }
    if len(result.study.overrides):
        tables["overrides"] = result.study.overrides.reset_index(drop=True)
    if result.truth is not None:
        tables["truth"] = result.truth
    written = []
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        write_table(table, written[-1])
    for assay in result.study.assays:
        if assay not in small:
            written.append(folder / f"changes_{assay}.parquet")
            with atomic_path(written[-1]) as partial:
                own = changes[changes["assay"] == assay].reset_index(drop=True)
                own.to_parquet(partial, index=False, compression="zstd")
    for assay, adata in result.study.assays.items():
        written.append(write_assay(adata, out / "assays" / f"{assay}.h5ad"))
    content = {
        "study": study_facts(result.study.spec),
        "plan": plan_facts(result.plan),
        "participants": _frame_out(result.study.participants),
        "biopsies": _frame_out(result.study.biopsies),
        "libraries": _frame_out(result.study.libraries),
        "slides": _frame_out(result.study.slides),
        "clinical": {
            name: _clinical_out(name, frame) for name, frame in sorted(result.study.clinical.items())
        },
        "overrides": _frame_out(result.study.overrides, keep=("date",)),
        "problems": [dataclasses.asdict(p) for p in result.study.problems],
        "assays": list(result.study.assays),
        "tables": {name: kinds_of(table) for name, table in tables.items()},
        "listings": list(result.listings),
        "facts": {**dict(facts), **{k: result.provenance[k] for k in _TOLD if k in result.provenance}},
    }
    if result.study.lock is not None:
        content["lock"] = result.study.lock.facts()
    written.append(folder / _STUDY)
    write_text(written[-1], json.dumps(content, indent=1, ensure_ascii=False) + "\n")  # order has meaning
    return sorted(written)


def write_clinical(tables: Mapping[str, pd.DataFrame], problems: Sequence[Problem], out: Path) -> list[Path]:
    """Write the clinical tables below a results folder, with the types of their columns, and what was told.

    Returns
    -------
    list of Path
        ``results/clinical_<name>.csv``, ``clinical_problems.csv``, ``clinical.json``, sorted.
    """
    folder = out / _RESULTS
    rows = [dataclasses.asdict(problem) for problem in problems]
    names = [field.name for field in dataclasses.fields(Problem)]
    written = []
    for name, table in {**tables, "problems": pd.DataFrame(rows, columns=names)}.items():
        written.append(folder / f"clinical_{name}.csv")
        write_table(table, written[-1])
    content = {"tables": {name: kinds_of(table) for name, table in tables.items()}, "problems": rows}
    written.append(folder / _CLINICAL)
    write_text(written[-1], json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return sorted(written)


def _with_clinical(result: PDResult, out: Path) -> PDResult:
    """Give a result the clinical tables of its folder, where there are any."""
    path = out / _RESULTS / _CLINICAL
    if not path.is_file():
        return result
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {
        name: read_typed(out / _RESULTS / f"clinical_{name}.csv", kinds)
        for name, kinds in content["tables"].items()
    }
    told = [*result.provenance["problems"], *(Problem(**row) for row in content["problems"])]
    provenance = {**result.provenance, "problems": told}
    return dataclasses.replace(result, clinical=MappingProxyType(tables), provenance=provenance)


def _qc_file(name: str) -> str:
    """Name of the file of a quality table; some are read so often that they have a name of their own."""
    return name if name in _OWN_FILES else f"qc_{name}"


def quarantine_table(problems: Sequence[Problem]) -> pd.DataFrame:
    """List what was left out: one row per quarantined slide, library, region or biopsy."""
    rows = [
        {
            "item": p.item or "",
            "kind": _ITEM_KINDS.get(p.code.split("-")[1], "item"),
            "code": p.code,
            "file": p.file,
            "row": p.row,
            "column": p.column,
            "value": p.value,
            "reason": p.message,
            "remedy": p.remedy,
        }
        for p in problems
        if p.severity == "quarantine"
    ]
    frame = pd.DataFrame(rows, columns=list(_QUARANTINE_COLUMNS), dtype=object)
    frame["row"] = frame["row"].astype("Int64")
    return frame.sort_values(["kind", "item", "code"], kind="stable", ignore_index=True)


def write_assay(adata: ad.AnnData, path: Path) -> Path:
    """Write an assay so that the same assay gives the same bytes, and return the path.

    It is laid out in memory first: on a full disk HDF5 cannot close a file, and goes on failing after the
    error was told.
    """
    with h5py.File("assay", "w", driver="core", backing_store=False, track_order=False) as file:
        ad.io.write_elem(file, "/", _sorted(adata), dataset_kwargs={"track_times": False})
        file.flush()
        image = file.id.get_file_image()
    with atomic_path(path) as partial:
        partial.write_bytes(image)
    return path


def _sorted(adata: ad.AnnData) -> ad.AnnData:
    """Give a copy whose mappings are in alphabetical order, so that insertion order leaves no trace."""
    out = ad.AnnData(X=np.asarray(adata.X), obs=frame_of(adata.obs), var=frame_of(adata.var))
    for layer in sorted(n for n in adata.layers.keys() if n is not None):  # noqa: SIM118 - None stands for X
        out.layers[layer] = np.asarray(adata.layers[layer])
    for name in sorted(adata.obsm.keys()):
        out.obsm[name] = np.asarray(adata.obsm[name])
    out.uns = {key: adata.uns[key] for key in sorted(adata.uns)}
    return out


def frame_of(table: object) -> pd.DataFrame:
    """Return a copy of an assay's `obs` or `var` that is a DataFrame for certain."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"an assay's annotation is a {type(table).__name__}, not a DataFrame")
    return table.copy()


def study_facts(spec: StudySpec) -> dict[str, Any]:
    """Return the description of a study as JSON."""
    declared = spec.declared.facts()
    return {
        "id": spec.id,
        "data_cutoff": spec.data_cutoff,
        "visits": [dataclasses.asdict(v) for v in spec.visits],
        "adequacy": {column: rule.facts() for column, rule in spec.adequacy.items()},
        "assays": [{"name": assay.name, **assay.facts()} for assay in spec.assays],
        "columns": dict(spec.columns),
        **({"declared": declared} if declared else {}),
        "schedule": dataclasses.asdict(spec.schedule),
        "archival": dataclasses.asdict(spec.archival),
    }


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {field.name: _plain(getattr(plan, field.name)) for field in dataclasses.fields(plan) if field.init}


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def kinds_of(table: pd.DataFrame) -> dict[str, str]:
    """Return the type of each column, to read it back as it was; ``text`` is one without missing values."""
    kinds = {}
    for name, dtype in table.dtypes.items():
        textual = str(dtype) in {"object", "str"}
        kinds[str(name)] = "text" if textual and not table[name].isna().any() else str(dtype)
    return kinds


def _frame_out(frame: pd.DataFrame, *, keep: Collection[str] = ()) -> dict[str, Any]:
    """Return a sheet as JSON without dates of participants; dates of columns in `keep` are no one's."""
    left = [c for c in frame.columns if c not in keep and (c in _DATES or _holds_dates(frame[c]))]
    kept = frame.drop(columns=left)
    return {
        "index": [str(value) for value in frame.index],
        "name": frame.index.name,
        "kinds": kinds_of(kept),
        "columns": {str(c): [_cell(v) for v in kept[c]] for c in kept.columns},
    }


def _holds_dates(column: pd.Series) -> bool:
    """Whether a column of a sheet holds dates, whatever its name: one of several with ; between is enough.

    The name of a staining run may be its date: it is no participant's, and tables and checks need it.
    """
    if column.name == "batch":
        return False
    texts = [value for value in column.dropna().tolist() if isinstance(value, str)]
    return any(parse_date(part.strip()) is not None for text in texts for part in text.split(";"))


def _clinical_out(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """Give a clinical table without dates: study days, and what of a date is not known, stay.

    Of what lies after the data cut-off the place and the reason stay, not the date and the row as typed.
    """
    dates = {*SHEETS[name].dates} if name in SHEETS else {"value", "row"}
    dates |= {f"{date}_typed" for date in dates}
    moments = set(frame.select_dtypes("datetime").columns)
    return _frame_out(frame[[c for c in frame.columns if c not in dates | moments]])


def _cell(value: Any) -> str | float | int | bool | None:
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if isinstance(value, float | np.floating) else str(value)


#: What a file that was edited or cut short makes its reader raise.
_BROKEN: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)

# --- reading back --------------------------------------------------------------------------------------


def read_result(path: str | Path) -> PDResult:
    """Read a results folder back.

    Parameters
    ----------
    path : str or Path
        What ``pdbiomarker run STUDY -o OUT`` left.

    Returns
    -------
    PDResult
        With its study, assays, plan, quality tables and images. Dates of the participants are not in a
        results folder: `collection_date` is missing, `study_day` is there. Nor are those of the clinical
        sheets (``start``, ``start_typed``, ...): their study days and ``start_imputed`` are there; of rows
        set aside, where they stood and why.

    Raises
    ------
    VerificationError
        E-RUN-003: files of the result were changed since the run, each named; none was opened.
    StudyError
        E-FILE-001 or E-FILE-005: the folder is not a complete results folder, or a file of it cannot be read.
    """
    out = Path(path)
    read_unchanged(out, (_RESULTS, "assays"))  # before a file is taken apart that somebody may have put there
    return read_parts(out)


def read_parts(out: Path) -> PDResult:
    """Read the result of a folder whose run has not ended yet, see :func:`read_result`."""
    try:
        content = json.loads((out / _RESULTS / _STUDY).read_text(encoding="utf-8"))
        return _with_clinical(_assembled(out, content), out)
    except _BROKEN as error:
        said = str(error).split("\n")[0].replace(f"{out}/", "")  # no path of the disk
        problems = Problems()
        problems.add(
            "E-FILE-005",
            f"The results cannot be read back ({type(error).__name__}: {said}).",
            remedy="Run `pdbiomarker verify` on the folder, then the study again into it.",
            file=f"{_RESULTS}/{_STUDY}",
        )
        raise StudyError(problems) from error


def _assembled(out: Path, content: Mapping[str, Any]) -> PDResult:
    assays = {name: _read_assay(out / "assays" / f"{name}.h5ad") for name in content["assays"]}
    biopsies = _frame_in(content["biopsies"])
    study = Study(
        _spec(content["study"]),
        _frame_in(content["participants"]),
        biopsies,
        _frame_in(content["libraries"]),
        _frame_in(content["slides"]),
        assays=MappingProxyType(assays),
        clinical=MappingProxyType({n: _frame_in(f) for n, f in content["clinical"].items()}),
        problems=tuple(Problem(**row) for row in content["problems"]),
        lock=PlanLock.of(content["lock"]) if "lock" in content else None,
        overrides=_frame_in(content["overrides"]) if "overrides" in content else no_overrides(),
    )
    kinds = content["tables"]
    tables = {name: read_typed(out / _RESULTS / f"{name}.csv", kinds[name]) for name in kinds}
    facts = dict(content["facts"])
    images = {
        slide: {k: out / v if k in {"overview", "field"} else v for k, v in image.items()}
        for slide, image in facts.pop("images", {}).items()
    }
    return PDResult(
        table=tables["pd_change"][list(TABLE_COLUMNS)],
        changes=_changes(out, tables["changes"], list(assays)),
        accountability=tables["accountability"],
        dispositions=tables.get("dispositions", pd.DataFrame(columns=list(DISPOSITION_COLUMNS))),
        biopsies=tables["biopsies"],
        pairs=tables["pairs"],
        plan=_plan(content["plan"]),
        study=study,
        robustness=tables["robustness"][list(ROBUSTNESS_COLUMNS)],
        qc={
            name.removeprefix("qc_"): table
            for name, table in tables.items()
            if name.startswith("qc_") or name in _OWN_FILES
        },
        listings={name: tables[name] for name in content["listings"]},
        provenance={**facts, "problems": list(study.problems)},
        truth=tables.get("truth"),
        images=images,
    )


def _changes(out: Path, small: pd.DataFrame, assays: Sequence[str]) -> pd.DataFrame:
    parts = []
    for assay in assays:
        large = out / _RESULTS / f"changes_{assay}.parquet"
        own = small[small["assay"] == assay]
        parts.append(pd.read_parquet(large).astype(small.dtypes.to_dict()) if large.is_file() else own)
    return pd.concat(parts, ignore_index=True)[list(CHANGE_COLUMNS)] if parts else small


def read_typed(path: Path, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Read a table of a results folder with the types that its columns were written with."""
    problems = Problems()
    frame = read_table(path, problems=problems)
    problems.raise_if_any(StudyError)
    if frame is None:
        raise ValueError(f"{path.name} cannot be read")
    columns = {name: _typed(frame[name].tolist(), kind) for name, kind in kinds.items()}
    return pd.DataFrame(columns, columns=list(kinds))


def _typed(values: Sequence[Any], kind: str) -> pd.Series:
    """Give a column its type back from texts or JSON values; None is missing."""
    if kind == "bool":
        return pd.Series([value in {True, "True", "true"} for value in values], dtype=bool)
    if kind in {"float64", "float32"}:
        return pd.Series([np.nan if v is None else float(v) for v in values], dtype=kind)
    if kind.startswith(("int", "Int", "uint")):
        return pd.Series([pd.NA if v is None else int(v) for v in values], dtype=kind)
    if kind == "boolean":
        return pd.Series([pd.NA if v is None else v in {True, "True", "true"} for v in values], dtype=kind)
    if kind == "text":
        return pd.Series(["" if value is None else value for value in values], dtype=object)
    return pd.Series(list(values), dtype="str" if kind == "str" else object)


def _frame_in(content: Mapping[str, Any]) -> pd.DataFrame:
    columns = {name: _typed(content["columns"][name], kind) for name, kind in content["kinds"].items()}
    frame = pd.DataFrame(columns, columns=list(content["kinds"]))
    frame.index = pd.Index(content["index"], dtype=object, name=content["name"])
    return frame


def _read_assay(path: Path) -> ad.AnnData:
    with h5py.File(path, "r") as file:
        adata = ad.io.read_elem(file["/"])
    if not isinstance(adata, ad.AnnData):
        raise TypeError(f"{path.name} holds no assay")
    return adata


def _spec(content: Mapping[str, Any]) -> StudySpec:
    return StudySpec(
        id=content["id"],
        data_cutoff=content["data_cutoff"],
        visits=tuple(Visit(**visit) for visit in content["visits"]),
        adequacy=MappingProxyType(
            {column: AdequacyRule.read(column, facts) for column, facts in content["adequacy"].items()}
        ),
        assays=tuple(_assay(assay) for assay in content["assays"]),
        columns=MappingProxyType(dict(content["columns"])),
        declared=Declared.of(content.get("declared", {})),
        schedule=Schedule(**content.get("schedule", {})),
        archival=Archival(**content.get("archival", {})),
    )


def _assay(content: Mapping[str, Any]) -> AssaySpec:
    return AssaySpec.of(content["name"], {key: value for key, value in content.items() if key != "name"})


def _plan(content: Mapping[str, Any]) -> Plan:
    families = {family: tuple(references) for family, references in content["families"].items()}
    lists = {name: tuple(content[name]) for name in ("stable_genes", "choice") if name in content}
    return Plan(**{**content, "families": families, **lists})
