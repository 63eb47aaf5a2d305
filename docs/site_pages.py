"""Pages of the site that are made from the code: notebooks, the error catalogue, the API."""

from __future__ import annotations

import csv
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sphinx.pycode import ModuleAnalyzer

import pdbiomarker as pb
from pdbiomarker.catalogue import said_of
from pdbiomarker.errors import CATALOGUE

__all__ = ["api_pages", "errors_page", "make_pages"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
#: What is told of real inputs: a line for a code, written by tests/bad_inputs/corpus.py.
EXAMPLES: Final = HERE / "error_examples.csv"
#: What is said, and what to do, where a code's own texts are put together elsewhere in the program.
REMEDIES: Final = HERE / "error_remedies.csv"
_MOST_SAID: Final = 4
#: What the codes of an area are about.
_AREAS: Final = {
    "FILE": "Files of any kind",
    "SHEET": "Sheets: tables as CSV, TSV or workbooks",
    "STUDY": "study.yaml",
    "OVERRIDE": "overrides.csv",
    "PLAN": "plan.yaml",
    "LOCK": "plan.lock.yaml",
    "FORMULA": "Formulas and contrasts",
    "PAIR": "Biopsies, visits, pairs",
    "COUNT": "Counts and libraries",
    "CELL": "Single cells",
    "LANE": "nCounter lanes",
    "CELLS": "Exports of cells",
    "SLIDE": "Slides",
    "REGION": "Regions and masks",
    "PANEL": "Panels and segmenters",
    "ASSAY": "Assays as AnnData",
    "CLIN": "Clinical sheets",
    "PK": "Pharmacokinetics",
    "CDISC": "CDISC datasets",
    "SIM": "Simulated studies",
    "RESULT": "Results folders that are read back",
    "MODEL": "The mixed-model layer",
    "NOISE": "Files of noise",
    "RULE": "Decision rules",
    "RESP": "Response",
    "SURV": "Time to event",
    "LINK": "Links",
    "RUN": "Runs and results folders",
    "AUDIT": "The log of what was done, and sign-offs",
    "PHI": "Privacy of slides",
    "DOSE": "Dose escalation",
    "TERM": "pdbiomarker explain",
    "AE": "Adverse events",
    "ADA": "Anti-drug antibodies",
}


def make_pages(folder: Path) -> None:
    """Write all pages into a folder, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "notebooks").mkdir(parents=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder / "notebooks" / notebook.name)
    (folder / "errors.md").write_text(errors_page(), encoding="utf-8")
    for name, text in api_pages():
        path = folder / "api" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


# --- error catalogue -------------------------------------------------------------------------------------


def errors_page() -> str:
    """Every code: what it means, an example as it is told, and what to do."""
    seen, by_hand = _rows(EXAMPLES), _rows(REMEDIES)
    lines = [
        "# Error catalogue",
        "",
        f"Every problem has one of {len(CATALOGUE)} codes; a code never changes its meaning. A message names "
        "file, line, column, value, reason and remedy. `pdbiomarker explain CODE` prints an entry.",
        "",
        "*Seen* is a message as it was told of a broken input of the [corpus](../bad_inputs.md). *Said* and "
        "*remedy* are texts of the program, in which `<...>` stands for what differs from case to case.",
    ]
    area = ""
    for code, meaning in CATALOGUE.items():
        if code.split("-")[1] != area:
            area = code.split("-")[1]
            lines += ["", f"## {area}", "", _AREAS.get(area, "")]
        lines += ["", f"### {code}", "", f"**{_plain(meaning)}**", ""]
        lines += _entry(code, seen.get(code, {}), by_hand.get(code, {}))
    return "\n".join(lines) + "\n"


def _entry(code: str, seen: dict[str, str], by_hand: dict[str, str]) -> Iterator[str]:
    if seen:
        yield from ("*Seen:*", "", "```text", *seen["told"].splitlines(), "```", "")
    whole = sorted(said_of(code), key=lambda said: not (said.message and said.remedy))
    sayings = [(said.message, said.remedy) for said in whole[:_MOST_SAID]]
    if by_hand:
        sayings.append((by_hand["told"], by_hand["remedy"]))
    for message, remedy in sayings:
        told = [f"*said:* {_plain(message)}"] if message else []
        told += [f"*remedy:* {_plain(remedy)}"] if remedy else []
        yield "- " + " ".join(told)


def _rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["code"]: row for row in csv.DictReader(file)}


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_<>\[\]{}$|#])", r"\\\1", " ".join(text.split()))


# --- API -------------------------------------------------------------------------------------------------


def api_pages() -> Iterator[tuple[str, str]]:
    """Give name and text of each page: what ``import pdbiomarker as pb`` offers, and one for each module."""
    names = [name for name in pb.__all__ if not name.startswith("__")]
    modules = [name for name in names if inspect.ismodule(getattr(pb, name))]
    nested = [f"clinical.{name}" for name in pb.clinical.__all__]
    modules = sorted([*(m for m in modules if m != "clinical"), *nested])
    contents = "\n".join(["pdbiomarker", *modules])
    yield "index", _INDEX.format(contents=contents)
    yield "pdbiomarker", _module_page(pb, [n for n in names if not inspect.ismodule(getattr(pb, n))])
    for name in modules:
        module = _module(name)
        public = getattr(module, "__all__", [])
        yield name, _module_page(module, [n for n in public if not inspect.ismodule(getattr(module, n))])


_INDEX: Final = """# API

`import pdbiomarker as pb`. What is listed here is public; all else may change without notice. Examples run as
tests; where they read a folder `trial`, it was written by

    design = TrialDesign(missing=0, inadequate=0, out_of_window=0, repeated=0)
    pb.simulate_study("trial", n_participants=6, slides=False, genes=100, design=design)

with `TrialDesign` from `pdbiomarker.simulate`.

```{{toctree}}
:maxdepth: 1

{contents}
```
"""


def _module(name: str) -> ModuleType:
    found: Any = pb
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _module_page(module: ModuleType, names: list[str]) -> str:
    title = "pb" + module.__name__.removeprefix("pdbiomarker")
    head = inspect.getdoc(module) or ""
    lines = [f"# {title}", "", "```{eval-rst}"]
    lines += [head.partition("\n")[0], "", f".. py:currentmodule:: {module.__name__}", ""]
    for name in sorted(names, key=str.lower):
        lines += [*_entry_of(module, name), ""]
    return "\n".join([*lines, "```", ""])


def _entry_of(module: ModuleType, name: str) -> list[str]:
    value, full = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        return [f".. {kind}:: {full}", "   :members:", "   :exclude-members: model_config, model_post_init"]
    if inspect.isfunction(value):
        return [f".. autofunction:: {full}"]
    # A constant has no docstring of its own: autodoc would show that of tuple or dict.
    said = " ".join(_said_of_constant(module, name).split())
    return [f".. py:data:: {full}", "", f"   {said}", "", f"   {_shown(value)}"]


def _said_of_constant(module: ModuleType, name: str) -> str:
    """Give the comment ``#:`` above a constant, from whichever module of the package defines it."""
    folder = Path(module.__file__ or "").parent
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(rf"^(type )?{name}\b[^\n]*=", text, flags=re.MULTILINE):
            found = ModuleAnalyzer.for_string(text, path.stem).find_attr_docs().get(("", name))
            if found:
                return " ".join(found)
    return ""


def _shown(value: object) -> str:
    members = list(value) if isinstance(value, tuple | list | dict | frozenset) else [value]
    if isinstance(value, frozenset):
        members = sorted(members)
    said = [repr(getattr(m, "__value__", m)) if not inspect.isclass(m) else m.__name__ for m in members]
    text = ", ".join(said[:12]) + (f" ... ({len(said)} in all)" if len(said) > 12 else "")
    return "" if " at 0x" in text else f"``{text}``"
