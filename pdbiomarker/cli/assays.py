"""Whatever measures a biopsy: slides, exports of image analysis, counts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import pdbiomarker as pb
from pdbiomarker.cli.options import Fresh, OutFolder, Quiet, Workers, pairs, with_sign
from pdbiomarker.cli.shell import finish, print_problems

__all__ = ["expression", "import_", "quantify"]


def known_forms(text: str) -> str:
    unknown = sorted(set(text.replace(",", " ").split()) - {"geojson", "anndata"})
    if unknown:
        raise typer.BadParameter(f"there is no form {unknown[0]!r}; there are geojson and anndata")
    return text


def quantify(  # noqa: PLR0913 -- one for each option of the command
    slides: Annotated[
        list[Path],
        typer.Argument(metavar="SLIDE...|SLIDES.csv|STUDY", help="Slides, a slide sheet, or a study folder."),
    ],
    *,
    out: OutFolder,
    panel: Annotated[
        str | None, typer.Option(metavar="PANEL", help="A panel by name (cd8, ki67, ...) or a panel file.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(metavar="UM", help="Micrometres per pixel of slides that do not state it.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|FILE", help="Regions: SLIDE_ID.geojson or SLIDE_ID.mask.png; or one file."
        ),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="FORMS",
            help="Also write each slide's cells as geojson (QuPath), anndata.",
            callback=known_forms,
        ),
    ] = "",
    workers: Workers = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> int:
    """Find and score the cells of every slide.

    SLIDES.csv has the columns slide_id, biopsy_id, path (relative to the sheet) and, where the file lacks
    it, mpp; PANEL is needed with it and with slides. Leaves in OUT: cells.parquet, scores.csv,
    sensitivity.csv, qc.csv and overlay/ of all slides, the same by slide in slides/*/, assays/ihc.h5ad
    (biopsies x features), results/quarantine.csv, manifest.json, run.log. Prints the path of the assay.
    """
    outcome = pb.quantify_slides(
        slides,
        out,
        panel=panel,
        facts={"mpp": mpp, "regions": None if regions is None else str(regions), "also": also},
        workers=workers,
        fresh=fresh,
        progress=not quiet,
    )
    return finish(outcome, quiet=quiet)


class Titres(StrEnum):
    """Scales of antibody titres."""

    linear = "linear"
    log10 = "log10"


ColumnMeanings = Annotated[
    list[str] | None,
    typer.Option(
        metavar="THEIRS=OURS", help="What a column is, such as 'X=x_px'. Repeat for more.", callback=with_sign
    ),
]
ClassMeanings = Annotated[
    list[str] | None,
    typer.Option(
        "--class", metavar="TEXT=MEANING", help="What a class means: 'Other=negative'.", callback=with_sign
    ),
]
RowsWhere = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=TEXT", help="Read only the rows that have this text there.", callback=with_sign
    ),
]
DatasetFiles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DATASET=FILE", help="cdisc: which file is a dataset. Repeat for more.", callback=with_sign
    ),
]


def import_(  # noqa: PLR0913 -- one for each option of the command
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...|cdisc FOLDER",
            help="CSV, TSV, GeoJSON, Parquet, or their folder; or: cdisc and a folder of datasets.",
        ),
    ],
    *,
    out: OutFolder,
    panel: Annotated[
        str | None, typer.Option(metavar="PANEL", help="A panel by name or a panel file: for exports.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(metavar="UM", help="Micrometres per pixel, where an export is in pixels.")
    ] = None,
    column: ColumnMeanings = None,
    class_: ClassMeanings = None,
    where: RowsWhere = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="cdisc: whose assessments of the tumour count.")
    ] = None,
    use: DatasetFiles = None,
    titres: Annotated[Titres | None, typer.Option(help="cdisc: the scale of antibody titres.")] = None,
    severity_as_grade: Annotated[
        bool, typer.Option("--severity-as-grade", help="cdisc: mild, moderate, severe are grades 1, 2, 3.")
    ] = False,
) -> int:
    """Take exports of QuPath, HALO and others to scores, or CDISC datasets to plain clinical tables.

    Detection and annotation tables of the same slides belong together: the annotations give the areas. What
    does not fit is refused with its row (exit 3). Leaves in OUT: cells.parquet, scores.csv, sensitivity.csv,
    columns.csv (how every column was read), assays/ihc.h5ad, manifest.json. Prints the paths of the assay and
    of the scores.

    `import cdisc FOLDER -o STUDY/clinical` reads SDTM and ADaM (XPT, sas7bdat, Dataset-JSON, Parquet, CSV)
    and leaves the clinical sheets in OUT; proposals for participants.csv and biopsies.csv, imported
    parameters, sources.csv and not_taken.csv (what was left out, and why) in STUDY/cdisc. Prints every path.
    """
    if len(files) == len(("cdisc", "FOLDER")) and str(files[0]) == "cdisc":
        return _import_cdisc(
            files[1],
            out,
            pb.clinical.cdisc.ImportOptions(
                reader=reader,
                use=pairs(use),
                titre_scale=None if titres is None else titres.value,
                severity_as_grade=severity_as_grade,
            ),
        )
    if panel is None:
        raise typer.BadParameter("exports need a panel: add --panel", param_hint="--panel")
    declared = {
        "mpp": mpp,
        "columns": pairs(column),
        "classes": pairs(class_),
        "where": pairs(where),
    }
    outcome = pb.import_exports(files, out, panel=panel, declared=declared)
    print_problems(outcome.problems)
    return finish(outcome, quiet=False)


def _import_cdisc(folder: Path, out: Path, options: pb.clinical.cdisc.ImportOptions) -> int:
    found = pb.clinical.cdisc.import_cdisc(folder, options=options)
    print_problems(found.problems)
    for path in found.write(out):
        typer.echo(str(path))
    return 0


class CountFormat(StrEnum):
    """Formats of counts."""

    auto = "auto"
    table = "table"
    featurecounts = "featurecounts"
    star = "star"
    htseq = "htseq"
    salmon = "salmon"
    kallisto = "kallisto"
    h5ad = "h5ad"
    nsolver = "nsolver"


class Strand(StrEnum):
    """Strands of a protocol."""

    unstranded = "unstranded"
    forward = "forward"
    reverse = "reverse"


class CountsFrom(StrEnum):
    """Definitions of counts from transcripts."""

    length_scaled = "length_scaled"
    scaled = "scaled"
    estimated = "estimated"


class LaneKind(StrEnum):
    """What nCounter lanes become."""

    intensity = "intensity"
    raw = "count"


class Background(StrEnum):
    """Ways of treating nCounter background."""

    threshold = "threshold"
    subtract = "subtract"
    none = "none"


class Scaling(StrEnum):
    """Rules for library sizes."""

    tmm = "tmm"
    tmmwsp = "tmmwsp"
    rle = "rle"
    uq = "uq"
    deseq = "deseq"
    none = "none"


def expression(  # noqa: PLR0913 -- one option each; the function takes them as one object
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="COUNTS|FOLDER...",
            help="A count matrix; files of a counting tool or their folder; a folder of RCC files; "
            "an export.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="A new folder, or one made before.")
    ],
    genes: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Ids and symbols; of an export, probes and classes.")
    ] = None,
    format_: Annotated[CountFormat, typer.Option("--format", help="Default: told by content.")] = (
        CountFormat.auto
    ),
    strand: Annotated[
        Strand | None, typer.Option(help="Which count of STAR. Default: as the reads show.")
    ] = None,
    transcripts: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Transcript and gene ids, for Salmon and kallisto.")
    ] = None,
    counts_from: Annotated[CountsFrom, typer.Option(help="Counts of genes from transcripts.")] = (
        CountsFrom.length_scaled
    ),
    kind: Annotated[LaneKind, typer.Option(help="Scaled values, or raw counts, of RCC files.")] = (
        LaneKind.intensity
    ),
    background: Annotated[Background, typer.Option(help="nCounter background.")] = Background.threshold,
    housekeeping: Annotated[
        list[str] | None, typer.Option(metavar="GENE", help="A housekeeping gene; may be repeated.")
    ] = None,
    normalization: Annotated[Scaling, typer.Option(help="How library sizes are scaled.")] = Scaling.tmm,
) -> int:
    """Read counts or nCounter lanes without a study: checks, quality, model scale.

    Leaves in OUT: expression.h5ad (libraries x features; raw, log2 and weights), libraries.csv (depth,
    factors, quality), features.csv (symbol, tested or why not), quarantine.csv, problems.csv,
    provenance.json. Prints the path of the assay.
    """
    options = pb.ExpressionOptions(
        format=format_.value,
        strand=None if strand is None else strand.value,
        counts_from=counts_from.value,
        transcripts=transcripts,
        genes=genes,
        kind=kind.value,
        background=background.value,
        housekeeping=tuple(housekeeping or ()),
        normalization=normalization.value,
    )
    outcome = pb.write_expression(inputs, out, options=options)
    print_problems(outcome.problems)
    typer.echo(str(outcome.made[0]))
    return outcome.exit_code
