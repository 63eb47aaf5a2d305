"""From a folder of CDISC datasets to plain tables, and a list of what was not taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import pandas as pd

from pdbiomarker.clinical.cdisc.dataset import Dataset
from pdbiomarker.clinical.cdisc.exposure import antibodies, concentrations, doses, first_doses
from pdbiomarker.clinical.cdisc.parameters import parameters
from pdbiomarker.clinical.cdisc.people import adverse_events, outcomes, participants
from pdbiomarker.clinical.cdisc.reading import read_datasets
from pdbiomarker.clinical.cdisc.records import Ledger, Records
from pdbiomarker.clinical.cdisc.specimens import biopsies, genealogy, specimen_findings
from pdbiomarker.clinical.cdisc.tumour import lesions, measurable_disease, responses
from pdbiomarker.errors import Problem, Problems
from pdbiomarker.tables import write_table

__all__ = ["CdiscTables", "ImportOptions", "import_cdisc"]

#: Tables that are sheets of a study's folder clinical/; the others go beside them.
CLINICAL_SHEETS: Final = (
    "doses",
    "concentrations",
    "lesions",
    "responses",
    "outcomes",
    "ada",
    "adverse_events",
)
#: Where what is no clinical sheet is written: proposals for the study's own sheets, and what is for checking.
BESIDE: Final = "cdisc"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the datasets do not say.

    Attributes
    ----------
    reader : str or None
        Whose assessments count, in TU, TR and RS: ``INVESTIGATOR``, ``RADIOLOGIST 1`` ... With several
        readers and none chosen the import is refused, with their list.
    use : mapping of dataset to file name
        Which file is which dataset.
    prefer : {"sdtm", "adam"}
        Where both a domain and its analysis dataset are there, whose records become the plain table
        (parameters are imported from either way).
    titre_scale : {"linear", "log10"} or None
    severity_as_grade : bool
        Take mild, moderate, severe as grades 1, 2, 3 where there are no toxicity grades.
    """

    reader: str | None = None
    use: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefer: Literal["sdtm", "adam"] = "sdtm"
    titre_scale: Literal["linear", "log10"] | None = None
    severity_as_grade: bool = False


@dataclasses.dataclass(frozen=True)
class CdiscTables:
    """What an import gives.

    Attributes
    ----------
    tables : mapping of name to DataFrame
        ``participants, biopsies, doses, concentrations, lesions, responses, outcomes, ada, adverse_events``
        as docs/study_folder.md describes them; ``parameters`` (of ADPP, ADRS, ADTTE, ADAB) and
        ``specimen_findings`` (of MI and BS): those that there are.
    not_taken : DataFrame
        One row for each record, variable or dataset that was not taken: dataset, file, record,
        participant_id, variable, value, reason.
    sources : DataFrame
        One row for each dataset: dataset, file, label, n_records, n_variables, used_for.
    problems : tuple of Problem
        What was told.
    """

    tables: Mapping[str, pd.DataFrame]
    not_taken: pd.DataFrame
    sources: pd.DataFrame
    problems: tuple[Problem, ...]

    def write(self, out: str | Path) -> list[Path]:
        """Write the tables as CSV.

        Parameters
        ----------
        out : path
            A folder, such as STUDY/clinical. The clinical sheets go there. Participants, biopsies,
            parameters, specimen findings, sources and what was not taken go into a folder ``cdisc``: beside
            a folder named ``clinical``, which holds clinical sheets only, else inside.

        Returns
        -------
        list of Path
            What was written, the list of what was not taken last.
        """
        folder = Path(out)
        beside = folder.parent / BESIDE if folder.name == "clinical" else folder / BESIDE
        written = []
        everything = {**self.tables, "sources": self.sources, "not_taken": self.not_taken}
        for name, table in everything.items():
            written.append((folder if name in CLINICAL_SHEETS else beside) / f"{name}.csv")
            written[-1].parent.mkdir(parents=True, exist_ok=True)
            write_table(table, written[-1])
        return written


def import_cdisc(folder: str | Path, *, options: ImportOptions | None = None) -> CdiscTables:
    """Turn the CDISC datasets of a folder into plain tables.

    Parameters
    ----------
    folder : path
        SDTM domains and ADaM datasets, as XPT, sas7bdat, Dataset-JSON, Parquet or CSV, see
        :func:`~pdbiomarker.clinical.cdisc.read_datasets`.
    options : ImportOptions, optional

    Returns
    -------
    CdiscTables

    Raises
    ------
    InputError
        Every problem at once: files that cannot be read, variables that are missing (E-CDISC-004), several
        readers (E-CDISC-005), records of one key that contradict each other (E-CDISC-006), values out of
        their terms (E-CDISC-007), specimens without a parent (E-CDISC-008), dates that are none
        (E-CDISC-009).
    """
    chosen = options or ImportOptions()
    problems = Problems()
    data = read_datasets(folder, use=chosen.use, problems=problems)
    ledger = Ledger(problems)
    sources = {name: Records(dataset, ledger) for name, dataset in data.items()}
    tables, used = _tables(sources, chosen)
    for name, records in sources.items():
        if name in used:
            records.leave_unread()
        else:
            why = (
                "Its records are taken from the other kind of dataset."
                if _twin(name) in used
                else "Nothing was taken from it."
            )
            ledger.leave(records.data, why)
    problems.raise_if_any()
    shown = {name: table for name, table in tables.items() if table is not None and len(table)}
    return CdiscTables(MappingProxyType(shown), ledger.table, _sources(data, used), tuple(problems))


#: A domain and the analysis datasets that stand for it.
_TWINS: Final = {"EX": "ADEX", "PC": "ADPC", "PP": "ADPP", "AE": "ADAE", "RS": "ADRS", "IS": "ADAB"}


def _twin(name: str) -> str:
    return _TWINS.get(name) or next((domain for domain, other in _TWINS.items() if other == name), "")


def _tables(
    sources: Mapping[str, Records], options: ImportOptions
) -> tuple[dict[str, pd.DataFrame | None], dict[str, list[str]]]:
    """Make every table there is data for; say which datasets each rests on."""
    used: dict[str, list[str]] = {}
    tables: dict[str, pd.DataFrame | None] = {}

    def made(name: str, *datasets: str) -> None:
        for dataset in datasets:
            if dataset in sources:
                used.setdefault(dataset, []).append(name)

    def either(name: str, domain: str, make: Callable[[Records], pd.DataFrame | None]) -> None:
        order = (domain, _TWINS[domain]) if options.prefer == "sdtm" else (_TWINS[domain], domain)
        dataset = next((d for d in order if d in sources), None)
        if dataset is not None:
            tables[name] = make(sources[dataset])
            made(name, dataset)

    either("doses", "EX", doses)
    tables["participants"] = participants(
        sources.get("DM"), sources.get("ADSL"), first_doses(tables.get("doses"))
    )
    made("participants", "DM", "ADSL")
    family = genealogy(sources.get("RELSPEC"))
    if "BE" in sources:
        tables["biopsies"] = biopsies(sources["BE"], family)
        made("biopsies", "BE", "RELSPEC")
    collected = _owners(tables.get("biopsies"))
    tables["specimen_findings"] = specimen_findings(sources, family, collected)
    made("specimen_findings", "MI", "BS")
    either("concentrations", "PC", concentrations)
    if "TR" in sources:
        tables["lesions"] = lesions(sources["TR"], sources.get("TU"), reader=options.reader)
        made("lesions", "TR", "TU")
    either("responses", "RS", lambda records: responses(records, reader=options.reader))
    measurable = measurable_disease(sources.get("ADRS"))
    tables["outcomes"] = outcomes(sources, measurable=measurable)
    made("outcomes", "DM", "ADSL", "DS", "DD")
    if "IS" in sources or ("ADAB" in sources and "ISSTRESC" in sources["ADAB"].data):
        either("ada", "IS", lambda records: antibodies(records, titre_scale=options.titre_scale))
    either(
        "adverse_events",
        "AE",
        lambda records: adverse_events(records, severity_as_grade=options.severity_as_grade),
    )
    pharmacokinetic = "ADPP" if "ADPP" in sources else "PP"
    derived = [d for d in (pharmacokinetic, "ADRS", "ADTTE", "ADAB") if d in sources]
    found = [parameters(sources[d]) for d in derived]
    known = [table for table in found if table is not None]
    tables["parameters"] = pd.concat(known, ignore_index=True) if known else None
    made("parameters", *derived)
    return tables, used


def _owners(table: pd.DataFrame | None) -> dict[str, str]:
    if table is None:
        return {}
    return dict(zip(table["biopsy_id"].tolist(), table["participant_id"].tolist(), strict=True))


def _sources(data: Mapping[str, Dataset], used: Mapping[str, list[str]]) -> pd.DataFrame:
    rows = [
        {
            "dataset": name,
            "file": dataset.file,
            "label": dataset.label,
            "n_records": len(dataset),
            "n_variables": len(dataset.variables),
            "used_for": ", ".join(dict.fromkeys(used.get(name, []))),
        }
        for name, dataset in data.items()
    ]
    columns = ["dataset", "file", "label", "n_records", "n_variables", "used_for"]
    return pd.DataFrame(rows, columns=columns)
