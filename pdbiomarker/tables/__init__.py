"""Tables and YAML as text: what a person typed, where they typed it, and nothing inferred.

Ids such as ``007``, ``1E5``, ``NA`` or ``TRUE`` stay as typed; every fault is reported with its line.
"""

from pdbiomarker.tables.columns import add_rows, is_number, nearest, parse_date, to_date, to_number, to_typed
from pdbiomarker.tables.decoding import decode_text
from pdbiomarker.tables.order import id_key, order_by_ids, order_by_texts
from pdbiomarker.tables.partial_dates import PartialDate, parse_partial_date, to_partial_date
from pdbiomarker.tables.reading import read_at_most, read_table
from pdbiomarker.tables.writing import write_table
from pdbiomarker.tables.yaml import (
    YamlDocument,
    load_yaml,
    parse_yaml,
    read_yaml,
    read_yaml_text,
    to_yaml,
    validate_yaml,
)

__all__ = [
    "PartialDate",
    "YamlDocument",
    "add_rows",
    "decode_text",
    "id_key",
    "is_number",
    "load_yaml",
    "nearest",
    "order_by_ids",
    "order_by_texts",
    "parse_date",
    "parse_partial_date",
    "parse_yaml",
    "read_at_most",
    "read_table",
    "read_yaml",
    "read_yaml_text",
    "to_date",
    "to_number",
    "to_partial_date",
    "to_typed",
    "to_yaml",
    "validate_yaml",
    "write_table",
]
