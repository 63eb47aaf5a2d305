"""Whether a results folder is what its run left, who did what with it, and whether it can be made again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

import pdbiomarker as pb
from pdbiomarker import audit as log
from pdbiomarker.cli.options import Quiet, Workers
from pdbiomarker.cli.shell import print_json, print_problems, say
from pdbiomarker.errors import InputError, Problem, tame
from pdbiomarker.hashes import sha256_file
from pdbiomarker.provenance import MANIFEST, read_manifest
from pdbiomarker.verification import log_head

__all__ = ["audit", "reproduce", "sign", "verify"]

ResultsFolder = Annotated[Path, typer.Argument(metavar="OUT", help="A results folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text, on standard output.")]
User = Annotated[
    str | None,
    typer.Option(
        "--user", metavar="NAME", help="Who, for the audit log. Default: PDBIOMARKER_USER, else nobody."
    ),
]


def verify(results: ResultsFolder, *, as_json: AsJson = False, user: User = None) -> int:
    """Compare every file of a results folder with its manifest and audit log; exit 3 when one differs.

    Finds every file that was edited, removed, added or made a link, an edited manifest or record, an edited
    or shortened audit log, and sign-offs that were changed. The check itself is added to the audit log where
    that can be written to.
    """
    problems = pb.verify(results)
    failed = [p for p in problems if p.severity == "error"]
    if not any(p.file in {log.AUDIT, log.HEAD} for p in failed):
        _record(results, "verified", {"differ": len(failed)}, user)
    code = InputError.exit_code if failed else 0
    if as_json:
        print_json("verify", code, problems, {"path": str(results), "same": not failed})
    else:
        print_problems(problems)
        if not failed:
            typer.echo(f"{results}: every file is as the run left it.")
    return code


def reproduce(
    results: ResultsFolder,
    *,
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="STUDY", help="The study. Default: where it lay from OUT."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="PLAN", help="The plan, where the run had another than the study's."),
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="Where the run is repeated, then removed.")
    ] = None,
    workers: Workers = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    user: User = None,
) -> int:
    """Run again what made a results folder, compare every byte; exit 3 if one differs.

    The run is repeated from the same inputs in a folder that is removed afterwards; OUT is not changed but
    for a line of its audit log. Prints how many files are the same, each that is different, missing, new or
    edited since, and whatever changed that they may depend on: code, packages, platform, inputs.
    """
    found = pb.reproduce(
        results, study=study, plan=plan, workers=workers, scratch=scratch, progress=not quiet
    )
    counts = {s: sum(f.status == s for f in found.files) for s in _STATUSES}
    _record(results, "reproduced", {name: count for name, count in counts.items() if count}, user)
    if as_json:
        rows = [dataclasses.asdict(file) for file in found.files]
        reasons = [dataclasses.asdict(reason) for reason in found.reasons]
        _print_json({"same": found.same, "counts": counts, "files": rows, "reasons": reasons})
    else:
        _print_comparison(results, counts, found.files, found.reasons)
    return 0 if found.same else InputError.exit_code


_STATUSES = ("same", "different", "missing", "new", "edited")


def _print_comparison(
    results: Path, counts: dict[str, int], files: tuple[Any, ...], reasons: tuple[Problem, ...]
) -> None:
    for file in files:
        if file.status != "same":
            typer.echo(f"{file.status:<10} {file.file}")
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    typer.echo(f"{results}: {told}.")
    differ = any(count for status, count in counts.items() if status != "same")
    if reasons:
        say("What the results may depend on and that has changed:")
        print_problems(reasons)
    elif differ:
        say("Code, packages, platform and inputs are those of the manifest: please report it.")


def audit(results: ResultsFolder, *, as_json: AsJson = False) -> int:
    """Print the audit log of a results folder, and the hash of its last line.

    Keep that hash elsewhere (in a notebook, a mail): nothing before it can then be changed unseen. The chain
    is checked; exit 3 when a line was edited, removed, inserted or cut off.
    """
    lines = log.read(results)
    problems = log.check(results, head=None, manifest="", kept=_keeps_head(results))
    if as_json:
        told = [dataclasses.asdict(p) for p in problems]
        _print_json({"lines": [dataclasses.asdict(line) for line in lines], "problems": told})
    else:
        for line in lines:
            who = f" by {line.user}" if line.user else ""
            files = f"; files: {', '.join(line.files)}" if line.files else ""
            detail = ", ".join(f"{key} {value}" for key, value in sorted(line.detail.items()))
            typer.echo(tame(f"{line.n:>4} {line.time} {line.event}{who}: {detail}{files}", one_line=True))
        typer.echo(f"{len(lines)} lines; last: {lines[-1].sha256 if lines else 'none'}")
        print_problems(problems)
    return InputError.exit_code if problems else 0


def sign(
    results: ResultsFolder,
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who signs off.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="Such as statistician.")],
    meaning: Annotated[str, typer.Option("--meaning", metavar="TEXT", help="Such as reviewed, approved.")],
) -> int:
    """Add a sign-off to signoffs.json of a results folder: name, role, meaning, time, hash of the manifest.

    A record of a review. It is not an electronic signature: nobody's identity is checked. A folder that was
    changed since its run is refused (exit 3).
    """
    typer.echo(str(pb.sign_results(results, name=name, role=role, meaning=meaning)))
    return 0


def _keeps_head(results: Path) -> bool:
    """Tell whether the manifest, where there is one, says that the last line of the log is noted."""
    try:
        return "kept" in (log_head(read_manifest(results)) or {})
    except InputError:
        return False


def _record(results: Path, event: str, detail: dict[str, Any], user: str | None) -> None:
    """Add a line to the log of a folder, where there is one that can be written to."""
    with contextlib.suppress(OSError):
        if (results / log.AUDIT).is_file():
            digest = sha256_file(results / MANIFEST)
            log.append(results, event, detail=detail, manifest=digest, user=user)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
