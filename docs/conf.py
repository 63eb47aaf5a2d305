"""The documentation site: pages of this folder, the notebooks, the error catalogue, the API."""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final

import pdbiomarker as pb
from pdbiomarker.catalogue import said_of
from pdbiomarker.errors import CATALOGUE

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
#: Pages that are made here, anew at every build.
PAGES: Final = HERE / "_pages"
_MOST_SAID: Final = 4

project = "pdbiomarker"
author = "The pdbiomarker developers"
project_copyright = author
release = version = installed_version("pdbiomarker")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "conf.py"]
html_theme = "furo"
html_title = f"pdbiomarker {release}"
html_static_path: list[str] = []
html_show_sphinx = False
# No page asks another host for anything.
html_use_opensearch = ""
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run the notebooks; their committed outputs are shown
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]


def _notebooks() -> None:
    folder = PAGES / "notebooks"
    folder.mkdir(parents=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder / notebook.name)


def _errors() -> None:
    """Write the catalogue: every code, what it means, how it is told and what to do."""
    lines = [
        "# Error catalogue",
        "",
        "Every problem has a code that does not change. Its message names file, row, column and value; "
        "`<...>` stands for what differs from case to case. `pdbiomarker explain CODE` prints an entry.",
    ]
    area = ""
    for code, meaning in CATALOGUE.items():
        if code.split("-")[1] != area:
            area = code.split("-")[1]
            lines += ["", f"## {area}"]
        lines += ["", f"### {code}", "", meaning]
        for said in said_of(code)[:_MOST_SAID]:
            told = [f"*told as:* {_plain(said.message)}"] if said.message else []
            told += [f"*remedy:* {_plain(said.remedy)}"] if said.remedy else []
            lines += ["", "- " + " ".join(told)]
    (PAGES / "errors.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_<>\[\]{}$|#])", r"\\\1", " ".join(text.split()))


def _api() -> None:
    """List what is public: the functions and classes of the package, and its modules."""
    names = [name for name in pb.__all__ if not name.startswith("__")]
    modules = [n for n in names if inspect.ismodule(getattr(pb, n))]
    others = [n for n in names if n not in modules]
    lines = ["# API", "", "```{eval-rst}", ".. currentmodule:: pdbiomarker", "", "Functions and classes"]
    lines += ["---------------------", "", ".. autosummary::", "   :toctree: api", ""]
    lines += [f"   {name}" for name in others]
    for module in modules:
        public = getattr(getattr(pb, module), "__all__", [])
        title = f"pb.{module}"
        lines += ["", title, "-" * len(title), "", f".. currentmodule:: pdbiomarker.{module}", ""]
        lines += [".. autosummary::", "   :toctree: api", "", *(f"   {name}" for name in public)]
    (PAGES / "api.md").write_text("\n".join([*lines, "```", ""]), encoding="utf-8")


def _make_pages() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    _notebooks()
    _errors()
    _api()


sys.setrecursionlimit(5_000)
_make_pages()
