"""Nothing that names a person leaves a slide: a run on marked slides, and every byte of what it makes."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from dicom_slides import write_dicom
from marked_slides import MARK, write_ome, write_svs
from small_study import replace, small_study
from vendor_slides import write_ndpi

import pdbiomarker as pb

WORDS = (MARK.encode(), b"Jane Doe", b"MRN 12345", b"1985")
UTF16 = tuple(word.decode().encode("utf-16-le") for word in WORDS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an SVS, an OME-TIFF, an NDPI and a DICOM slide, each with the mark wherever it can stand."""
    pytest.importorskip("openslide")
    pytest.importorskip("wsidicom")
    root = tmp_path_factory.mktemp("people")
    study = small_study(root / "study")
    slides = study / "slides"
    images = {path.stem: tifffile.imread(path) for path in sorted(slides.iterdir())}
    write_svs(slides / "a.svs", images["P01-S"], jpeg=True)
    write_ome(slides / "b.ome.tiff", images["P01-T"])
    ndpi = write_ndpi(slides / "c.ndpi", images["P02-S"])
    with ndpi.open("ab") as stream:
        stream.write(MARK.encode())
    people: dict[str, Any] = {"PatientName": MARK, "PatientID": MARK, "PatientBirthDate": "19850403"}
    write_dicom(slides / "d.dcm", images["P02-T"], changes=people)
    for name, file in (("P01-S", "a.svs"), ("P01-T", "b.ome.tiff"), ("P02-S", "c.ndpi"), ("P02-T", "d.dcm")):
        (slides / f"{name}.tif").unlink()
        replace(study / "slides.csv", f"slides/{name}.tif", f"slides/{file}")
    for file in slides.iterdir():
        assert MARK.encode() in file.read_bytes(), file.name
    outcome = pb.run_study(study, root / "out", progress=False)
    assert outcome.exit_code == 0, [str(p) for p in outcome.problems]
    pb.report_results(outcome.out, formats=["xlsx", "pptx"])
    return outcome.out


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, and what is packed in them."""
    data = path.read_bytes()
    yield path.name, data
    if path.suffix in {".xlsx", ".pptx"}:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield f"{path.name}/{name}", archive.read(name)
    elif path.suffix == ".gz":
        yield f"{path.name} unpacked", gzip.decompress(data)
    elif path.suffix == ".parquet":
        yield f"{path.name} as text", pd.read_parquet(path).to_csv().encode()
    elif path.suffix == ".h5ad":
        yield from _arrays(path)


def _arrays(path: Path) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with h5py.File(path, "r") as file:

        def visit(name: str, item: Any) -> None:
            told = "".join(f"{key}={value!r}" for key, value in item.attrs.items())
            found.append((f"{path.name}/{name}", told.encode()))
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                found.append((f"{path.name}/{name}", repr(np.asarray(item[()]).tolist()).encode()))

        file.visititems(visit)
    return found


def test_no_output_of_a_run_names_a_person_of_a_slide(out: Path) -> None:
    looked = {".html": 0, ".png": 0, ".h5ad": 0, ".parquet": 0, ".xlsx": 0, ".pptx": 0, ".csv": 0, ".json": 0}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        for name, data in contents(path):
            for word in (*WORDS[:3], *UTF16):
                assert word not in data, (name, word)
        looked[path.suffix] = looked.get(path.suffix, 0) + 1
    assert all(looked.values()), looked


def test_every_marked_slide_was_measured(out: Path) -> None:
    quarantine = pd.read_csv(out / "results" / "quarantine.csv")
    assert quarantine.empty or not quarantine["severity"].eq("quarantine").any()
    assert sorted(p.name for p in (out / "slides").iterdir()) == ["P01-S", "P01-T", "P02-S", "P02-T"]
    assert all((p / "cells.parquet").is_file() for p in (out / "slides").iterdir())
