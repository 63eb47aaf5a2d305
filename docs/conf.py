"""The documentation site: pages of this folder, the notebooks, the error catalogue, the API."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.setrecursionlimit(5_000)

from site_pages import make_pages  # noqa: E402 -- lies beside this file

project = "pdbiomarker"
author = "The pdbiomarker developers"
project_copyright = author
release = version = installed_version("pdbiomarker")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "site_math"]
exclude_patterns = ["_build", "*.py"]
highlight_language = "text"  # blocks that name no language are lines of a shell
html_theme = "furo"
html_title = f"pdbiomarker {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_use_index = True
# No page asks another host for anything: equations are MathML, and there is no MathJax.
html_math_renderer = "mathml"
html_use_opensearch = ""
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests run the notebooks; their committed outputs are shown
autodoc_typehints = "none"  # the docstrings say shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_use_param = False  # types are words ("array of labels"), not names to be linked
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# tests/test_docs.py follows every link, also those into the source tree, which the site does not hold.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]


def _types_as_words(
    _app: Any, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Take the types of attributes for words: Sphinx would link "labels" to whatever has that name."""
    types = {_of_field(line): line for line in lines if line.startswith(":vartype ")}
    kept = [line for line in lines if not line.startswith(":vartype ")]
    for place, line in enumerate(kept):
        if line.startswith(":ivar "):
            names, said = line.split(":", 2)[1:]
            kind = types.get(_of_field(line), "::").split(":", 2)[2].strip()
            shown = f" *{kind}*;" if kind and not {"*", "`"} & set(kind) else ""
            # "a, b" would be read as the name b of the type "a,".
            kept[place] = f":{names.replace(', ', ',')}:{shown}{said}"
    lines[:] = kept


def _of_field(line: str) -> str:
    return line.split(":")[1].partition(" ")[2]


def setup(app: Any) -> None:
    """Write the pages that are made from the code before Sphinx looks for pages."""
    make_pages(HERE / "_pages")
    app.connect("autodoc-process-docstring", _types_as_words, priority=900)
