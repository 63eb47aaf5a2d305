"""What study.yaml says about an assay: what it is made of, and how that is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pdbiomarker.study.formats import FORMATS, known_format
from pdbiomarker.study.single_cell import SingleCellKeys, SingleCellOptions

__all__ = ["FOLDERS", "AssayKeys", "AssaySpec", "folder_of_files"]

_SLIDES: Final = frozenset({"slides", "panel", "regions"})
_EXPORT: Final = frozenset({"cells", "panel", "mpp", "columns", "classes"})
_VALUES: Final = frozenset({"file", "features", "limits"})
_INTENSITIES: Final = _VALUES | {"scale"}
_NCOUNTER: Final = frozenset({"file", "genes", "format", "rcc", "background", "housekeeping"})
_COUNTS: Final = _NCOUNTER | {
    *("files", "strand", "transcripts", "counts_from"),
    *("signatures", "signature_method", "signature_reference", "gene_sets", "h5ad", "single_cell"),
}
#: What holds the data of an assay: one of them.
_SOURCES: Final = frozenset({"file", "files", "rcc", "h5ad"})
#: Keys that name folders; `cells` may be either.
FOLDERS: Final = frozenset({"regions", "files", "rcc"})
_PATHS: Final = (
    *("file", "genes", "features", "regions", "cells", "transcripts", "rcc"),
    *("signature_reference", "gene_sets", "h5ad"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class AssaySpec:
    """What study.yaml says about one assay; paths are relative to the study folder.

    Attributes
    ----------
    name : str
        The key in study.yaml, as in ``ihc:CD8_density``.
    kind : {"count", "ihc", "intensity", "density", "proportion", "score", "signature"}
        Counts, slides to be measured, a table of values of that kind, or (intensity) nCounter probes.
    file, genes : str or None
        The count matrix or table of values, and the table that maps ids of genes to symbols.
    features : str or None
        Of a table of values: what is known of each feature.
    limits : {"censored", "missing"} or None
        What ``<5`` and ``>90`` of a table of values become, or values below the limits of another format.
    warned : {"left_out", "kept"} or None
        What becomes of values that the laboratory's quality control warned of.
    scale : {"log2"} or None
        Of a table of intensities: its numbers are logarithms; None: they are on the assay's own scale.
    files : str or None
        In place of `file`: the folder of a counting tool's files, or a pattern of their names with ``*``.
    format : str or None
        The form of the file, where it is not told by its content: see :mod:`pdbiomarker.study.formats`.
    strand, transcripts, counts_from : str or None
        How files of counts are read; see :class:`pdbiomarker.expression.CountSource`.
    rcc : str or None
        Folder of an nCounter run's RCC files.
    background : str or None
        How nCounter background is treated in an assay of kind intensity.
    housekeeping : tuple of str
        Housekeeping genes of an nCounter assay; empty: chosen by stability.
    h5ad : str or None
        A single-cell file, in place of `file`.
    single_cell : SingleCellOptions or None
        How its cells become biopsies.
    signatures : tuple of str
        Gene signatures to be scored: names, sets of `gene_sets`, or .yaml files.
    signature_method : str or None
        How, see :data:`pdbiomarker.expression.signatures.METHODS`; None: the mean of log2 CPM.
    signature_reference, gene_sets : str or None
        A fixed reference for the scores, and a GMT file of one's own sets.
    slides, panel, regions : str or None
        The slide sheet, the panel (a name or a .yaml file), the folder of GeoJSON files by slide id.
    cells : str or None
        An export of cells or counts, or a folder of them, in place of slides.
    mpp : float or None
        Micrometres per pixel of that export, where it is in pixels.
    columns, classes : mapping of str to str
        What its columns and classes mean, where that is not known.
    specimen : {"tumor", "blood"} or None
        What is measured; None: the tumour. Blood samples are rows of biopsies.csv whose site says so.
    """

    name: str
    kind: str
    file: str | None = None
    genes: str | None = None
    slides: str | None = None
    panel: str | None = None
    regions: str | None = None
    signatures: tuple[str, ...] = ()
    features: str | None = None
    limits: str | None = None
    warned: str | None = None
    scale: str | None = None
    files: str | None = None
    format: str | None = None
    strand: str | None = None
    transcripts: str | None = None
    counts_from: str | None = None
    rcc: str | None = None
    background: str | None = None
    housekeeping: tuple[str, ...] = ()
    signature_method: str | None = None
    signature_reference: str | None = None
    gene_sets: str | None = None
    h5ad: str | None = None
    single_cell: SingleCellOptions | None = None
    cells: str | None = None
    mpp: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    specimen: str | None = None

    @property
    def named_files(self) -> dict[str, str]:
        """Files and folders that the assay names, by key, but for slides, panels and patterns of files."""
        found = {key: getattr(self, key) for key in _PATHS}
        if self.files is not None:
            found["files"] = folder_of_files(self.files)
        if self.single_cell is not None:
            found["single_cell.markers"] = self.single_cell.markers
        found |= {f"signatures.{k}": s for k, s in enumerate(self.signatures) if s.endswith(".yaml")}
        return {key: value for key, value in found.items() if value is not None}

    def facts(self) -> dict[str, Any]:
        """Everything said, as YAML and JSON hold it; :meth:`of` makes the same again."""
        said = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "name" or value is None or value in ((), {}):
                continue
            if isinstance(value, SingleCellOptions):
                value = {key: v for key, v in dataclasses.asdict(value).items() if v is not None}
            elif isinstance(value, Mapping):
                value = dict(value)
            elif isinstance(value, tuple):
                value = list(value)
            said[field.name] = value
        return said

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> Self:
        """Make the description of an assay from its :meth:`facts`."""
        said: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        if said.get("single_cell") is not None:
            said["single_cell"] = SingleCellOptions(**said["single_cell"])
        return cls(name=name, **said)


def folder_of_files(files: str) -> str:
    """Folder that `files` of an assay names, or in which the search for its pattern begins.

    Examples
    --------
    >>> folder_of_files("salmon/"), folder_of_files("quant/*/quant.sf"), folder_of_files("*.tab")
    ('salmon/', 'quant', '.')
    """
    if "*" not in files:
        return files
    parts = files.split("/")
    return "/".join(parts[: next(k for k, part in enumerate(parts) if "*" in part)]) or "."


class AssayKeys(BaseModel):
    """The keys of an assay in study.yaml, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["count", "ihc", "intensity", "density", "proportion", "score", "signature"]
    file: str | None = None
    files: str | None = None
    format: Annotated[str, AfterValidator(known_format)] | None = None
    strand: Literal["unstranded", "forward", "reverse"] | None = None
    transcripts: str | None = None
    counts_from: Literal["length_scaled", "scaled", "estimated"] | None = None
    rcc: str | None = None
    background: Literal["none", "subtract", "threshold"] | None = None
    housekeeping: list[str] = Field(default_factory=list)
    h5ad: str | None = None
    single_cell: SingleCellKeys | None = None
    genes: str | None = None
    signatures: list[str] = Field(default_factory=list)
    signature_method: str | None = None
    signature_reference: str | None = None
    gene_sets: str | None = None
    features: str | None = None
    limits: Literal["censored", "missing"] | None = None
    warned: Literal["left_out", "kept"] | None = None
    scale: Literal["log2"] | None = None
    slides: str | None = None
    panel: str | None = None
    regions: str | None = None
    cells: str | None = None
    mpp: float | None = Field(default=None, gt=0, le=100)
    columns: dict[str, str] = Field(default_factory=dict)
    classes: dict[str, str] = Field(default_factory=dict)
    specimen: Literal["tumor", "blood"] | None = None

    def spec(self, name: str) -> AssaySpec:
        """Give what was said as the description of an assay."""
        said = self.model_dump(exclude={"single_cell"}, exclude_defaults=True)
        if self.h5ad is not None:
            said["single_cell"] = dataclasses.asdict((self.single_cell or SingleCellKeys()).options())
        return AssaySpec.of(name, said)

    @model_validator(mode="before")
    @classmethod
    def _implied(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" not in value:
            named = FORMATS.get(known_format(str(value["format"]))) if value.get("format") else None
            if named is not None and len(named.kinds) == 1:
                return {**value, "kind": named.kinds[0]}
            if (_SLIDES | _EXPORT) & value.keys() and not {"file", "genes"} & value.keys():
                return {**value, "kind": "ihc"}
            raise ValueError(
                "The kind of the assay is missing. Remedy: Add 'kind: count' or 'kind: ihc', or the kind of "
                "its values, such as 'kind: intensity'"
            )
        return value

    @model_validator(mode="after")
    def _fits(self) -> AssayKeys:
        given = {key for key in type(self).model_fields if getattr(self, key) not in (None, [], {})}
        named = FORMATS.get(self.format or "")
        if named is not None and self.kind not in named.kinds:
            raise ValueError(
                f"A file of format {self.format} is no assay of kind {self.kind}. "
                f"Remedy: Use 'kind: {named.kinds[0]}', or correct the format"
            )
        foreign = given - {"kind", "specimen"} - self._allowed()
        if self.cells is not None and given & {"slides", "regions"}:
            raise ValueError(
                "An assay is made either from slides or from an export of cells. "
                "Remedy: Keep 'cells', or 'slides' and 'regions'"
            )
        if foreign:
            raise ValueError(
                f"An assay of kind {self.kind} has no {' or '.join(sorted(foreign))}. "
                "Remedy: Remove the key, or correct the kind"
            )
        self._check_source(given & _SOURCES)
        return self

    def _allowed(self) -> frozenset[str]:
        """Keys that an assay of this kind, from this source, may have."""
        if self.kind == "ihc":
            return _SLIDES if self.cells is None else _SLIDES | _EXPORT
        named = FORMATS.get(self.format or "")
        if named is not None:
            return frozenset({"file", "format"}) | named.keys
        if self.kind == "count":
            return _COUNTS
        if self.kind != "intensity":
            return _VALUES
        return _NCOUNTER if self.rcc is not None or self.format == "nsolver" else _INTENSITIES

    def _check_source(self, sources: set[str]) -> None:
        if self.cells is not None and self.panel is None:
            raise ValueError("An export of cells needs a panel. Remedy: Add 'panel: cd8'")
        if self.kind != "ihc" and not sources:
            remedy = (
                "Add 'file: counts.csv.gz', 'files: salmon/', 'rcc: rcc/' or 'h5ad: cells.h5ad'"
                if self.kind == "count"
                else "Add 'file: values.csv'"
            )
            article = "A count assay" if self.kind == "count" else f"An assay of kind {self.kind}"
            raise ValueError(f"{article} needs a file. Remedy: {remedy}")
        if len(sources) > 1:
            raise ValueError(
                f"The assay names {' and '.join(sorted(sources))}. Remedy: Keep the one that holds its data"
            )
        if self.single_cell is not None and self.h5ad is None:
            raise ValueError(
                "'single_cell' belongs to a single-cell file. Remedy: Add 'h5ad', or remove 'single_cell'"
            )
