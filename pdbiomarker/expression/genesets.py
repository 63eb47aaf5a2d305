"""Gene sets: the signatures of this package, a signature file of one's own, and GMT files.

The signatures that come with the package are in ``reference/signatures``, each with its genes, definition,
source, PMID and licence. Collections whose licence does not let them be shipped, such as MSigDB, are read
from the GMT file that a user brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pdbiomarker.errors import AssayError, Problems
from pdbiomarker.expression.identifiers import date_in
from pdbiomarker.reference import reference_names, reference_path
from pdbiomarker.tables import decode_text, nearest, read_yaml

__all__ = ["Signature", "available_signatures", "read_gene_sets", "read_signature"]

_FOLDER: Final = "signatures"
_MAX_BYTES: Final = 256 << 20
#: Lines without a set that are told one by one.
_MOST_LINES: Final = 20
#: Share of a set's genes that a matrix must have.
FLOOR: Final = 0.75


class Signature(BaseModel):
    """What a signature file says.

    Attributes
    ----------
    name, label : str
        Feature id, and the name for people.
    genes : tuple of str
        Gene symbols, each once.
    aliases : mapping of symbol to tuple of str
        Other names under which a matrix may hold a gene, looked for when the symbol is not there.
    weights : mapping of symbol to float
        For the definitions that take a mean; empty: all genes alike.
    min_coverage : float
        Least share of the genes that must be in the matrix, 0 to 1; below it the signature is not scored.
    score : {"mean_log2_cpm"}
        Name of the usual definition.
    unit : str
    expected_direction : {-1, 0, 1}
        Of an immune-activating treatment.
    direction_source : str
        On what the direction rests.
    definition, differs : str
        The formula in words, and where it is not the published one.
    source, doi, pmid, licence : str
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    label: str
    genes: tuple[str, ...] = Field(min_length=1, strict=False)
    aliases: dict[str, list[str]] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict)
    min_coverage: float = Field(default=FLOOR, ge=0, le=1)
    score: Literal["mean_log2_cpm"] = "mean_log2_cpm"
    unit: str = "log2 CPM"
    expected_direction: Literal[-1, 0, 1] = 0
    direction_source: str = ""
    definition: str = ""
    differs: str = ""
    source: str = ""
    doi: str = ""
    pmid: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _named(self) -> Signature:
        if len(set(self.genes)) < len(self.genes):
            twice = next(g for g in self.genes if self.genes.count(g) > 1)
            raise ValueError(f"the gene {twice} is listed twice")
        strange = [g for g in [*self.aliases, *self.weights] if g not in self.genes]
        if strange:
            raise ValueError(f"{strange[0]} has an alias or a weight and is not among the genes")
        if self.weights and set(self.weights) != set(self.genes):
            raise ValueError("weights are given for some genes only")
        if self.weights and sum(self.weights.values()) <= 0:
            raise ValueError("the weights do not add up to a positive number")
        return self


def available_signatures() -> list[str]:
    """Names of the signatures that come with the package, sorted."""
    return reference_names(_FOLDER)


def read_signature(name: str | Path) -> Signature:
    """Read the definition of a signature.

    Parameters
    ----------
    name : str or Path
        One of :func:`available_signatures`, or the path of a ``.yaml`` file with the same keys.

    Raises
    ------
    AssayError
        There is no such signature (E-FILE-001), or its file breaks the schema (E-PANEL-001).

    Examples
    --------
    >>> read_signature("CYT").genes
    ('GZMA', 'PRF1')
    """
    problems = Problems()
    own = str(name).endswith(".yaml") and Path(name).is_file()
    if not own and str(name) not in available_signatures():
        problems.add(
            "E-FILE-001",
            f"There is no signature {str(name)!r}.",
            remedy=nearest(str(name), available_signatures()),
            file=_FOLDER,
            value=name,
        )
        raise AssayError(problems)
    file = Path(name).name if own else f"{_FOLDER}/{name}.yaml"
    data = read_yaml(Path(name) if own else reference_path(file), problems, name=file)
    problems.raise_if_any(AssayError)
    try:
        return Signature.model_validate(data)
    except ValidationError as error:
        for fault in error.errors():
            problems.add(
                "E-PANEL-001",
                str(fault["msg"]) + ".",
                remedy="See the attributes of Signature.",
                file=file,
                column=".".join(map(str, fault["loc"])),
                value=fault["input"],
            )
        raise AssayError(problems) from error


def read_gene_sets(path: str | Path, *, problems: Problems | None = None) -> list[Signature]:
    """Read a GMT file: one set a line, tab-separated: name, description, genes.

    Parameters
    ----------
    path : path
        UTF-8 text.
    problems : Problems, optional
        Warnings are added: a gene listed twice in a set counts once (E-COUNT-005).

    Returns
    -------
    list of Signature
        In the order of the file; the description is kept as `source`, the definition is the mean of log2 CPM.

    Raises
    ------
    AssayError
        E-FILE codes: no such file, not text; E-SHEET-003: a line without genes; E-SHEET-005: two sets of one
        name; E-SHEET-011: no set at all.
    """
    path = Path(path)
    told = Problems() if problems is None else problems
    found = Problems()
    sets: dict[str, Signature] = {}
    text = _text(path, found)
    faulty = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = [g for g in rest[1:] if g]
        if not name or not genes:
            faulty += 1
            if faulty > _MOST_LINES:
                continue
            found.add(
                "E-SHEET-003",
                "The line has no name, description and gene, separated by tabs.",
                remedy="Give a GMT file: name, description, then one gene in each field.",
                file=path.name,
                row=number,
                value=line[:60],
            )
            continue
        if name in sets:
            found.add(
                "E-SHEET-005",
                f"The set {name!r} is given twice.",
                remedy="Give each set one line and one name.",
                file=path.name,
                row=number,
                value=name,
            )
            continue
        once = _genes_once(genes, name, file=path.name, row=number, problems=told)
        sets[name] = Signature(
            name=name, label=name, genes=once, source=rest[0], definition="Mean of log2 CPM over the genes."
        )
    if faulty > _MOST_LINES:
        found.add(
            "E-SHEET-003",
            f"{faulty - _MOST_LINES} more lines are no gene sets.",
            remedy="Give a GMT file.",
            file=path.name,
        )
    if not sets and not found.errors:
        found.add("E-SHEET-011", "The file holds no gene set.", remedy="Give a GMT file.", file=path.name)
    found.raise_if_any(AssayError)
    return list(sets.values())


def _genes_once(
    genes: Sequence[str], name: str, *, file: str, row: int, problems: Problems
) -> tuple[str, ...]:
    """Give the genes of a set, each once; tell those that are dates, or named twice."""
    for gene in genes:
        if (meant := date_in(gene)) is not None:
            problems.add(
                "E-COUNT-013",
                f"The gene {gene!r} of the set {name!r} is a date that a spreadsheet made of a symbol"
                f"{f': probably {meant}' if meant else ''}.",
                remedy="Take the set from its source again, without a spreadsheet.",
                file=file,
                row=row,
                value=gene,
                severity="warning",
            )
    once = tuple(dict.fromkeys(genes))
    if len(once) < len(genes):
        twice = next(g for g in once if genes.count(g) > 1)
        problems.add(
            "E-COUNT-005",
            f"The set {name!r} lists {twice!r} twice; it counts once.",
            remedy="Nothing need be done.",
            file=file,
            row=row,
            value=twice,
            severity="warning",
        )
    return once


def _text(path: Path, problems: Problems) -> str:
    text = ""
    if not path.is_file():
        problems.add("E-FILE-001", "There is no such file.", remedy="Correct the path.", file=path.name)
    elif path.stat().st_size > _MAX_BYTES:
        problems.add(
            "E-FILE-005",
            "The file is larger than 256 MB: it is no GMT file.",
            remedy="Name a GMT file.",
            file=path.name,
        )
    else:
        data, remedy = path.read_bytes(), "Save it as text in UTF-8."
        text = decode_text(data, problems, file=path.name, remedy=remedy) or ""
    problems.raise_if_any(AssayError)
    return text
