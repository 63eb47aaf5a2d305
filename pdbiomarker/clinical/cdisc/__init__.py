"""CDISC at the edge: SDTM and ADaM in, ADaM out.

``reading`` (XPT, sas7bdat, Dataset-JSON, Parquet, CSV) gives a :class:`Dataset` with its labels;
``importing`` turns a folder of them into plain tables (``people``, ``exposure``, ``tumour``, ``specimens``,
``parameters``) and lists what was not taken; ``xpt`` and ``datasetjson`` write, ``adam`` checks what is
written.
"""

from pdbiomarker.clinical.cdisc.adam import check_adam
from pdbiomarker.clinical.cdisc.agreement import held_against
from pdbiomarker.clinical.cdisc.dataset import MAX_TEXT, Dataset, Variable, dataset_of
from pdbiomarker.clinical.cdisc.datasetjson import write_dataset_json
from pdbiomarker.clinical.cdisc.importing import CdiscTables, ImportOptions, import_cdisc
from pdbiomarker.clinical.cdisc.reading import read_dataset, read_datasets
from pdbiomarker.clinical.cdisc.records import date_flag, date_text
from pdbiomarker.clinical.cdisc.xpt import write_xpt

__all__ = [
    "MAX_TEXT",
    "CdiscTables",
    "Dataset",
    "ImportOptions",
    "Variable",
    "check_adam",
    "dataset_of",
    "date_flag",
    "date_text",
    "held_against",
    "import_cdisc",
    "read_dataset",
    "read_datasets",
    "write_dataset_json",
    "write_xpt",
]
