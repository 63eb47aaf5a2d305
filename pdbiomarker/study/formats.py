"""File formats that an assay of study.yaml may name by ``format``, and what reads each.

A format of values, one file biopsies x features by whatever means, is one line of :data:`FORMATS` and one
function: study.yaml then takes it, ``check`` reads it, and ``run`` carries it to the report.
docs/howto/assay.md goes that way from the file to the report. Formats of counts have keys of their own, and
are told apart by content (:mod:`pdbiomarker.expression.formats`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any, Final

__all__ = ["COUNT_FORMATS", "FORMATS", "FileFormat", "known_format"]

#: Formats of counts, and the nSolver export.
COUNT_FORMATS: Final = (
    *("table", "featurecounts", "star", "htseq", "salmon", "kallisto", "h5ad"),
    "nsolver",
)


@dataclasses.dataclass(frozen=True, slots=True)
class FileFormat:
    """A file format of values.

    Attributes
    ----------
    kinds : tuple of str
        The kinds that an assay of this format may have; where it is one, study.yaml need not say it.
    reader : str
        ``"package.module:function"``, imported when it is needed and called as ``reader(path, study=study,
        spec=spec)`` with a Path, a :class:`~pdbiomarker.study.Study` and an
        :class:`~pdbiomarker.study.AssaySpec`. It gives an AnnData, biopsies x features, and raises AssayError
        with every fault of the file.
    keys : frozenset of str
        Keys of study.yaml that it heeds, beside ``kind``, ``file``, ``format`` and ``specimen``.
    """

    kinds: tuple[str, ...]
    reader: str
    keys: frozenset[str] = frozenset()

    def function(self) -> Callable[..., Any]:
        """Import the reader."""
        found: Callable[..., Any] = resolve_name(self.reader)
        return found


#: The formats of values, by the name that study.yaml gives them.
FORMATS: Final[Mapping[str, FileFormat]] = {
    "olink": FileFormat(
        ("intensity",), "pdbiomarker.expression.olink:read_olink", frozenset({"limits", "warned"})
    ),
}


def known_format(name: str) -> str:
    """Return the name of a format; refuse one that nothing reads.

    Raises
    ------
    ValueError
        With the formats that there are.
    """
    every = [repr(known) for known in (*COUNT_FORMATS, *FORMATS)]
    if repr(name) not in every:
        allowed = f"{', '.join(every[:-1])} or {every[-1]}"
        raise ValueError(f"The value is not one of those allowed. Remedy: Allowed: {allowed}")
    return name
