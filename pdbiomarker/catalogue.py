"""What a code, a column, a word or a feature means: read from where it is said, so that none is out of date.

Codes come from :data:`pdbiomarker.errors.CATALOGUE` and, for what is said and what to do, from the calls in
the package's own source; columns and words from the tables of the documentation that travels with it;
features from the panels and signatures of ``reference/``.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pdbiomarker.errors import CATALOGUE, Problems
from pdbiomarker.reference import list_reference, reference_path
from pdbiomarker.tables import nearest, read_yaml

__all__ = ["Entry", "Said", "explain", "said_of"]

_PACKAGE: Final = Path(__file__).resolve().parent
#: Pages whose tables define columns and words, in the order in which they are looked up.
_PAGES: Final = ("study_folder.md", "results.md", "glossary.md")
_WORD: Final = r"[a-z0-9][a-z0-9+-]*"
_CODE: Final = re.compile(r"E-[A-Z]+-\d{3}")

#: What is said in more places than this is no answer to a question in other words; so many are told.
_COMMON, _TOLD = 12, 5

type Kind = Literal["code", "column", "term", "feature"]


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One way in which a code is told.

    Attributes
    ----------
    message, remedy : str
        Texts as the source has them; ``<name>`` stands for what differs from case to case.
    """

    message: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a code, a column, a word or a feature.

    Attributes
    ----------
    name : str
        As it is written where it occurs.
    kind : {"code", "column", "term", "feature"}
    meaning : str
        In one sentence or a few.
    where : str
        The page and heading that say it.
    facts : tuple of (str, str)
        Further cells of its row, by the head of their column, such as the unit.
    said : tuple of Said
        Of a code: how it is told.
    """

    name: str
    kind: Kind
    meaning: str
    where: str
    facts: tuple[tuple[str, str], ...] = ()
    said: tuple[Said, ...] = ()


def explain(word: str) -> list[Entry]:
    """Say what a code, a column, a word or a feature means.

    Parameters
    ----------
    word : str
        Such as ``"E-SHEET-005"``, ``"SHEET-5"``, ``"df_method"``, ``"reference change value"``, ``"CYT"`` or
        ``"CD8 density"``; capital letters do not matter.

    Returns
    -------
    list of Entry
        One for each place that defines it. Where nothing has that name, what is explained by all of these
        words, such as the column `q` for ``"adjusted p"`` and the signatures of a gene; at most five.

    Raises
    ------
    InputError
        E-TERM-001: nothing of that name; the nearest are named.

    Examples
    --------
    >>> explain("n_pairs")[0].meaning
    'participants with every visit of the contrast'
    """
    key = _key(word)
    everything = (*_codes(), *_words(), *_features())
    found = [entry for entry in everything if _is_named(entry, key)] or _by_meaning(key)
    if not found:
        problems = Problems()
        names = sorted({entry.name for entry in everything})
        problems.add(
            "E-TERM-001",
            "This is no code, column, word or feature of the catalogue, and explains none of them.",
            remedy=nearest(word, names),
            value=word,
        )
        problems.raise_if_any()
    return [dataclasses.replace(e, said=said_of(e.name)) if e.kind == "code" else e for e in found]


def said_of(code: str) -> tuple[Said, ...]:
    """Give the messages and remedies that the package has for a code, each once."""
    told = (_sayings(source) for source in _sources() if code in source)
    return tuple(dict.fromkeys(said for sayings in told for known, said in sayings if known == code))


def _key(word: str) -> str:
    text = " ".join(word.strip().strip("`").split()).lower()
    code = re.fullmatch(r"(?:e-)?([a-z]+)-0*(\d{1,3})", text)
    return f"e-{code[1]}-{int(code[2]):03d}" if code else text.replace("_", " ")


def _is_named(entry: Entry, key: str) -> bool:
    """Tell whether an entry has this name; a feature also with its compartment, or by its label."""
    name = _key(entry.name)
    if entry.kind != "feature":
        return name == key
    return key == name or key.startswith(f"{name} ") or key == _key(entry.meaning.partition(" (")[0])


def _by_meaning(key: str) -> list[Entry]:
    """Give the entries that are explained by all of these words: together first, then the shortest."""
    wanted = set(re.findall(_WORD, key))
    texts = [(e, " ".join((e.meaning, *(f[1] for f in e.facts)))) for e in (*_words(), *_features())]
    found = [(e, t) for e, t in texts if wanted and wanted <= set(re.findall(_WORD, t.lower()))]
    if len(found) > _COMMON:
        return []
    return [e for e, _ in sorted(found, key=lambda pair: (key not in pair[1].lower(), len(pair[1])))][:_TOLD]


@cache
def _codes() -> tuple[Entry, ...]:
    return tuple(Entry(code, "code", text, "docs/errors.md") for code, text in sorted(CATALOGUE.items()))


# --- columns and words: tables of the documentation ------------------------------------------------------


def _page(name: str) -> str:
    installed = _PACKAGE / "_docs" / name
    return (installed if installed.is_file() else _PACKAGE.parent / "docs" / name).read_text(encoding="utf-8")


@cache
def _words() -> tuple[Entry, ...]:
    return tuple(entry for page in _PAGES for entry in _rows(page))


def _rows(page: str) -> Iterator[Entry]:
    """Read the rows of a page's tables whose first cell holds names in backquotes."""
    heading, heads = "", list[str]()
    kind: Kind = "term" if page == "glossary.md" else "column"
    for line in _page(page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
        cells = [c.replace(r"\|", "|").strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif (names := re.findall(r"`([^`]+)`", cells[0])) and not heads[0].startswith(("file", "path")):
            facts = [(h, c) for h, c in zip(heads[1:], cells[1:], strict=False) if c]
            told = next((c for h, c in reversed(facts) if h in {"meaning", "holds"}), "")
            meaning = told or "; ".join(f"{h}: {c}" for h, c in facts)
            rest = tuple(f for f in facts if told and f[1] != told)
            for name in names:
                yield Entry(name, kind, meaning, f"docs/{page}, {heading}", rest)


# --- features: panels and signatures ---------------------------------------------------------------------


@cache
def _features() -> tuple[Entry, ...]:
    return tuple(
        entry for file in list_reference() if file.endswith(".yaml") for entry in _of_reference(file)
    )


def _of_reference(file: str) -> Iterator[Entry]:
    """Read what a panel or a signature says of its features."""
    folder = file.partition("/")[0]
    if folder not in {"panels", "signatures"}:
        return
    said = read_yaml(reference_path(file), name=file, problems=Problems()) or {}
    where = f"reference/{file}"
    if folder == "signatures":
        facts = {
            "genes": ", ".join(said["genes"]),
            **{k: said.get(k) for k in ("unit", "definition", "source")},
        }
        yield Entry(said["name"], "feature", said["label"], where, _told(facts))
        return
    scores = {_key(word.name): word.meaning for word in _words() if word.kind == "term"}
    for score, keys in said["features"].items():
        facts = {"score": scores.get(_key(score)), "panel": said["label"], "source": said["source"]}
        yield Entry(f"{said['marker']}_{score}", "feature", keys["label"], where, _told(facts))


def _told(facts: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, " ".join(str(value).split())) for name, value in facts.items() if value)


# --- codes: what the source says -------------------------------------------------------------------------


@cache
def _sources() -> tuple[str, ...]:
    texts = (path.read_text(encoding="utf-8") for path in sorted(_PACKAGE.rglob("*.py")))
    return tuple(text for text in texts if _CODE.search(text))


@cache
def _sayings(source: str) -> tuple[tuple[str, Said], ...]:
    found: list[tuple[str, Said]] = []
    tree = ast.parse(source)
    named = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.extend(_said_by(node.args, node.keywords, named))
        elif isinstance(node, ast.Tuple):
            found.extend(_said_by(node.elts, [], named))
    return tuple(found)


def _constants(tree: ast.Module) -> dict[str, str]:
    """Give the texts that a module names at its top level."""
    named = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and value is not None and (text := _text(value, {})):
            named[target.id] = text
    return named


def _said_by(
    given: Sequence[ast.expr], keywords: Sequence[ast.keyword], named: Mapping[str, str]
) -> Iterator[tuple[str, Said]]:
    """Read values among which there is a code: the texts after it are message and remedy."""
    for place, argument in enumerate(given):
        code = _text(argument, named)
        if not _CODE.fullmatch(code):
            continue
        later = [_text(a, named) for a in given[place + 1 :]]
        by_name = {k.arg: _text(k.value, named) for k in keywords if k.arg in {"message", "remedy"}}
        sentences = [t for t in later if " " in t][:2]
        message = by_name.get("message") or (sentences[0] if sentences else "")
        remedy = by_name.get("remedy") or (sentences[1] if len(sentences) > 1 else "")
        if message or remedy:
            yield code, Said(message, remedy)


def _text(node: ast.expr, named: Mapping[str, str]) -> str:
    """Give a text of the source as it would be told, with ``<name>`` where a value goes."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.Name):
        return named.get(node.id, "")
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, named) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"<{_name(node.value)}>"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, named) + _text(node.right, named)
    return ""


def _name(node: ast.expr) -> str:
    """Give a short name for what stands at a place of a text."""
    names = [n for part in ast.walk(node) if (n := _named(part))]
    kept = [n.strip("_") for n in names if n not in {"self", "str", "len", "repr", "sorted", "join", "int"}]
    return " ".join(kept[:1]).replace("_", " ") or "value"


def _named(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
