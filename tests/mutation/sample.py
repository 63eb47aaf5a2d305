"""Draw the mutants: mutmut's own operators, applied to one place of one function each, by a seed.

::

    python tests/mutation/sample.py mutants.json
    python tests/mutation/sample.py mutants.json --seed 7 --share 0.3

The share is of the number of mutants of each room (``rooms.py``).
Left out is what cannot change a result, or only a sentence that people read: annotations, decorators,
docstrings, the text of messages, ``__all__``, ``strict=`` and ``encoding=`` of a call, and ``cast``.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators
from rooms import ROOMS, ROOT, SEED, Room

#: Keywords and functions whose change is seen in no result.
_INERT_KEYWORDS = {
    "strict",
    "encoding",
    "message",
    "remedy",
    "reason",
    "doc",
    "stacklevel",
    "newline",
    "label",
}
_INERT_CALLS = {"cast", "TypeVar", "warn", "debug", "info", "warning"}


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes from ``start`` on, ``length`` of them, become ``after``."""

    room: str
    file: str
    line: int
    operator: str
    start: int
    length: int
    before: str
    after: str

    def source(self, original: bytes) -> bytes:
        """The module with the change in it."""
        return original[: self.start] + self.after.encode() + original[self.start + self.length :]


class _Places(cst.CSTVisitor):
    """Nodes within functions that a mutation may change."""

    METADATA_DEPENDENCIES = (ParentNodeProvider,)

    def __init__(self) -> None:
        self.nodes: list[cst.CSTNode] = []
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        self._depth += 1
        node.body.visit(self)
        self._depth -= 1
        return False

    def visit_Annotation(self, node: cst.Annotation) -> bool:
        return False

    def visit_Arg(self, node: cst.Arg) -> bool:
        return not (node.keyword and node.keyword.value in _INERT_KEYWORDS)

    def visit_Call(self, node: cst.Call) -> bool:
        name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        return not (isinstance(name, cst.Name) and name.value in _INERT_CALLS)

    def visit_Raise(self, node: cst.Raise) -> bool:
        return False

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        return False

    def visit_ConcatenatedString(self, node: cst.ConcatenatedString) -> bool:
        return False

    def on_visit(self, node: cst.CSTNode) -> bool:
        inside = super().on_visit(node)
        if self._depth and inside and not _is_prose(node):
            self.nodes.append(node)
        return inside


def _is_prose(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleString) and (" " in node.value or node.value.startswith(('"""', "'''")))


def _mutants(room: Room, file: str) -> Iterator[Mutant]:
    source = (ROOT / file).read_bytes()
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    spans = wrapper.resolve(ByteSpanPositionProvider)
    lines = wrapper.resolve(PositionProvider)
    places = _Places()
    wrapper.visit(places)
    for node in places.nodes:
        if node not in spans:
            continue
        span = spans[node]
        for kind, operator in mutation_operators:
            if not isinstance(node, kind):
                continue
            for changed in operator(node):
                yield Mutant(
                    room.name,
                    file,
                    lines[node].start.line,
                    operator.__name__.removeprefix("operator_"),
                    span.start,
                    span.length,
                    source[span.start : span.start + span.length].decode(),
                    wrapper.module.code_for_node(changed),
                )


def _differs(mutant: Mutant) -> bool:
    """Whether it is another program, and one that can be read."""
    source = (ROOT / mutant.file).read_bytes()
    if mutant.operator == "arg_removal" and any(f"{k}=" in mutant.before for k in ("strict", "encoding")):
        return False
    try:
        return ast.dump(ast.parse(mutant.source(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def sample(seed: int = SEED, share: float = 1.0) -> list[Mutant]:
    """The mutants of all rooms, the same for the same code, seed and share."""
    drawn = []
    for room in ROOMS:
        every = [mutant for file in room.files() for mutant in _mutants(room, file)]
        random.Random(f"{seed} {room.name}").shuffle(every)  # noqa: S311
        chosen = list(islice(filter(_differs, every), round(share * room.mutants)))
        drawn += sorted(chosen, key=lambda m: (m.file, m.start, m.operator, m.after))
        print(f"{room.name}: {len(chosen)} of {len(every)}", file=sys.stderr)
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants of each room")
    given = parser.parse_args()
    drawn = [asdict(mutant) for mutant in sample(given.seed, given.share)]
    given.out.write_text(json.dumps(drawn, indent=0), encoding="utf-8")
