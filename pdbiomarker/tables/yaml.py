"""YAML, the safe and unsurprising part of it.

Refused: tags, anchors and aliases, duplicate keys, keys that are not texts, more than one document, nesting
deeper than 20, files above 1 MB. Plain scalars follow YAML 1.2: ``true`` and ``false`` are the only
booleans; ``no``, ``012``, ``12:30`` and ``2025-06-30`` are texts; ``1e5`` is a number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pdbiomarker.errors import Problems
from pdbiomarker.tables.columns import nearest
from pdbiomarker.tables.decoding import decode_text

MAX_BYTES: Final = 2**20
MAX_DEPTH: Final = 20
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CODE: Final = "E-STUDY-002"

Place = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class YamlDocument:
    """A mapping read from YAML, with the place and the text of everything in it.

    Attributes
    ----------
    data : dict
        Mappings with text keys, lists, and scalars (str, int, float, bool, None).
    positions : mapping of path to (line, column)
        Where each value stands, 1-based; a path is a tuple of keys and list positions.
    texts : mapping of path to str
        Scalars as they were typed.
    file : str
        The file's name, for the problems.
    """

    data: dict[str, Any]
    positions: Mapping[Place, tuple[int, int]]
    texts: Mapping[Place, str]
    file: str

    def line(self, place: Place) -> int | None:
        """Give the line of a value, or of the nearest mapping around it."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.positions:
                return self.positions[place[:end]][0]
        return None


def read_yaml(path: str | Path, problems: Problems, *, name: str | None = None) -> dict[str, Any] | None:
    """Read a YAML file whose root is a mapping; see :func:`load_yaml`."""
    document = load_yaml(path, problems, name=name)
    return None if document is None else document.data


def load_yaml(path: str | Path, problems: Problems, *, name: str | None = None) -> YamlDocument | None:
    """Read a YAML file whose root is a mapping, with the line of every value.

    Parameters
    ----------
    path : path
        At most 1 MB of UTF-8.
    problems : Problems
        Every fault is added (E-FILE-001 to 004, E-STUDY-002), with its line and column.
    name : str, optional
        What problems call the file; default, its name.

    Returns
    -------
    YamlDocument or None
        None when a fault was found.
    """
    label = Path(path).name if name is None else name
    text = read_yaml_text(path, problems, name=label)
    return None if text is None else parse_yaml(text, problems, name=label)


def parse_yaml(text: str, problems: Problems, *, name: str) -> YamlDocument | None:
    """Read a text of YAML whose root is a mapping; see :func:`load_yaml`."""
    before = len(problems.errors)
    node = _compose(text, name, problems)
    if node is None or len(problems.errors) > before:
        return None
    positions: dict[Place, tuple[int, int]] = {}
    texts: dict[Place, str] = {}
    data = _value(node, (), positions, texts, name, problems)
    if len(problems.errors) > before:
        return None
    return YamlDocument(data, positions, texts, name)


def read_yaml_text(path: str | Path, problems: Problems, *, name: str) -> str | None:
    """Read the text of a YAML file, as :func:`load_yaml` does; None when a fault was found."""
    file, label = Path(path), name
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            problems.add("E-FILE-002", "The path is not a regular file.", remedy="Name a file.", file=label)
            return None
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        problems.add(
            "E-FILE-001",
            f"The file does not exist or cannot be read ({reason}).",
            remedy="Put the file there, or correct its name.",
            file=label,
        )
        return None
    if len(data) > MAX_BYTES:
        problems.add(
            _CODE,
            "The file is larger than 1 MB.",
            remedy="A setting file is short; is it the right one?",
            file=label,
        )
        return None
    text = decode_text(data, problems, file=label, remedy="Save it as UTF-8.")
    if text is not None and not text.strip():
        problems.add(
            "E-FILE-004", "The file is empty.", remedy="Write its keys, or remove the file.", file=label
        )
        return None
    return text


class _Mark(Protocol):
    line: int
    column: int


def _refuse(problems: Problems, label: str, mark: _Mark | None, message: str, remedy: str) -> None:
    problems.add(
        _CODE,
        message,
        remedy=remedy,
        file=label,
        row=None if mark is None else mark.line + 1,
        column=None if mark is None else str(mark.column + 1),
    )


def _check_events(text: str, label: str, problems: Problems) -> bool:
    """Tell what this small YAML does not know; events need no recursion, however deep the nesting."""
    depth = 0
    documents = 0
    faults = len(problems)
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            _refuse(
                problems, label, mark, f"An alias (*{event.anchor}) is not allowed.", "Write the value out."
            )
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            _refuse(problems, label, mark, f"An anchor (&{event.anchor}) is not allowed.", "Remove it.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            _refuse(
                problems,
                label,
                mark,
                f"A tag ({tag}) is not allowed.",
                "Remove it; put a text in quotes instead.",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > MAX_DEPTH:
            _refuse(problems, label, mark, f"Nesting is deeper than {MAX_DEPTH}.", "Flatten the file.")
            return False
        if documents > 1:
            _refuse(problems, label, mark, "The file holds a second document.", "Remove the '---' line.")
            return False
    return len(problems) == faults


def _compose(text: str, label: str, problems: Problems) -> yaml.MappingNode | None:
    """Check the events, then build the tree."""
    try:
        if not _check_events(text, label, problems):
            return None
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        _refuse(
            problems,
            label,
            error.problem_mark or error.context_mark,
            f"The YAML cannot be read: {said}.",
            "Check indentation, quotes and brackets near this place.",
        )
        return None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        problems.add(
            _CODE,
            "The file holds a character that YAML does not allow.",
            remedy="Remove the control character.",
            file=label,
            row=None if position is None else text[:position].count("\n") + 1,
            value=ascii(text[position]) if position is not None and position < len(text) else None,
        )
        return None
    if not isinstance(node, yaml.MappingNode):
        _refuse(
            problems,
            label,
            None if node is None else node.start_mark,
            "The file is not a mapping of keys to values.",
            "Write lines of the form 'key: value'.",
        )
        return None
    return node


def _value(
    node: yaml.Node,
    place: Place,
    positions: dict[Place, tuple[int, int]],
    texts: dict[Place, str],
    label: str,
    problems: Problems,
) -> Any:
    positions[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        texts[place] = node.value
        return _scalar(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*place, i), positions, texts, label, problems) for i, item in enumerate(node.value)
        ]
    result: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        if not isinstance(key_node, yaml.ScalarNode):
            _refuse(problems, label, mark, "A key is a list or a mapping.", "Use a text as key.")
            continue
        key = str(key_node.value)
        if key in result:
            _refuse(
                problems,
                label,
                mark,
                f"The key {key!r} stands in lines {lines[key]} and {mark.line + 1}.",
                "Keep one of them.",
            )
            continue
        lines[key] = mark.line + 1
        result[key] = _value(value_node, (*place, key), positions, texts, label, problems)
        positions[(*place, key)] = (mark.line + 1, mark.column + 1)
    return result


def _scalar(text: str) -> str | int | float | bool | None:
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if any(character.isdigit() for character in text) and _FLOAT.fullmatch(text):
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    return text


#: Where the keys of a kind of file are described, by the area of its code.
_PAGES: Final[Mapping[str, str]] = {
    "LOCK": "docs/methods/estimand.md",
    "NOISE": "docs/methods/noise.md",
    "PANEL": "docs/methods/ihc_scores.md",
    "RULE": "docs/methods/decisions.md",
    "SURV": "docs/methods/survival.md",
}


def _page(code: str) -> str:
    return _PAGES.get(code.split("-")[1], "docs/study_folder.md")


def validate_yaml[Model: BaseModel](
    model: type[Model], document: YamlDocument, *, code: str, problems: Problems
) -> Model | None:
    """Check a document against a pydantic model; every fault is told with its line, key and remedy.

    Fields of type text take a scalar as it was typed, so ``id: 007`` is ``"007"``.

    Parameters
    ----------
    model : type of pydantic.BaseModel
        With ``extra="forbid"``; unknown keys are refused with the nearest that exist.
    document : YamlDocument
        What was read.
    code : str
        The code of a wrong key or value, such as ``"E-STUDY-001"``.
    problems : Problems
        Where the faults are added.

    Returns
    -------
    Model or None
        None when a fault was found.
    """
    data: Any = document.data
    for _ in range(2):
        try:
            return model.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=True)
        typed = [tuple(d["loc"]) for d in details if d["type"] == "string_type"]
        typed = [place for place in typed if place in document.texts and _at(data, place) is not None]
        if not typed:
            break
        for place in typed:
            data = _replaced(data, place, document.texts[place])
    for detail in details:
        _tell(detail, model, document, code, problems)
    return None


def _at(data: Any, place: Place) -> Any:
    for key in place:
        data = data[key]
    return data


def _replaced(data: Any, place: Place, value: str) -> Any:
    if not place:
        return value
    key, rest = place[0], place[1:]
    if isinstance(data, list):
        return [_replaced(item, rest, value) if i == key else item for i, item in enumerate(data)]
    return {k: _replaced(item, rest, value) if k == key else item for k, item in data.items()}


_SAID: Final[Mapping[str, str]] = {
    "string_type": "The value must be a text.",
    "int_type": "The value must be a whole number.",
    "int_from_float": "The value must be a whole number.",
    "float_type": "The value must be a number.",
    "bool_type": "The value must be true or false.",
    "dict_type": "The value must be a mapping of keys to values.",
    "model_type": "The value must be a mapping of keys to values.",
    "model_attributes_type": "The value must be a mapping of keys to values.",
    "list_type": "The value must be a list.",
    "tuple_type": "The value must be a list.",
}


def _tell(
    detail: ErrorDetails, model: type[BaseModel], document: YamlDocument, code: str, problems: Problems
) -> None:
    place: Place = tuple(detail["loc"])
    key = ".".join(str(part) for part in place)
    kind = detail["type"]
    value: object = detail.get("input")
    if kind == "extra_forbidden":
        known = list(_fields(model, place[:-1]))
        message, remedy = f"The key {key!r} is unknown.", nearest(str(place[-1]), known)
    elif kind == "missing":
        message, remedy, value = f"The key {key!r} is missing.", f"Add it; see {_page(code)}.", None
    elif kind in {"literal_error", "enum"}:
        message = "The value is not one of those allowed."
        remedy = f"Allowed: {detail['ctx']['expected']}."
    else:
        said = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
        head, _, rest = said.partition(" Remedy: ")
        message = _SAID.get(kind, head.rstrip(".") + ".")
        remedy = f"{rest}." if rest else f"See {_page(code)}."
    shown = value if isinstance(value, str | int | float | bool) else None
    problems.add(
        code, message, remedy=remedy, file=document.file, row=document.line(place), column=key, value=shown
    )


def _fields(model: type[BaseModel], place: Place) -> Sequence[str]:
    """Names of the keys allowed at a place of a model."""
    current: Any = model
    for part in place:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields: dict[str, FieldInfo] = current.model_fields
            current = fields[str(part)].annotation if str(part) in fields else None
        else:
            arguments = getattr(current, "__args__", ())
            current = arguments[-1] if arguments else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def to_yaml(data: Mapping[str, Any]) -> str:
    """Write a mapping as YAML that :func:`read_yaml` reads back the same.

    Mappings are blocks in the order given, lists stand on one line, texts are in double quotes.

    Examples
    --------
    >>> print(to_yaml({"id": "007", "visits": {"Pre": {}, "On": [1, 28]}}), end="")
    id: "007"
    visits:
      Pre: {}
      On: [1, 28]
    """
    return "".join(f"{line}\n" for line in _yaml_lines(data, ""))


def _yaml_lines(data: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in data.items():
        name = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
        if isinstance(value, Mapping) and value:
            lines.append(f"{indent}{name}:")
            lines.extend(_yaml_lines(value, indent + "  "))
        else:
            lines.append(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}")
    return lines
