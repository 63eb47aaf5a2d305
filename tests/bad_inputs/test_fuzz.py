"""Readers give a result or an error of ours, whatever they are given: mutated files, and texts by grammar."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs.fuzz import TARGETS, WORDS, Fuzzer
from bad_inputs.readers import OURS, READERS, Found
from hypothesis import given, settings
from hypothesis import strategies as st

#: The same examples on every run.
BOUNDED = settings(max_examples=60, derandomize=True, deadline=None, database=None)
_ODD = st.sampled_from([word.decode("utf-8", "replace") for word in WORDS])
_CELL = st.one_of(st.text(max_size=12), _ODD, st.integers().map(str), st.floats().map(str))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), _ODD),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(
            st.sampled_from(
                ["type", "features", "geometry", "coordinates", "properties", "classification", "name"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    found = Fuzzer()
    yield found
    found.close()


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files(fuzzer: Fuzzer, name: str) -> None:
    """The same inputs on every run; longer by hand: python tests/bad_inputs/fuzz.py --seconds 600."""
    tried = fuzzer.fuzz(name, times=TARGETS[name].times)
    assert not tried.faults, "\n".join(
        f"--only {name!r} --at {number}: {why}" for number, why in tried.faults
    )
    assert tried.inputs == TARGETS[name].times


def read(reader: str, name: str, data: bytes | str) -> Found | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        try:
            return READERS[reader](path)
        except OURS:
            return None


@BOUNDED
@given(st.lists(st.lists(_CELL, min_size=1, max_size=5), max_size=6), st.sampled_from(",;\t"))
def test_any_cells(rows: list[list[str]], delimiter: str) -> None:
    read("table", "a.csv", "\n".join(delimiter.join(row) for row in rows))


@BOUNDED
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for reader, name in (
        ("table", "a.csv"),
        ("counts", "c.csv"),
        ("RCC file", "a.RCC"),
        ("regions", "a.geojson"),
    ):
        read(reader, name, data)


@BOUNDED
@given(st.lists(st.tuples(_CELL, _JSON), max_size=6))
def test_any_settings(pairs: list[tuple[str, object]]) -> None:
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in pairs)
    for reader in ("plan", "decision rule", "panel"):
        read(reader, "a.yaml", text)


@BOUNDED
@given(st.text(alphabet="~ab01+-*:^()|/`'\", .=C\n\x00é", max_size=60))
def test_any_formula(text: str) -> None:
    for reader in ("formula", "contrast"):
        read(reader, "f.txt", text)


@BOUNDED
@given(_JSON)
def test_any_json(document: object) -> None:
    text = json.dumps(document)
    for reader, name in (
        ("regions", "a.geojson"),
        ("cell export", "a.geojson"),
        ("CDISC dataset", "dm.json"),
    ):
        read(reader, name, text)


@BOUNDED
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=5))
def test_ids_come_back_as_written(ids: list[str]) -> None:
    """What is written by our writer is read as the same texts, but for what cannot be part of an id."""
    import pandas as pd

    from pdbiomarker.errors import Problems
    from pdbiomarker.tables import read_table, write_table

    kept = [text for text in ids if text.strip() and "\x00" not in text]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        write_table(pd.DataFrame({"id": kept, "value": range(len(kept))}), path)
        found = read_table(path, problems=Problems())
    assert found is not None
    if kept:
        assert found["id"].tolist() == kept
