"""The documentation: links, commands, tables of contents, catalogue and drawings are true to the code."""

from __future__ import annotations

import csv
import re
import shlex
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import howto_inputs
import pytest
import typer

import pdbiomarker as pb
from pdbiomarker.catalogue import said_of
from pdbiomarker.cli import app
from pdbiomarker.errors import CATALOGUE
from pdbiomarker.run.assays import count_assays
from pdbiomarker.study import FORMATS, FileFormat

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_build", "_pages"} & set(p.parts))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
#: Pages that the site makes from the code when it is built.
_MADE = ("_pages/notebooks/", "_pages/errors.md", "_pages/api/")


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", h)) for h in heads]
    return frozenset(h.strip().lower().replace(" ", "-") for h in plain)


@pytest.mark.parametrize("page", TEXTS, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"(https?|mailto):", target) or path.startswith(_MADE):
            continue
        found = page if not path else (page.parent / path).resolve()
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in _anchors(found)):
            lost.append(target)
    assert lost == []


# --- commands --------------------------------------------------------------------------------------------


def _commands(page: Path) -> list[str]:
    """Every line of a code block, and every piece of code in a sentence, that starts with our command."""
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for kind, body in fences if kind in {"", "bash", "sh"} for line in _joined(body)]
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", rest)]
    return [line for line in map(str.strip, lines) if re.match(r"(\.venv/bin/)?pdbiomarker \S", line)]


def _joined(body: str) -> list[str]:
    return re.sub(r"\\\n\s*", " ", body).splitlines()


def _wrong(line: str) -> list[str]:
    """What of a command does not exist: the command itself, or one of its options."""
    words = shlex.split(re.split(r"\s#|\s\(|&&|\s\|\s|;", line)[0].replace("|", " "), posix=True)[1:]
    names = iter(words)
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name = next(names, "-")
        if name.startswith("-"):
            break
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    given = [w.split("=")[0].rstrip(",.") for w in words if re.match(r"--?[a-zA-Z]", w)]
    return [option for option in given if option not in known and not re.fullmatch(r"-?-?\d.*", option)]


@pytest.mark.parametrize("page", TEXTS, ids=_id)
def test_commands_exist_with_their_options(page: Path) -> None:
    # "quantify | import | expression" is a list of commands, not a pipe: each is looked up.
    lines = []
    for line in _commands(page):
        listed = re.fullmatch(r"pdbiomarker ((?:[a-z]+ \| )+[a-z]+)(.*)", line)
        lines += [f"pdbiomarker {n}" for n in listed[1].split(" | ")] if listed else [line]
    assert {line: wrong for line in lines if (wrong := _wrong(line))} == {}


def test_a_wrong_command_is_found() -> None:
    assert _wrong("pdbiomarker run STUDY --out OUT") == []
    assert _wrong("pdbiomarker run STUDY --outt OUT") == ["--outt"]
    assert _wrong("pdbiomarker rum STUDY") == ["rum"]
    assert _wrong("pdbiomarker plan lokc STUDY") == ["lokc"]


# --- the site --------------------------------------------------------------------------------------------


def test_every_page_is_in_a_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
    named = [line for b in blocks for line in b.splitlines() if line and not line.startswith(":")]
    found = {p for name in named for p in DOCS.glob(f"{name}.md")}
    assert [_id(p) for p in PAGES if p not in found and p.name != "index.md"] == []


def test_the_sources_of_the_site_name_no_other_host() -> None:
    """Fonts, scripts and styles lie in the site itself."""
    for path in (
        DOCS / "conf.py",
        DOCS / "site_math.py",
        DOCS / "site_pages.py",
        *(DOCS / "static").iterdir(),
    ):
        assert "http" not in path.read_text(encoding="utf-8")


# --- the error catalogue ---------------------------------------------------------------------------------


def _of(name: str) -> dict[str, dict[str, str]]:
    with (DOCS / name).open(encoding="utf-8", newline="") as file:
        return {row["code"]: row for row in csv.DictReader(file)}


def test_every_code_has_an_example_and_a_remedy() -> None:
    """The page is made of these three at every build; examples are held against the program by the corpus."""
    seen, by_hand = _of("error_examples.csv"), _of("error_remedies.csv")
    assert seen.keys() | by_hand.keys() <= CATALOGUE.keys()
    lacking = []
    for code in CATALOGUE:
        said = said_of(code)
        example = code in seen or bool(by_hand.get(code, {}).get("told")) or any(s.message for s in said)
        remedy = "Remedy:" in seen.get(code, {}).get("told", "") or any(s.remedy for s in said)
        if not example or not (remedy or by_hand.get(code, {}).get("remedy")):
            lacking.append(code)
    assert lacking == []


def test_the_page_of_the_catalogue_has_every_code(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    from site_pages import errors_page  # type: ignore[import-not-found]

    page = errors_page()
    sys.modules.pop("site_pages")
    parts = dict(re.findall(r"^### (E-\S+)\n(.*?)(?=^###? |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    assert parts.keys() == CATALOGUE.keys()
    assert [code for code, text in parts.items() if not re.search(r"\*remedy:\*|Remedy:", text)] == []


# --- how-to pages ----------------------------------------------------------------------------------------


def _files_of(page: Path) -> dict[str, str]:
    """The files that a how-to shows: a name in backquotes at the start of a line, then its block."""
    pattern = r"^`([\w./]+\.(?:yaml|csv|py))`[^\n]*:\n\n```\w+\n(.*?)^```"
    return dict(re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("name", ["cell_exports", "ncounter", "single_cell"])
def test_the_study_of_a_howto_can_be_used(name: str, tmp_path: Path) -> None:
    for file, text in _files_of(DOCS / "howto" / f"{name}.md").items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    if name == "cell_exports":
        howto_inputs.write_qupath(tmp_path / "exports")
    elif name == "ncounter":
        howto_inputs.write_lanes(tmp_path / "rcc")
    else:
        howto_inputs.write_cells(tmp_path / "cells.h5ad")
    assert [str(problem) for problem in pb.check(tmp_path)] == []


def test_the_new_assay_of_its_howto_goes_from_the_file_to_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader and the line of the page are put where Python finds them; numbers by hand."""
    page = DOCS / "howto" / "assay.md"
    for file, text in _files_of(page).items():
        (tmp_path / Path(file).name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = page.read_text(encoding="utf-8").replace("pdbiomarker.expression.beads:", "beads:")
    (line,) = re.findall(r"^    (\"beads\": FileFormat\(.*\)),$", text, flags=re.MULTILINE)
    (added,) = eval(f"{{{line}}}", {"FileFormat": FileFormat}).items()  # noqa: S307 -- our own page
    monkeypatch.setitem(cast("dict[str, FileFormat]", FORMATS), *added)
    told = [f"{p.severity}: {p}" for p in pb.check(tmp_path)]
    assert told == re.findall(r"^quarantine: .*$", text, flags=re.MULTILINE)
    study = pb.read_study(tmp_path)
    for name, assay in count_assays(study, []).items():
        study = study.with_assay(name, assay)
    sys.modules.pop("beads")
    result = pb.pd_change(study, pb.Plan.read(tmp_path / "plan.yaml", study))
    rows = result.table[result.table["set"] == "strict_pairs"].set_index("feature")
    assert rows["model"].to_dict() == {"GZMB": "tobit mixed", "CXCL9": "linear mixed"}
    # The pairs of P1, P2 and P3: 1.9, 2.2 and 1.7 log2.
    assert rows.at["CXCL9", "estimate"] == pytest.approx(5.8 / 3, abs=1e-9)


# --- the picture of the architecture ---------------------------------------------------------------------


def _floors() -> list[tuple[str, list[str]]]:
    """Floor and rooms of each line of the table."""
    table = (
        (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Floors")[2].partition("\n## ")[0]
    )
    lines = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    return [(line[1].strip(), re.findall(r"`(\w+)`", line[2])) for line in lines]


def test_the_floors_of_the_architecture_are_those_that_are_checked() -> None:
    """The table against the layers of import-linter, top down."""
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in layers["tool"]["importlinter"]["contracts"] if c["name"] == "Floors")
    checked = [{r.split(".")[1] for r in re.split(r"\s*[|:]\s*", layer)} for layer in contract["layers"]]
    table: dict[str, set[str]] = {}
    for floor, rooms in _floors():
        if floor.isdigit():
            table.setdefault(floor, set()).update(rooms)
    assert [table[floor] for floor in sorted(table, reverse=True)] == checked


def test_the_rooms_of_the_architecture_are_those_of_the_tree() -> None:
    named = {room for _, rooms in _floors() for room in rooms}
    package = ROOT / "pdbiomarker"
    rooms = {p.stem for p in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    assert named == rooms - {"__init__", "__main__"}


def test_the_calls_of_the_road_are_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    road = text.partition("## One gene and one slide on the road")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+/\w+\.py)` ((?:`\w+`(?:, )?)+)", road)
    assert len(named) > 20
    for file, calls in named:
        source = (ROOT / "pdbiomarker" / file).read_text(encoding="utf-8")
        for call in re.findall(r"\w+", calls):
            assert re.search(rf"^(def|class) {call}\b", source, flags=re.MULTILINE), (file, call)


def test_the_picture_is_that_of_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew it by `python docs/images/architecture.py`."""
    monkeypatch.syspath_prepend(str(DOCS / "images"))
    import architecture  # type: ignore[import-not-found]

    sys.modules.pop("architecture")
    assert (DOCS / "images" / "architecture.svg").read_text(encoding="utf-8") == architecture.drawing()
    drawn = {(floor, room) for floor, rooms, _ in architecture.FLOORS for room in rooms}
    assert drawn <= {(floor, room) for floor, rooms in _floors() for room in rooms}
