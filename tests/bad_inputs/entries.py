"""Pipes, sockets, broken links and links that lead away, in every place where a study may have a file."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bad_inputs.case import At, Case, Make, refused, told
from bad_inputs.seeds import STUDY, study_with

_IHC: Final = "ihc: {slides: slides.csv, panel: cd8"
_RNA: Final = "rna: {kind: count, file: counts.csv"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # the path of a socket may have 107 bytes only


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _outside(path: Path) -> None:
    secret = path.parents[len(path.parts) - 1 - path.parts.index("in")] / "secret.txt"
    secret.write_text("Jane Doe, MRN 12345\n", encoding="utf-8")
    path.symlink_to(secret)


#: How an entry is put there, in words; the code that tells it.
_KINDS: Final[Mapping[str, tuple[Callable[[Path], None], str]]] = {
    "a pipe": (_pipe, "E-FILE-002"),
    "a socket": (_socket, "E-FILE-002"),
    "a link to nowhere": (_link("nowhere"), "E-FILE-001"),
    "a link to a device": (_link("/dev/zero"), "E-FILE-002"),
    "a link outside": (_outside, "E-FILE-006"),
    "a folder": (Path.mkdir, "E-FILE-002"),
}


def _study(place: str, put: Callable[[Path], None], **changed: str | None) -> Make:
    """The study folder with an entry that is no file of its own at a place."""
    texts = {name.replace("__", "."): text for name, text in changed.items()}

    def make(folder: Path) -> Path:
        study_with(texts)(folder)
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        put(path)
        return folder

    return make


def _yaml(old: str, new: str) -> str:
    if old not in STUDY["study.yaml"]:
        raise ValueError(old)
    return STUDY["study.yaml"].replace(old, new)


def _cases() -> list[Case]:
    regions = _yaml(_IHC, f"{_IHC}, regions: regions/")
    cells = _yaml(_IHC, "ihc: {cells: cells/, panel: cd8")
    rcc = _yaml(_RNA, "rna: {kind: count, rcc: rcc/")
    files = _yaml(_RNA, "rna: {kind: count, files: quant/*.tab")
    places: list[tuple[str, tuple[str, ...], dict[str, str | None]]] = [
        ("regions/S1.geojson", tuple(_KINDS), {"study__yaml": regions}),
        ("cells/S1.csv", tuple(_KINDS), {"study__yaml": cells, "slides__csv": None}),
        ("rcc/L1.RCC", tuple(_KINDS), {"study__yaml": rcc}),
        ("quant/L1.tab", tuple(_KINDS)[:-1], {"study__yaml": files}),
        ("plan.yaml", ("a pipe", "a link to nowhere"), {}),
        ("plan.lock.yaml", ("a pipe", "a link to nowhere", "a folder"), {}),
        ("overrides.csv", ("a pipe", "a link to nowhere", "a link to a device"), {}),
        ("libraries.csv", ("a socket", "a link to nowhere"), {}),
        ("clinical", ("a pipe", "a link to nowhere"), {}),
        ("clinical/doses.csv", ("a pipe", "a socket"), {}),
        ("clinical/rules.yaml", ("a pipe", "a link to nowhere"), {}),
        ("clinical/set_aside.csv", ("a pipe", "a link to nowhere"), {}),
    ]
    return [
        Case(
            f"entries/{place}: {kind}",
            "study folder",
            f"{kind} in place of the file",
            _study(place, _KINDS[kind][0], **changed),
            refused(At(_KINDS[kind][1], place)),
            "39",
        )
        for place, kinds, changed in places
        for kind in kinds
    ]


def _linked_folder(folder: Path) -> Path:
    (folder / "quant" / "a").mkdir(parents=True)
    (folder / "quant" / "a" / "x.tab").write_text("gene\t1\n", encoding="utf-8")
    (folder / "quant" / "b").symlink_to("a")
    return study_with({"study.yaml": _yaml(_RNA, "rna: {kind: count, files: quant/")})(folder)


def _named(name: bytes, *, there: bool) -> Make:
    """A study with a file in regions/ of a name that is hard to show."""

    def make(folder: Path) -> Path:
        study_with({"study.yaml": _yaml(_IHC, f"{_IHC}, regions: regions/")})(folder)
        (folder / "regions").mkdir()
        path = folder / "regions" / os.fsdecode(name)
        if there:
            path.write_bytes(b"{}")
        else:
            path.symlink_to("nowhere")
        return folder

    return make


def _spec(old: str, new: str) -> Make:
    return study_with({"study.yaml": _yaml(old, new)})


def _given(name: str, put: Callable[[Path], None]) -> Make:
    def make(folder: Path) -> Path:
        put(folder / name)
        return folder

    return make


CASES = [
    *_cases(),
    Case(
        "entries/quant/b: a link to a folder",
        "study folder",
        "a second folder of counts is a link to the first",
        _linked_folder,
        told(At("E-FILE-002", "quant/b"), get=lambda study: study is not None, want=True, oracle="not followed"),
        "39",
    ),
    Case(
        "entries/a name that steers a terminal",
        "study folder",
        "a broken link whose name holds ESC and a line end",
        _named(b"\x1b[2Jx\ny.geojson", there=False),
        refused(At("E-FILE-001", "regions/\\x1b[2Jx\\ny.geojson")),
        "7",
    ),
    Case(
        "entries/a name that is not UTF-8",
        "study folder",
        "the bytes FF FE in a name",
        _named(b"\xff\xfe.geojson", there=True),
        refused(At("E-FILE-002", "regions/\\udcff\\udcfe.geojson")),
        "22",
    ),
    Case(
        "entries/a pattern that is none",
        "study folder",
        "files: q**x",
        _spec(_RNA, "rna: {kind: count, files: 'q**x'"),
        refused(At("E-FILE-001", "study.yaml [assays.rna.files]", "q**x")),
        "7",
    ),
    Case(
        "entries/a path of 6,000 letters",
        "study folder",
        "regions: a/a/a ...",
        _spec(_IHC, f"{_IHC}, regions: {'a/' * 3000}"),
        refused(At("E-FILE-001", "study.yaml [assays.ihc.regions]")),
        "7",
    ),
    Case(
        "entries/RCC folder by itself: a pipe",
        "RCC folder",
        "a pipe called a.RCC, and no other file",
        _given("a.RCC", _pipe),
        refused(At("E-FILE-002", "a.RCC")),
        "39",
    ),
    Case(
        "entries/cells by themselves: a pipe",
        "cell export",
        "a pipe called a.csv, and no other file",
        _given("a.csv", _pipe),
        refused(At("E-FILE-002", "a.csv"), beside=("E-CELLS-001",)),
        "39",
    ),
]  # fmt: skip
