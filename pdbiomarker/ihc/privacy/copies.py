"""Copies of slides that hold pixels, their size, and nothing that names a person; proved after writing."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from pdbiomarker.errors import InputError, ItemError, Problem, Problems
from pdbiomarker.hashes import sha256_file
from pdbiomarker.ihc.privacy.directories import Directory, read_layout
from pdbiomarker.ihc.privacy.holdings import (
    SlideFacts,
    open_facts,
    segment_bytes,
    slide_holdings,
)
from pdbiomarker.ihc.privacy.kept import ALLOWED, DESCRIPTION, PROFILE, description_of, tags_of
from pdbiomarker.ihc.privacy.profile import dropped_parts
from pdbiomarker.ihc.privacy.segments import clean_segment
from pdbiomarker.ihc.privacy.writing import Image, write_tiff
from pdbiomarker.provenance import atomic_path
from pdbiomarker.tables import write_table

__all__ = ["deidentify"]

_SUFFIX: Final = {"svs": ".svs", "ome-tiff": ".ome.tiff", "tiff": ".tiff"}
#: Words of the source shorter than this are not looked for in the copy: they occur by chance.
_SHORTEST: Final = 6
_WORDS: Final = re.compile(rb"[\x20-\x7e]{%d,}" % _SHORTEST)
_SEPARATORS: Final = re.compile(rb"[|=;\r\n<>\"]")


def deidentify(
    slides: Sequence[str | Path] | str | Path, out: str | Path, *, names: str | Path | None = None
) -> list[Path]:
    """Write copies of slides without label, macro, thumbnail, and any tag that is not on the allow-list.

    Tiles are copied byte for byte, without decoding, so that a copy gives the same scores; comments, EXIF and
    XMP inside JPEG tiles are cut out of them. Sizes, pixel size, magnification, and the numbers of the colour
    profile stay. The copies have neutral names; which is which goes into a table of its own. The slides
    themselves are never changed. Every copy is read again and proved before it gets its name.

    Parameters
    ----------
    slides : path, or sequence of paths
        SVS, OME-TIFF or plain TIFF.
    out : path
        A new or empty folder: ``slide-0001.svs``, ``slide-0002.ome.tiff``, ...
    names : path, optional
        The table of names, outside `out`; default: ``<out>-names.csv`` beside it. It names the originals:
        keep it apart from the copies.

    Returns
    -------
    list of Path
        The copies, in the order of the slides.

    Raises
    ------
    InputError
        With a problem for each slide that cannot be copied (E-PHI-001, and what :func:`open_slide` refuses);
        nothing is written then. E-PHI-004: `out` or `names` cannot be used.

    Examples
    --------
    >>> deidentify(["P01-S.svs"], "to_send/")  # doctest: +SKIP
    [PosixPath('to_send/slide-0001.svs')]
    """
    given = [Path(slides)] if isinstance(slides, str | Path) else [Path(one) for one in slides]
    folder = Path(out)
    table = folder.absolute().parent / f"{folder.absolute().name}-names.csv" if names is None else Path(names)
    problems = Problems()
    _check_places(folder, table, problems)
    facts: list[SlideFacts] = []
    for path in given:
        try:
            facts.append(open_facts(path))
        except ItemError as error:
            problems.extend([dataclasses.replace(error.problem, severity="error")])
    problems.raise_if_any()
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number, one in enumerate(facts, start=1):
        copies.append(folder / f"slide-{number:04d}{_SUFFIX[one.style]}")
        _copy(one, copies[-1])
    write_table(
        pd.DataFrame(
            {
                "copy": [path.name for path in copies],
                "original": [str(one.path) for one in facts],
                "sha256_copy": [sha256_file(path) for path in copies],
                "sha256_original": [sha256_file(one.path) for one in facts],
            }
        ),
        table,
    )
    return copies


def _check_places(folder: Path, table: Path, problems: Problems) -> None:
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        problems.add(
            "E-PHI-004",
            "The folder for the copies exists and is not an empty folder.",
            remedy="Give a new folder; nothing was changed.",
            file=str(folder),
        )
    if table.exists() or table.is_symlink():
        problems.add(
            "E-PHI-004",
            "The table of names exists already.",
            remedy="Move it to where it is kept, or give another place for the new one.",
            file=str(table),
        )
    if table.absolute().parent.resolve().is_relative_to(folder.absolute().resolve()):
        problems.add(
            "E-PHI-004",
            "The table of names would lie in the folder of the copies: it names the originals.",
            remedy="Keep it apart from what is sent away.",
            file=str(table),
        )


def _copy(facts: SlideFacts, target: Path) -> None:
    """Write one copy, prove it, and give it its name; raise, and leave nothing, where it cannot be proved."""
    try:
        images = [_image(facts, i, level) for i, level in enumerate(facts.levels)]
        with atomic_path(target) as partial:
            with facts.path.open("rb") as source:
                write_tiff(source, partial, images, below=facts.style == "ome-tiff")
            faults = _faults(facts, partial)
            if faults:
                raise InputError([_unproved(facts, faults)])
    except ValueError as error:
        raise InputError([_uncopied(facts, str(error))]) from error


def _image(facts: SlideFacts, number: int, level: Directory) -> Image:
    description = description_of(level, facts.style, first=number == 0, name=facts.path.name)
    clean = functools.partial(clean_segment, compression=level.number(259), expected=segment_bytes(level))
    return Image(tags_of(level, description), level.segments(), 322 in level.tags, clean)


# --- the proof -----------------------------------------------------------------------------------------


def _faults(facts: SlideFacts, copy: Path) -> list[str]:
    """Say what a copy holds that it should not; it is read anew, by what knows nothing of the writing."""
    layout = read_layout(copy)
    found = [f"tag {code}" for one in layout.every() for code in sorted(set(one.tags) - ALLOWED)]
    count = sum(1 for _ in layout.every())
    if count != len(facts.levels):
        found.append(f"{count} images, for {len(facts.levels)} levels")
    found += [f"{one.what} in {one.image or 'the file'}" for one in slide_holdings(copy) if not one.kept]
    found += _other_tiles(facts, copy)
    found += [f"the words {word!r} of the original" for word in _words_found(facts, copy)]
    return found


def _other_tiles(facts: SlideFacts, copy: Path) -> list[str]:
    """Name the levels whose tiles are not those of the original, cleaned."""
    found = []
    written = open_facts(copy).levels
    with facts.path.open("rb") as source, copy.open("rb") as made:
        for number, (old, new) in enumerate(zip(facts.levels, written, strict=False)):
            pairs = set(zip(old.segments(), new.segments(), strict=True))
            for (start, length), (place, size) in sorted(pairs):
                source.seek(start)
                made.seek(place)
                data = source.read(length) if start else b""
                clean = clean_segment(data, old.number(259), segment_bytes(old))
                if clean != (made.read(size) if place else b""):
                    found.append(f"other pixels in level {number}")
                    break
    return found


def _words_found(facts: SlideFacts, copy: Path) -> list[str]:
    """Look in the copy, outside its tiles, for every word of the original that its tags should not have."""
    own = b"".join(tag.data for one in read_layout(copy).every() for tag in one.tags.values())
    lost: set[bytes] = {facts.path.name.split(".")[0].encode()}
    for one in facts.layout.every():
        for code, tag in one.tags.items():
            told = dropped_parts(tag.data) if code == PROFILE else tag.data
            if code not in ALLOWED or code in {DESCRIPTION, PROFILE}:
                for text in _WORDS.findall(told):
                    lost |= {word.strip() for word in _SEPARATORS.split(text)}
    kept = {word.strip() for text in _WORDS.findall(own) for word in _SEPARATORS.split(text)}
    neutral = b"".join(
        description_of(level, facts.style, first=i == 0, name="").encode()
        for i, level in enumerate(facts.levels)
    )
    return sorted(
        word.decode("ascii", "replace")
        for word in lost
        if len(word) >= _SHORTEST and word not in neutral and any(word in other for other in kept)
    )


def _unproved(facts: SlideFacts, faults: Sequence[str]) -> Problem:
    return Problem(
        "E-PHI-003",
        f"The copy still holds what it should not ({'; '.join(faults[:5])}), and was removed.",
        "Please report it, without the slide.",
        facts.path.name,
    )


def _uncopied(facts: SlideFacts, why: str) -> Problem:
    return Problem(
        "E-PHI-001",
        f"The slide cannot be copied without decoding it: {why}.",
        "Convert it to OME-TIFF, or use the vendor's own tool.",
        facts.path.name,
    )
