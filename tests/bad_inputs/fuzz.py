"""Mutates sound files of every format and reads them: each must give a result or an error of ours.

A mutation flips bits, cuts, removes, doubles, moves or splices parts, and writes numbers and words that have
broken readers before. The stream of inputs of a target depends on its name and the seed alone.

::

    python tests/bad_inputs/fuzz.py --seconds 600             all targets, in turn
    python tests/bad_inputs/fuzz.py --seconds 60 --only slide
    python tests/bad_inputs/fuzz.py --only 'slide TIFF' --at 1234 --keep FOLDER    write one input
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import imagecodecs
import numpy as np
from bad_inputs import assays, clinic, settings, sheets, slides
from bad_inputs.judge import LONGEST, Apart, _strict_warnings, be_quick, bound_memory
from bad_inputs.readers import OURS, READERS, warm
from bad_inputs.seeds import STUDY, matrix, packed, write
from cdisc_files import PEOPLE
from cdisc_files import write as write_dataset
from rcc_set import draw, rcc_text

from pdbiomarker.reference import reference_path

#: Values that break readers: limits of integers, what is not finite, words of other languages.
WORDS = [
    b"", b"0", b"-1", b"1e400", b"nan", b"inf", b"9223372036854775808", b"-2147483649", b"1" * 400, b"NA", b"null", b"true",
    b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"'", b",", b";", b"\t", b":", b"#", b"{", b"}", b"[", b"]",
    b"&a", b"*a", b"!!python/object:os", b"---\n", b"<!DOCTYPE a>", b"../../x", b"=1+1", "P\u200b1".encode(), "\u0661".encode(),
    b"2025-02-30", b"99999-01-01", b"\xed\xa0\x80", b"()", b"|", b"~", b"`", b"^9", b"- -", b"%s", b"\\u0000", b"\\ud800",
]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


#: Few: each file is tried in a process of its own first, and some take until the limit there (counts h5ad, seed 1,
#: input 11: a heap with objects of no size). Damage to what the file holds, not to its structure, is in the corpus.
HDF5_TIMES = 25


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader, the sound input, and where the mutated bytes go.

    Attributes
    ----------
    reader : str
    place : str
        The file below the folder that holds the mutated bytes.
    seed : callable
        The sound bytes.
    around : callable
        Writes what lies around the file, once.
    whole : bool
        The folder is read, not the file.
    times : int
        Inputs in continuous integration.
    """

    reader: str
    place: str
    seed: Callable[[], bytes]
    around: Callable[[Path], object] | None = None
    whole: bool = False
    times: int = 40


def _study(file: str, text: str | None = None, times: int = 25, reader: str = "study folder") -> Target:
    def around(folder: Path) -> None:
        write(folder, STUDY)

    return Target(reader, file, lambda: (STUDY[file] if text is None else text).encode(), around, True, times)


@cache
def _made(make: Callable[[Path], Path]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return make(Path(name)).read_bytes()


def _slide(**options: Any) -> Callable[[], bytes]:
    make = slides._tiff(lambda: slides.field()[:256, :256].copy(), **options)
    return lambda: _made(make)


def _encoded(encode: Callable[[np.ndarray], bytes]) -> Callable[[], bytes]:
    return lambda: bytes(encode(np.ascontiguousarray(slides.field()[:128, :128])))


def _mask() -> bytes:
    half = np.zeros((300, 300), np.uint8)
    half[:, :150] = 1
    return bytes(imagecodecs.png_encode(half))


def _cdisc(form: str) -> Callable[[], bytes]:
    return lambda: _made(cache_key(form))


@cache
def cache_key(form: str) -> Callable[[Path], Path]:
    return lambda folder: write_dataset(folder, PEOPLE, form)


def _results(folder: Path) -> None:
    shutil.copytree(clinic._results(), folder, dirs_exist_ok=True)


def _of_results(name: str) -> Callable[[], bytes]:
    return lambda: (clinic._results() / name).read_bytes()


def _reference(name: str) -> Callable[[], bytes]:
    return lambda: reference_path(name).read_bytes()


def _lane() -> bytes:
    return rcc_text(draw(np.random.default_rng(1))).encode()


def _tiff_mask() -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.tri(300, 300, dtype=np.uint8), compression="zlib")
    return stream.getvalue()


_GEO = json.dumps({"type": "FeatureCollection", "features": [
    assays._feature([assays.SQUARE]), assays._feature([[[[10, 10], [50, 10], [50, 60], [10, 10]]]], "Stroma", "MultiPolygon"),
    assays._detection([[0, 0], [5, 0], [5, 5], [0, 0]]),
]})  # fmt: skip

TARGETS: dict[str, Target] = {
    "table CSV": Target("table", "a.csv", lambda: STUDY["participants.csv"].encode(), times=300),
    "table XLSX": Target("table", "a.xlsx", sheets._xlsx, times=40),
    "table gz": Target("table", "a.csv.gz", lambda: packed(STUDY["participants.csv"]), times=60),
    "study.yaml": _study("study.yaml", times=40),
    "plan.yaml": _study("plan.yaml", times=30, reader="plan of a study"),
    "plan.yaml alone": Target("plan", "plan.yaml", lambda: STUDY["plan.yaml"].encode(), times=200),
    "participants.csv": _study("participants.csv"),
    "biopsies.csv": _study("biopsies.csv", times=40),
    "libraries.csv": _study("libraries.csv"),
    "slides.csv": _study("slides.csv"),
    "overrides.csv": _study("overrides.csv", "item,action,reason,who,date\nP1-S,exclude,smeared,AB,2025-05-01\nslide:S1,include,fit,AB,2025-05-01\n", 20),
    **{f"clinical {name}": _study(f"clinical/{name}.csv", text, 12) for name, text in clinic.SHEETS.items()},
    "formula": Target("formula", "f.txt", lambda: b"~ visit * dose_mg + C(sex, treatment, base = 'F') + log2(age) + (1|participant/biopsy)", times=1500),
    "contrast": Target("contrast", "c.txt", lambda: b"0.5*(C2D1 - screening at dose_mg = 10) + 0.5*(C2D1 - screening at dose_mg = 30)", times=800),
    "panel": Target("panel", "p.yaml", _reference("panels/cd8.yaml"), times=120),
    "decision rule": Target("decision rule", "r.yaml", lambda: settings.RULE.encode(), times=200),
    "borrowed noise": Target("borrowed noise", "n.yaml", _reference("noise.yaml"), times=40),
    "lock": Target("lock", "plan.lock.yaml", lambda: _made(_lock_file), times=60),
    "counts CSV": Target("counts", "counts.csv", lambda: matrix().encode(), times=120),
    "counts gz": Target("counts", "counts.csv.gz", lambda: packed(matrix()), times=60),
    "counts Parquet": Target("counts", "counts.parquet", assays._parquet, times=80),
    "counts h5ad": Target("counts", "counts.h5ad", lambda: _made(_counts_h5ad), times=HDF5_TIMES),
    "assay h5ad": Target("h5ad assay", "rna.h5ad", lambda: _made(_counts_h5ad), times=HDF5_TIMES),
    "single cells": Target("single cells", "cells.h5ad", lambda: _made(assays._h5ad()), times=HDF5_TIMES),
    "RCC": Target("RCC file", "lane.RCC", _lane, times=150),
    "gene sets": Target("gene sets", "own.gmt", lambda: b"OWN\tours\tGENE001\tGENE002\nTWO\t\tGENE003\t1-Mar\n", times=150),
    "export TSV": Target("cell export", "d.tsv", lambda: assays._qupath().encode(), times=60),
    "export GeoJSON": Target("cell export", "d.geojson", lambda: _GEO.encode(), times=100),
    "regions": Target("regions", "s.geojson", lambda: _GEO.encode(), times=200),
    "mask PNG": Target("mask", "s.mask.png", _mask, times=100),
    "mask TIFF": Target("mask", "s.mask.tif", _tiff_mask, times=100),
    "slide TIFF": Target("slide", "a.tif", _slide(), times=40),
    "slide TIFF JPEG": Target("slide", "a.tif", _slide(compression="jpeg", compressionargs={"level": 90}), times=30),
    "slide TIFF strips": Target("slide", "a.tif", _slide(tile=None, compression=None, rowsperstrip=16), times=30),
    "slide OME": Target("slide", "a.ome.tif", _slide(mpp=None, description=slides._ome(SizeX="256", SizeY="256"), metadata=None), times=30),
    "slide PNG": Target("slide", "a.png", _encoded(imagecodecs.png_encode), times=30),
    "slide JPEG": Target("slide", "a.jpg", _encoded(imagecodecs.jpeg8_encode), times=30),
    "CDISC XPT": Target("CDISC dataset", "dm.xpt", _cdisc("xpt"), times=80),
    "CDISC JSON": Target("CDISC dataset", "dm.json", _cdisc("json"), times=150),
    "CDISC Parquet": Target("CDISC dataset", "dm.parquet", _cdisc("parquet"), times=80),
    "CDISC CSV": Target("CDISC dataset", "dm.csv", _cdisc("csv"), times=80),
    "manifest": Target("results, verified", "manifest.json", _of_results("manifest.json"), _results, True, 20),
    "study.json": Target("results, read back", "results/study.json", _of_results("results/study.json"), _results, True, 15),
    "pd_change.csv": Target("results, read back", "results/pd_change.csv", _of_results("results/pd_change.csv"), _results, True, 10),
}  # fmt: skip


def _lock_file(folder: Path) -> Path:
    return settings._locked(lambda text: text)(folder) / "plan.lock.yaml"


def _counts_h5ad(folder: Path) -> Path:
    made = next(case for case in assays.CASES if case.id == "h5ad/counts").make
    return made(folder)


# --- mutation ----------------------------------------------------------------------------------------------


def mutated(seed: bytes, draw_: random.Random) -> bytes:
    """One mutation, or a few, of a sound input."""
    data = bytearray(seed)
    for _ in range(draw_.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        draw_.choice(_OPERATIONS)(data, draw_)
    return bytes(data)


def _span(data: bytearray, draw_: random.Random) -> tuple[int, int]:
    start = draw_.randrange(len(data) + 1)
    return start, min(len(data), start + draw_.choice((1, 2, 4, 8, 32, 200, 2000)))


def _bit(data: bytearray, draw_: random.Random) -> None:
    if data:
        data[draw_.randrange(len(data))] ^= 1 << draw_.randrange(8)


def _byte(data: bytearray, draw_: random.Random) -> None:
    if data:
        data[draw_.randrange(len(data))] = draw_.randrange(256)


def _number(data: bytearray, draw_: random.Random) -> None:
    size = draw_.choice((1, 2, 4, 8))
    if len(data) >= size:
        at = draw_.randrange(len(data) - size + 1)
        value = draw_.choice(NUMBERS) & ((1 << 8 * size) - 1)
        data[at : at + size] = value.to_bytes(size, draw_.choice(("little", "big")))


def _cut(data: bytearray, draw_: random.Random) -> None:
    del data[draw_.randrange(len(data) + 1) :]


def _removed(data: bytearray, draw_: random.Random) -> None:
    start, stop = _span(data, draw_)
    del data[start:stop]


def _doubled(data: bytearray, draw_: random.Random) -> None:
    start, stop = _span(data, draw_)
    data[stop:stop] = data[start:stop] * draw_.choice((1, 1, 2, 20))


def _moved(data: bytearray, draw_: random.Random) -> None:
    start, stop = _span(data, draw_)
    part = bytes(data[start:stop])
    del data[start:stop]
    at = draw_.randrange(len(data) + 1)
    data[at:at] = part


def _word(data: bytearray, draw_: random.Random) -> None:
    start, stop = _span(data, draw_)
    data[start : draw_.choice((start, stop, min(stop, start + 1)))] = draw_.choice(WORDS)


def _zeroed(data: bytearray, draw_: random.Random) -> None:
    start, stop = _span(data, draw_)
    data[start:stop] = bytes(stop - start)


_OPERATIONS = (_bit, _bit, _byte, _number, _number, _cut, _removed, _doubled, _moved, _word, _word, _zeroed)


# --- within bounds -----------------------------------------------------------------------------------------


def _attempt(target: Target, path: Path, whole: Path, data: bytes) -> str:
    """Read one input; the empty text, or what was wrong."""
    path.write_bytes(data)
    started = time.monotonic()
    try:
        with _strict_warnings():
            found = READERS[target.reader](whole)
        said = "\n".join(str(problem) for problem in found.problems)
        if str(whole.parent) in said:
            return f"a message names a folder outside: {said[:600]}"
    except OURS:
        pass
    except BaseException:  # whatever it is: it is a fault
        return traceback.format_exc()[-1800:]
    taken = time.monotonic() - started
    return f"it took {taken:.0f} s" if taken > LONGEST else ""


class _Bench:
    """One target set up in a folder."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.target = TARGETS[name]
        self.folder = root / name.replace(" ", "_")
        self.folder.mkdir()
        if self.target.around is not None:
            self.target.around(self.folder)
        self.path = self.folder / self.target.place
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.sound = self.target.seed()
        if self.target.reader == "slide":
            warm()

    def attempt(self, seed: int, number: int) -> str:
        data = mutated(self.sound, random.Random(f"{self.name}/{seed}/{number}"))
        return _attempt(self.target, self.path, self.folder if self.target.whole else self.path, data)


def _serve(pipe: Connection) -> None:
    """Set up targets and read their inputs on request; says what was wrong with each."""
    benches: dict[str, _Bench] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz") as root, suppress(EOFError):
        os.chdir(root)
        bound_memory()
        be_quick()
        pipe.send("ready")
        while (request := pipe.recv()) is not None:
            name, seed, number = request
            if name not in benches:
                benches[name] = _Bench(name, Path(root))
            pipe.send("" if number is None else benches[name].attempt(seed, number))


@dataclasses.dataclass
class Tried:
    """What fuzzing one target came to."""

    inputs: int = 0
    faults: list[tuple[int, str]] = dataclasses.field(default_factory=list)


class Fuzzer:
    """Reads mutated inputs in a process of its own, with bounded memory."""

    def __init__(self) -> None:
        self._process = Apart(_serve)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(self, name: str, seed: int, number: int | None, patience: float) -> str:
        answer, fault = self._process.ask((name, seed, number), patience=patience)
        return fault or str(answer)

    def fuzz(
        self, name: str, *, seconds: float | None = None, times: int | None = None, seed: int = 1
    ) -> Tried:
        """Try inputs of a target for some seconds, or so many."""
        tried = Tried()
        self._ask(name, seed, None, 600)  # what it takes to set up is not counted
        until = None if seconds is None else time.monotonic() + seconds
        most = 1 << 62 if times is None else times
        while tried.inputs < most and (until is None or time.monotonic() < until) and len(tried.faults) < 20:
            fault = self._ask(name, seed, tried.inputs, 3 * LONGEST)
            if fault:
                tried.faults.append((tried.inputs, fault))
            tried.inputs += 1
        return tried


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", type=int, help="write this input of the one target")
    parser.add_argument("--keep", type=Path, help="where to")
    options = parser.parse_args()
    names = [name for name in TARGETS if options.only in name]
    if options.at is not None:
        (name,) = names if options.only not in TARGETS else [options.only]
        data = mutated(TARGETS[name].seed(), random.Random(f"{name}/{options.seed}/{options.at}"))
        write(options.keep, {TARGETS[name].place: data})
        return
    total = 0
    fuzzer = Fuzzer()
    for name in names:
        tried = fuzzer.fuzz(name, seconds=options.seconds / len(names), seed=options.seed)
        total += tried.inputs
        print(f"{name}: {tried.inputs} inputs, {len(tried.faults)} faults", flush=True)
        for number, fault in tried.faults[:5]:
            print(f"    --at {number}: {fault.strip().splitlines()[-1]}", flush=True)
    fuzzer.close()
    print(f"all: {total} inputs")


if __name__ == "__main__":
    main()
