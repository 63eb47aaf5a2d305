"""Writes pc.sas7bdat: six concentrations in SAS's own format, to test that it is read.

Python has no writer of this format; ReadStat's, compiled into pyreadstat 1.3.7, is called through ctypes.
The values are ours. Run: python tests/golden/cdisc/make_sas7bdat.py
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

from pyreadstat import _readstat_writer

STRING, DOUBLE = 0, 5
VARIABLES = [
    ("STUDYID", "Study Identifier", STRING, 8, None),
    ("DOMAIN", "Domain Abbreviation", STRING, 2, None),
    ("USUBJID", "Unique Subject Identifier", STRING, 8, None),
    ("PCSEQ", "Sequence Number", DOUBLE, 0, None),
    ("PCTESTCD", "Pharmacokinetic Test Short Name", STRING, 8, None),
    ("PCSTRESC", "Character Result/Finding in Std Format", STRING, 8, None),
    ("PCSTRESN", "Numeric Result/Finding in Standard Units", DOUBLE, 0, None),
    ("PCSTRESU", "Standard Units", STRING, 8, None),
    ("PCLLOQ", "Lower Limit of Quantitation", DOUBLE, 0, None),
    ("PCDTC", "Date/Time of Specimen Collection", STRING, 16, None),
    ("PCRFDT", "Date of Reference Dose", DOUBLE, 0, "DATE9."),
]
# 1959-12-31 is day -1.
ROWS = [
    ("S-1", "PC", "007", 1, "DRUG", "<BLQ", 0.0, "ug/mL", 0.5, "2025-01-10T08:00", -1),
    ("S-1", "PC", "007", 2, "DRUG", "12.5", 12.5, "ug/mL", 0.5, "2025-01-10T10:00", -1),
    ("S-1", "PC", "007", 3, "DRUG", "<BLQ", math.nan, "ug/mL", 0.5, "2025-01-17T08:00", -1),
    ("S-1", "PC", "NA", 1, "DRUG", "0.1", 0.1, "ug/mL", 0.5, "2025-01-11T08:00", 23751),
    ("S-1", "PC", "NA", 2, "DRUG", "1E5", 1e5, "ug/mL", 0.5, "2025-01-11T10:00", 23751),
    ("S-1", "PC", "NA", 3, "DRUG", "3.25", 3.25, "ug/mL", 0.5, "2025-01-18T08:00", math.nan),
]


def main(path: Path) -> None:
    lib = ctypes.CDLL(_readstat_writer.__file__)
    for name in ("readstat_writer_init", "readstat_add_variable"):
        getattr(lib, name).restype = ctypes.c_void_p
    data = bytearray()
    callback = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

    @callback
    def write(address: int, size: int, _: object) -> int:
        data.extend(ctypes.string_at(address, size))
        return size

    writer = ctypes.c_void_p(lib.readstat_writer_init())
    check(lib, lib.readstat_set_data_writer(writer, write))
    check(lib, lib.readstat_writer_set_file_timestamp(writer, ctypes.c_long(1_750_000_000)))
    check(lib, lib.readstat_writer_set_table_name(writer, b"PC"))
    made = []
    for name, label, kind, width, shown in VARIABLES:
        width_ = ctypes.c_size_t(width)
        variable = ctypes.c_void_p(lib.readstat_add_variable(writer, name.encode(), kind, width_))
        lib.readstat_variable_set_label(variable, label.encode())
        if shown:
            lib.readstat_variable_set_format(variable, shown.encode())
        made.append(variable)
    check(lib, lib.readstat_begin_writing_sas7bdat(writer, None, ctypes.c_long(len(ROWS))))
    for row in ROWS:
        check(lib, lib.readstat_begin_row(writer))
        for variable, value in zip(made, row, strict=True):
            if isinstance(value, str):
                check(lib, lib.readstat_insert_string_value(writer, variable, value.encode()))
            elif math.isnan(value):
                check(lib, lib.readstat_insert_missing_value(writer, variable))
            else:
                check(lib, lib.readstat_insert_double_value(writer, variable, ctypes.c_double(value)))
        check(lib, lib.readstat_end_row(writer))
    check(lib, lib.readstat_end_writing(writer))
    path.write_bytes(bytes(data))


def check(lib: ctypes.CDLL, code: int) -> None:
    if code:
        lib.readstat_error_message.restype = ctypes.c_char_p
        raise SystemExit(lib.readstat_error_message(code).decode())


if __name__ == "__main__":
    main(Path(__file__).with_name("pc.sas7bdat"))
