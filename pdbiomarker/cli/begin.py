"""To begin with: a study folder to be filled, and what a code, a column or a word means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import pdbiomarker as pb

if TYPE_CHECKING:  # what it needs is loaded on first use only
    from pdbiomarker.catalogue import Entry

__all__ = ["explain", "init", "reference"]

_MOST_SAID = 6


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new study folder.")],
    *,
    name: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="The study's name. Default: that of DIR.")
    ] = None,
) -> int:
    """Write a study folder to be filled: study.yaml and plan.yaml with comments, sheets with their heads.

    A file that is there already is not written over (exit 3). Then: `pdbiomarker check DIR`.
    """
    for path in pb.init_study(folder, id=name):
        typer.echo(str(path))
    return 0


def explain(
    word: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...",
            help="A code (E-SHEET-005), a column (df_method), a term (h-score) or a feature (CYT).",
        ),
    ],
) -> int:
    """Say what an error code, a column of a sheet or a result, a word of the report or a feature means.

    Other words are looked for in the explanations: `explain adjusted p` gives the column q.
    """
    for position, entry in enumerate(pb.explain(" ".join(word))):
        typer.echo("\n" * bool(position) + _shown(entry))
    return 0


def reference(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Such as panels/cd8.yaml, or cd8. Default: list all."),
    ] = None,
) -> int:
    """List the panels, signatures, windows, decision rules, noise and genes that travel with the package.

    One line for each file: its path, version, licence and source. With NAME its text, after a line of the
    same and its sha256: save it under a name of your own to begin a panel, a signature or a rule from it.
    """
    from pdbiomarker.reference import find_reference, read_manifest, reference_path

    if name is None:
        for file in read_manifest():
            typer.echo(f"{file.path}  (version {file.version}; {file.licence})  {file.source}")
        return 0
    file = find_reference(name)
    typer.echo(f"# {file.path}, version {file.version}, {file.licence}, sha256 {file.sha256}: {file.source}")
    typer.echo(reference_path(file.path).read_text(encoding="utf-8"), nl=False)
    return 0


def _shown(entry: Entry) -> str:
    lines = [f"{entry.name} ({entry.kind})", f"  {entry.meaning}"]
    lines += [f"  {head}: {text}" for head, text in entry.facts]
    for said in entry.said[:_MOST_SAID]:
        lines.append(f"  told as: {said.message or '(what was found)'}")
        if said.remedy:
            lines.append(f"    remedy: {said.remedy}")
    if len(entry.said) > _MOST_SAID:
        lines.append(f"  and {len(entry.said) - _MOST_SAID} more ways")
    return "\n".join([*lines, f"  see {entry.where}"])
