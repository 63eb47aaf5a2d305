"""The results folder: whose it is, what it was made from, and how much room there is.

A folder is ours when it holds the record of its basis: the study's description, the plan and the package
version it was made with. A folder made on another basis is refused, so that results are never mixed; other
folders are never touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pdbiomarker.audit import AUDIT, HEAD, SIGNOFFS
from pdbiomarker.errors import InputError, Problems, ResourceError, VerificationError
from pdbiomarker.provenance import (
    DONE,
    JOBS,
    LOCK,
    MANIFEST,
    PARTIAL_PREFIX,
    StepRecord,
    code_version,
    completed,
    forget,
    read_manifest,
    read_record,
    recorded_steps,
    remove_output,
    remove_partial_files,
    write_text,
)
from pdbiomarker.run.documents import STEPS, document_of

__all__ = ["LOG", "Basis", "check_folder", "check_space", "prepare_folder", "renew_folder"]

BASIS: Final = f"{DONE}/basis"
LOG: Final = "run.log"
_JOINED: Final = ("cells.parquet", "overlay", "qc.csv", "scores.csv", "sensitivity.csv")
_DOCUMENTS: Final = tuple(map(document_of, STEPS))
_OURS: Final = (
    DONE,
    JOBS,
    LOCK,
    LOG,
    MANIFEST,
    AUDIT,
    HEAD,
    SIGNOFFS,
    "assays",
    *_JOINED,
    "results",
    *_DOCUMENTS,
    "slides",
)
_FORMAT: Final = "pdbiomarker-results-1"


@dataclasses.dataclass(frozen=True, slots=True)
class Basis:
    """What may not change between two runs into one folder.

    Attributes
    ----------
    study, plan : mapping
        The description of the study (``study.yaml`` as understood) and the plan, as JSON.
    version : str
        Of pdbiomarker.
    """

    study: Mapping[str, Any]
    plan: Mapping[str, Any]
    version: str = dataclasses.field(default_factory=code_version)

    def to_json(self, slides: int) -> str:
        """Return the text of the record, and how many slides the study has."""
        content = {"format": _FORMAT, **dataclasses.asdict(self), "slides": slides}
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def check_folder(out: Path, basis: Basis, *, fresh: bool) -> None:
    """Refuse a folder that is not ours, or that was made on another basis; change nothing.

    Raises
    ------
    InputError
        E-RUN-006: `out` is a file, or a folder with other things in it; E-RUN-051: it is ours by its
        manifest, but its records are gone (unless `fresh`).
    VerificationError
        E-RUN-001, once for everything that differs, unless `fresh`.
    """
    problems = Problems()
    if not out.exists():
        return
    for link in _irregular(out):
        problems.add(
            "E-RUN-006",
            f"{link!r} in the results folder is a link or a pipe: what a run writes would land elsewhere.",
            remedy="Remove it, or give another folder to -o; nothing was changed.",
            file=str(out),
            value=link,
        )
    problems.raise_if_any()
    entries = _entries(out) if out.is_dir() else [out.name]
    if not entries:
        return
    before = _read_basis(out) if out.is_dir() else None
    if before is None and _has_manifest(out):
        if fresh:
            return
        problems.add(
            "E-RUN-051",
            f"The folder has a manifest but not the records in {DONE}/ that say what is whole: it was copied "
            "without its hidden files, or cleaned.",
            remedy="Copy it again with its hidden files (cp -a), or give --fresh to make everything anew; "
            "nothing was changed.",
            file=str(out),
        )
        raise InputError(problems)
    if before is None:
        found = ", ".join(entries[:3]) + (", ..." if len(entries) > 3 else "")
        problems.add(
            "E-RUN-006",
            f"The output path exists and is not a results folder: it holds {found}.",
            remedy="Give a new or an empty folder to -o; nothing was changed.",
            file=str(out),
        )
        raise InputError(problems)
    if fresh:
        return
    remedy = (
        "Give another folder to -o, or --fresh to remove the old results and start anew; slides whose "
        "measurement does not depend on what changed are kept."
    )
    for where, old, new in _differences(before, basis):
        problems.add(
            "E-RUN-001",
            f"{where} was {old} when the folder was made and is {new} now.",
            remedy=remedy,
            file=str(out),
            column=where,
            value=new,
        )
    problems.raise_if_any(VerificationError)


def _entries(out: Path) -> list[str]:
    """Name what a folder holds, but for what a run leaves that was killed before it wrote its basis."""
    found = sorted(p.name for p in out.iterdir() if p.name not in {JOBS, LOCK})
    done = out / DONE
    unwritten = done.is_dir() and all(p.name.startswith(PARTIAL_PREFIX) for p in done.iterdir())
    return [name for name in found if name != DONE] if unwritten else found


def _has_manifest(out: Path) -> bool:
    """Whether a folder holds the manifest of a run."""
    if not (out / MANIFEST).is_file():
        return False
    try:
        return bool(read_manifest(out).outputs)
    except InputError:
        return False


def _irregular(out: Path) -> list[str]:
    """Give what is neither file nor folder among what a run writes: links, pipes; as paths below `out`."""
    found = [name for name in _OURS if _is_irregular(out / name)]
    for name in _OURS:
        if name in found or not (out / name).is_dir():
            continue
        for folder, folders, files in (out / name).walk():  # does not follow links
            inside = [folder / n for n in folders + files]
            found += [path.relative_to(out).as_posix() for path in inside if _is_irregular(path)]
    return sorted(found)


def _is_irregular(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir())


def prepare_folder(out: Path, basis: Basis, *, fresh: bool, slides: Mapping[str, str]) -> None:
    """Make a folder ready for a run; call it while holding the lock.

    With `fresh`, the files that the manifest or a step's record names as ours are removed; any other file
    stays, and so does a slide that was measured from the same file with the same panel, regions and code.
    Temporary files of a killed run are removed in any case.

    Parameters
    ----------
    out : Path
    basis : Basis
    fresh : bool
    slides : mapping of step to key
        The slides of this run.
    """
    remove_partial_files(out)
    if fresh:
        records = [completed(out, step, key) for step, key in slides.items()]
        _remove_ours(out, [record for record in records if record is not None and record.outputs])
    write_text(out / BASIS, basis.to_json(len(slides)))


def renew_folder(out: Path, basis: Basis, *, slides: Collection[str]) -> bool:
    """Make a folder that was made on another basis ready for this one; tell whether it was; hold the lock.

    Files of ours are removed, but for those of the slides to keep: whether these are what they should be is
    seen by their keys when they are used.

    Parameters
    ----------
    out : Path
    basis : Basis
    slides : collection of str
        The steps of the slides of the study.
    """
    before = _read_basis(out)
    renewed = before is not None and bool(_differences(before, basis))
    remove_partial_files(out)
    if renewed:
        records = [read_record(out, step) for step in sorted(slides)]
        _remove_ours(out, [record for record in records if record is not None])
    write_text(out / BASIS, basis.to_json(len(slides)))
    return renewed


def check_space(out: Path, needed: int) -> None:
    """Refuse to start when the disk is too full.

    Parameters
    ----------
    out : Path
        The results folder, which may not exist yet.
    needed : int
        Estimate of what the run will write, bytes.

    Raises
    ------
    ResourceError
        E-RUN-004.
    """
    place = out.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ResourceError(
            f"E-RUN-004 {out}: the run needs about {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB"
            " free. Remedy: free some space or give a folder on another disk to -o; nothing was started."
        )


def _read_basis(out: Path) -> Basis | None:
    if not (out / BASIS).is_file():
        return None
    try:
        content = json.loads((out / BASIS).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            return None
        return Basis(dict(content["study"]), dict(content["plan"]), str(content["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _differences(before: Basis, now: Basis) -> list[tuple[str, str, str]]:
    found = []
    if before.version != now.version:
        found.append(("pdbiomarker", before.version, now.version))
    for name, old, new in (
        ("study.yaml", before.study, now.study),
        ("plan.yaml", before.plan, now.plan),
    ):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                found.append((f"{name}: {key}", _shown(old.get(key)), _shown(new.get(key))))
    return found


def _shown(value: object) -> str:
    text = "absent" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _remove_ours(out: Path, kept: Sequence[StepRecord]) -> None:
    files = {name for record in kept for name in record.outputs}
    steps = {record.step for record in kept}
    if (out / MANIFEST).is_file():
        try:
            names = list(read_manifest(out).outputs)
        except InputError:
            names = []
        for name in names:
            if name not in files and not name.startswith(f"{DONE}/"):
                with contextlib.suppress(ValueError):  # an edited manifest may name files outside
                    remove_output(out, name)
    for step in recorded_steps(out):
        if step not in steps:
            forget(out, step, keep=files)
    for name in (MANIFEST, LOG):
        (out / name).unlink(missing_ok=True)
