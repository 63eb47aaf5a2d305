"""Small CDISC datasets for tests, written in every format that is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdbiomarker.clinical.cdisc import Dataset, dataset_of, write_dataset_json, write_xpt
from pdbiomarker.tables import write_table

CREATED = dt.date(2025, 6, 30)
FORMATS = ("xpt", "json", "parquet", "csv")


def domain(
    name: str, rows: Sequence[Mapping[str, Any]], *, labels: Mapping[str, str] | None = None
) -> Dataset:
    """A dataset of rows; DOMAIN and STUDYID are added to SDTM ones."""
    frame = pd.DataFrame([dict(row) for row in rows])
    if not name.startswith("AD"):
        frame.insert(0, "DOMAIN", name)
    frame.insert(0, "STUDYID", "S-1")
    known = {c: f"Label of {c}" for c in frame.columns}
    return dataset_of(name, frame, label=f"{name} records", labels={**known, **(labels or {})})


def write(folder: Path, data: Dataset, form: str = "json", *, name: str | None = None) -> Path:
    """Write a dataset in one of the formats."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or data.name.lower()}.{form}"
    if form == "xpt":
        write_xpt(data, path, created=CREATED)
    elif form == "json":
        write_dataset_json(data, path, created=CREATED, study="S-1")
    elif form == "parquet":
        table = pa.Table.from_pandas(data.frame, preserve_index=False)
        fields = [f.with_metadata({"label": data.labels[f.name]}) for f in table.schema]
        pq.write_table(table.cast(pa.schema(fields, metadata={"label": data.label})), path)
    else:
        write_table(data.frame, path)
    return path


def folder_of(path: Path, *datasets: Dataset, form: str = "json") -> Path:
    for data in datasets:
        write(path, data, form)
    return path


PEOPLE = domain(
    "DM",
    [
        {
            "USUBJID": "007",
            "SITEID": "NA",
            "AGE": 61.0,
            "AGEU": "YEARS",
            "SEX": "F",
            "ACTARM": "10 mg",
            "RFXSTDTC": "2025-01-10T09:00",
            "RFXENDTC": "2025-05-02",
            "DTHDTC": None,
            "DTHFL": None,
        },
        {
            "USUBJID": "1E5",
            "SITEID": "01",
            "AGE": 70.0,
            "AGEU": "YEARS",
            "SEX": "M",
            "ACTARM": "30 mg",
            "RFXSTDTC": "2025-01",
            "RFXENDTC": "2025-04-01",
            "DTHDTC": "2025-06-01",
            "DTHFL": "Y",
        },
    ],
)


def exposures(*, amount: float = 10.0, unit: str = "mg") -> Dataset:
    rows = []
    for person in ("007", "1E5"):
        for k, start in enumerate(("2025-01-10T09:00", "2025-02-07T09:10")):
            rows.append(
                {
                    "USUBJID": person,
                    "EXSEQ": k + 1.0,
                    "EXTRT": "DRUG",
                    "EXDOSE": amount,
                    "EXDOSU": unit,
                    "EXSTDTC": start,
                    "EXENDTC": start.replace("09:", "10:"),
                    "VISIT": f"Cycle {k + 1} Day 1",
                    "EXADJ": "DOSE INTERRUPTED" if k else None,
                }
            )
    return domain("EX", rows)


def assessments(readers: Sequence[tuple[str, str | None]]) -> Dataset:
    rows = []
    for k, (group, name) in enumerate(readers):
        for j, (date, response) in enumerate((("2025-02", "PR"), ("2025-04-01", "PR"), ("2025-06-01", "PD"))):
            rows.append(
                {
                    "USUBJID": "007",
                    "RSSEQ": 10.0 * k + j,
                    "RSTESTCD": "OVRLRESP",
                    "RSSTRESC": response,
                    "RSEVAL": group,
                    "RSEVALID": name,
                    "RSDTC": date,
                    "VISIT": f"V{j}",
                }
            )
    return domain("RS", rows)


def pk(rows: Sequence[tuple[str, str, float | None, str]], *, lloq: float | None = 0.5) -> Dataset:
    """Concentrations from (participant, text, number, date)."""
    return domain(
        "PC",
        [
            {
                "USUBJID": person,
                "PCSEQ": k + 1.0,
                "PCTESTCD": "DRUG",
                "PCTEST": "Drug",
                "PCSTRESC": text,
                "PCSTRESN": number,
                "PCSTRESU": "ug/mL",
                "PCLLOQ": lloq,
                "PCDTC": date,
                "PCELTM": "PT2H30M" if k else "-PT30M",
            }
            for k, (person, text, number, date) in enumerate(rows)
        ],
    )
