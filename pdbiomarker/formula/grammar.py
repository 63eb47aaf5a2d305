"""The text of a formula, read into a tree. Nothing of the text is ever evaluated.

The grammar (EBNF; `docs/formula.md` explains it for users)::

    formula  = "~" sum
    sum      = [ "+" | "-" ] product { ( "+" | "-" ) product }       "-" first only before 0 and 1
    product  = inter { "*" inter }
    inter    = power { ":" power }
    power    = atom [ "^" integer ]                                  integer: 2 to 99
    atom     = "0" | "1" | column | call | "(" sum ")" | "(" slopes "|" group ")"
    call     = numeric "(" ( column | call ) ")" | "C" "(" column [ "," scheme [ "," "base" "=" level ] ] ")"
    numeric  = "center" | "log" | "log10" | "log2" | "scale" | "sqrt"
    scheme   = "treatment" | "sum" | "helmert" | "poly"              base: treatment only
    slopes   = ( "0" | "1" | column ) { "+" ( "0" | "1" | column ) }     also "- 1" for "+ 0"
    group    = column { ":" column } | column { "/" column }
    column   = name | "`" any text "`"                               a doubled backtick stands for one
    level    = name | integer | "`" any text "`" | quoted text

The cost of reading is linear in the length of the text, which is at most :data:`MAX_LENGTH`; parentheses
nest at most :data:`MAX_DEPTH` deep. Every refusal is a :class:`~pdbiomarker.errors.FormulaError` that
names the position and points at it.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, NoReturn

from pdbiomarker.errors import FormulaError, Problem

__all__ = [
    "CONTRASTS",
    "KEY_ALIASES",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "NUMERIC_FUNCTIONS",
    "Variable",
]

#: The longest formula or contrast that is read, in characters.
MAX_LENGTH: Final = 10_000
#: How deep parentheses may nest.
MAX_DEPTH: Final = 20
#: The largest power, as in ``(a + b)^2``.
MAX_POWER: Final = 99
#: Functions of one numeric column.
NUMERIC_FUNCTIONS: Final = ("center", "log", "log10", "log2", "scale", "sqrt")
#: Names of the ways to code a factor, for ``C(column, scheme)``.
CONTRASTS: Final = ("treatment", "sum", "helmert", "poly")
#: The keys of the sheets, by the names they also have there; understood in random terms.
KEY_ALIASES: Final = {"participant_id": "participant", "biopsy_id": "biopsy"}

_EXCERPT: Final = 36
_LONGEST_SHOWN: Final = 60
_MOST_COMPARED: Final = 1_000
_SYNTACTIC = re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*", re.ASCII)
_RESERVED: Final = frozenset(
    {"if", "else", "repeat", "while", "function", "for", "next", "break", "in", "TRUE", "FALSE", "NULL"}
    | {"Inf", "NaN", "NA", "NA_integer_", "NA_real_", "NA_character_", "NA_complex_"}
)
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<name>[A-Za-z.][A-Za-z0-9._]*)|(?P<number>[0-9][A-Za-z0-9._]*)"
    r"|(?P<quoted>`(?:[^`]|``)*`)|(?P<text>\"[^\"]*\"|'[^']*')|(?P<op>\|\||[-~+*:^/|(),=])",
    re.ASCII,
)
_HINTS: Final = {
    "%": "`%in%` and other %operators% are not part of the language. Use `:` or `*`.",
    "_": "A name that starts with an underscore needs backticks.",
    "`": "A backtick is opened and never closed.",
    '"': "A quotation mark is opened and never closed.",
    "'": "A quotation mark is opened and never closed.",
    "{": "Expressions in braces are not part of the language; nothing in a formula is evaluated.",
    "}": "Expressions in braces are not part of the language; nothing in a formula is evaluated.",
    "[": "Subscripts are not part of the language.",
    "]": "Subscripts are not part of the language.",
    "$": "A column is written by its name alone.",
    "#": "A formula holds no comments.",
}


def plain(text: str) -> str:
    """`text` with every character that cannot be printed replaced, one for one."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shown(name: str) -> str:
    """`name` for a message: printable, quoted, at most 60 characters."""
    return repr(plain(name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "..."))


def refusal(
    text: str, at: int, message: str, *, remedy: str = "", value: str | None = None, code: int = 1
) -> FormulaError:
    """Build the error for position `at` (from 0) of `text`, with a line that points at it."""
    start = max(0, at - _EXCERPT)
    stop = min(len(text), at + _EXCERPT)
    before, after = "..." if start else "", "..." if stop < len(text) else ""
    excerpt = before + plain(text[start:stop]) + after
    pointer = " " * (len(before) + at - start) + "^"
    where = f"{message}\n      {excerpt}\n      {pointer}\n   "
    found = None if value is None else plain(value[:_LONGEST_SHOWN])
    return FormulaError(
        [Problem(f"E-FORMULA-{code:03d}", where, remedy, column=f"position {at + 1}", value=found)]
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Name what exists: the nearest few, or all when nothing is near."""
    names = list(known)
    if not names:
        return "There is none."
    lowered = {n.lower(): n for n in reversed(names[:_MOST_COMPARED])}
    near = difflib.get_close_matches(name[:200].lower(), list(lowered), n=3, cutoff=0.6)
    if near:
        return "Nearest that exist: " + ", ".join(repr(lowered[n]) for n in near) + "."
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return "Existing: " + ", ".join(repr(n) for n in names[:10]) + more + "."


def quote_name(name: str) -> str:
    """`name` as the language writes it: in backticks unless it is a plain name."""
    if _SYNTACTIC.fullmatch(name) and name != "." and name not in _RESERVED:
        return name
    return "`" + name.replace("`", "``") + "`"


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """One factor of a term: a column, perhaps transformed or with its coding named.

    Attributes
    ----------
    column : str
        The column of the table.
    functions : tuple of str
        Numeric functions around it, outermost first.
    scheme : str or None
        The coding of ``C(column, scheme)``; None where ``C`` is not used.
    base : str or None
        The reference level of ``C(column, treatment, base = level)``.
    named : bool
        Whether the scheme was written; ``C(x)`` and ``C(x, treatment)`` code alike and print differently.
    """

    column: str
    functions: tuple[str, ...] = ()
    scheme: str | None = None
    base: str | None = None
    named: bool = False

    @property
    def label(self) -> str:
        """As it appears in the names of coefficients, which are those of R."""
        if self.scheme is not None:
            scheme = f", {self.scheme}" if self.named else ""
            base = "" if self.base is None else f", base = {_quote_text(self.base)}"
            return f"C({quote_name(self.column)}{scheme}{base})"
        return "(".join([*self.functions, quote_name(self.column)]) + ")" * len(self.functions)


def _quote_text(text: str) -> str:
    if '"' not in text:
        return f'"{text}"'
    return f"'{text}'" if "'" not in text else "`" + text.replace("`", "``") + "`"


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """A variable in the tree."""

    variable: Variable
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """The intercept: 1, or 0 for none."""

    value: int
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Power:
    """``base^exponent``."""

    base: Node
    exponent: int
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Product:
    """Operands joined by one operator, from the left."""

    operator: Literal["*", ":"]
    operands: tuple[Node, ...]
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Sum:
    """Signed summands, from the left."""

    summands: tuple[tuple[Literal["+", "-"], Node], ...]
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """A random term ``(slopes | group)`` as written; `nested` tells ``a/b`` from ``a:b``."""

    intercept: bool
    slopes: tuple[str, ...]
    groups: tuple[str, ...]
    nested: bool
    at: int


type Node = Leaf | Constant | Power | Product | Sum | Bar

_BINDING: Final = {Sum: 1, Product: 2, Power: 4, Leaf: 5, Constant: 5, Bar: 5}


def _binding(node: Node) -> int:
    return 3 if isinstance(node, Product) and node.operator == ":" else _BINDING[type(node)]


def render(node: Node, outside: int = 0) -> str:
    """Write the tree in one canonical spelling; reading it again gives the same tree."""
    match node:
        case Leaf(variable):
            text = variable.label
        case Constant(value):
            text = str(value)
        case Power(base, exponent):
            text = f"{render(base, 4)}^{exponent}"
        case Product(operator, operands):
            joint = ":" if operator == ":" else " * "
            text = joint.join(render(operand, _binding(node)) for operand in operands)
        case Sum(summands):
            parts = [f" {sign} {render(item, 1)}" for sign, item in summands]
            parts[0] = ("-" if summands[0][0] == "-" else "") + render(summands[0][1], 1)
            text = "".join(parts)
        case Bar():
            slopes = ["1" if node.intercept else "0", *map(quote_name, node.slopes)]
            joint = "/" if node.nested else ":"
            text = f"({' + '.join(slopes)} | {joint.join(map(quote_name, node.groups))})"
    return f"({text})" if _binding(node) <= outside else text


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def check_text(text: object, what: str) -> str:
    """Refuse what is not text of a sensible length; return it."""
    if not isinstance(text, str):
        raise refusal(
            "", 0, f"A {what} is text.", value=str(type(text).__name__), remedy="Write it in quotes."
        )
    if len(text) > MAX_LENGTH:
        raise refusal(
            text,
            MAX_LENGTH,
            f"A {what} has at most {MAX_LENGTH:,} characters; this one has {len(text):,}.",
            remedy="Shorten it.",
        )
    return text


def check_characters(text: str, token: str, at: int) -> None:
    """Refuse control, invisible and unassigned characters inside a quoted name."""
    for offset, char in enumerate(token):
        if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in {"Zl", "Zp"}:
            raise refusal(
                text,
                at + offset,
                f"A name holds the invisible character U+{ord(char):04X}.",
                remedy="Rename the column in the table, or delete the character here.",
            )


def _tokens(text: str) -> list[_Token]:
    """Split `text`; the last token has kind ``end``."""
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse_character(text, at)
        kind, token = str(match.lastgroup), match.group()
        if kind in {"quoted", "text"}:
            check_characters(text, token, at)
            token = token[1:-1].replace("``", "`") if kind == "quoted" else token[1:-1]
            if not token:
                raise refusal(text, at, "A name in quotes is empty.", remedy="Write the name of a column.")
        if kind != "space":
            found.append(_Token(kind, token, at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _refuse_character(text: str, at: int) -> NoReturn:
    char = text[at]
    if char.isascii() and char.isprintable():
        remedy = _HINTS.get(char, "Only names, 0, 1, + - : * ^ ( ) and the listed functions may be written.")
        raise refusal(
            text, at, f"The character {char!r} is not part of the language.", remedy=remedy, value=char
        )
    name = unicodedata.name(char, "no printable character")
    raise refusal(
        text,
        at,
        f"The character U+{ord(char):04X} ({name}) cannot stand here.",
        remedy="Put a column's name that holds such a character in backticks; delete it elsewhere.",
    )


def read(text: str) -> Node:
    """Read a formula into its tree.

    Raises
    ------
    FormulaError
        For anything that is not of the grammar, with its position.
    """
    return _Parser(check_text(text, "formula")).formula()


class _Parser:
    """Recursive descent over the tokens; one method per line of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def at_op(self, *operators: str) -> bool:
        return self.token.kind == "op" and self.token.text in operators

    def take(self) -> _Token:
        token = self.token
        self.next += 1
        return token

    def expect(self, operator: str, why: str) -> _Token:
        if not self.at_op(operator):
            raise self.unexpected(f"Expected {operator!r} {why}")
        return self.take()

    def unexpected(self, message: str, remedy: str = "") -> FormulaError:
        token = self.token
        found = "the end" if token.kind == "end" else shown(token.text)
        remedy = remedy or "Correct what stands at this position, or before it."
        return refusal(self.text, token.at, f"{message}; found {found}.", remedy=remedy)

    def formula(self) -> Node:
        if not self.at_op("~"):
            tilde = next((t for t in self.tokens if t.kind == "op" and t.text == "~"), None)
            if tilde is None:
                raise self.unexpected("A formula starts with '~'", "For example: ~ visit + (1|participant).")
            raise refusal(
                self.text,
                self.token.at,
                "There is something left of '~'.",
                remedy="Start with '~': the features to be analysed are chosen by the plan's families.",
            )
        self.take()
        node = self.sum()
        if self.at_op("|", "||"):
            raise self.unexpected("A random term stands in parentheses", "Write (1|participant).")
        if self.token.kind != "end":
            raise self.unexpected("Expected an operator or the end", "Join terms by +, -, : or *.")
        return node

    def sum(self) -> Node:
        start = self.token.at
        sign: Literal["+", "-"] = "+"
        if self.at_op("+", "-"):
            sign = "-" if self.take().text == "-" else "+"
            if sign == "-" and not (self.token.kind == "number" and self.token.text in {"0", "1"}):
                raise self.unexpected(
                    "At the start of a sum '-' takes only 0 or 1 away", "Leave the term out."
                )
        summands = [(sign, self.product())]
        while self.at_op("+", "-"):
            sign = "-" if self.take().text == "-" else "+"
            summands.append((sign, self.product()))
        if len(summands) == 1 and summands[0][0] == "+":
            return summands[0][1]
        return Sum(tuple(summands), start)

    def product(self) -> Node:
        operands = [self.inter()]
        start = operands[0].at
        while self.at_op("*", "/"):
            if self.at_op("/"):
                raise self.unexpected("'/' stands only in random terms", "Write a + a:b for a/b.")
            self.take()
            operands.append(self.inter())
        return operands[0] if len(operands) == 1 else Product("*", tuple(operands), start)

    def inter(self) -> Node:
        operands = [self.power()]
        start = operands[0].at
        while self.at_op(":"):
            self.take()
            operands.append(self.power())
        return operands[0] if len(operands) == 1 else Product(":", tuple(operands), start)

    def power(self) -> Node:
        base = self.atom()
        if not self.at_op("^"):
            return base
        self.take()
        token = self.token
        if token.kind != "number" or not re.fullmatch("[1-9][0-9]?", token.text) or token.text == "1":
            raise self.unexpected(
                f"A power is a whole number from 2 to {MAX_POWER}", "For example: (a + b)^2."
            )
        self.take()
        if self.at_op("^"):
            raise self.unexpected("A power of a power needs parentheses")
        return Power(base, int(token.text), base.at)

    def atom(self) -> Node:
        token = self.token
        if self.at_op("("):
            return self.parenthesis()
        if token.kind == "name" and self.tokens[self.next + 1].text == "(" and self.is_call():
            return Leaf(self.call(), token.at)
        if token.kind == "number":
            if token.text not in {"0", "1"}:
                raise self.unexpected(
                    "The only numbers are 0 and 1, for the intercept, and powers",
                    "Make a column of the table for any other arithmetic.",
                )
            self.take()
            return Constant(int(token.text), token.at)
        return Leaf(Variable(self.column()), token.at)

    def is_call(self) -> bool:
        return self.tokens[self.next + 1].kind == "op"

    def column(self) -> str:
        token = self.token
        if token.kind not in {"name", "quoted"}:
            remedy = "Write the name of a column, in backticks if it is not a plain name."
            raise self.unexpected("Expected the name of a column", remedy)
        if token.kind == "name" and (token.text in _RESERVED or token.text.strip(".") == ""):
            raise refusal(
                self.text,
                token.at,
                f"{token.text!r} is not the name of a column.",
                remedy="If the table has such a column, put its name in backticks.",
                value=token.text,
            )
        self.take()
        if self.at_op("("):
            raise self.unexpected("A column is not a function", "Remove the parenthesis.")
        return token.text

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refusal(
                self.text,
                self.token.at,
                f"Parentheses nest deeper than {MAX_DEPTH}.",
                remedy="Write the terms out.",
            )
        self.take()

    def parenthesis(self) -> Node:
        start = self.token.at
        self.enter()
        node = self.sum()
        if self.at_op("||"):
            raise self.unexpected("'||' is not part of the language", "Write (1|g) + (0+x|g).")
        if self.at_op("|"):
            self.take()
            intercept, slopes = self.slopes(node)
            groups, nested = self.group()
            node = Bar(intercept, slopes, groups, nested, start)
        self.expect(")", "to close a parenthesis")
        self.depth -= 1
        return node

    def slopes(self, node: Node) -> tuple[bool, tuple[str, ...]]:
        """Read the left side of a bar: whether it has an intercept, and the columns with slopes."""
        summands = node.summands if isinstance(node, Sum) else (("+", node),)
        intercept = True
        slopes: dict[str, None] = {}
        for sign, item in summands:
            if isinstance(item, Constant):
                intercept = (item.value == 1) == (sign == "+")
            elif sign == "+" and isinstance(item, Leaf) and item.variable == Variable(item.variable.column):
                slopes[item.variable.column] = None
            else:
                raise refusal(
                    self.text,
                    item.at,
                    "Left of '|' stand only 0, 1 and names of columns, joined by '+'.",
                    remedy="Make a column of the table for anything else.",
                    code=6,
                )
        if not intercept and not slopes:
            raise refusal(
                self.text, node.at, "A random term without intercept and slope.", remedy="Write (1|g)."
            )
        return intercept, tuple(slopes)

    def group(self) -> tuple[tuple[str, ...], bool]:
        """Read the right side of a bar: its columns, and whether they are nested by '/'."""
        names = [self.group_column()]
        operator = self.token.text if self.at_op("/", ":") else ")"
        while self.at_op(operator) and operator != ")":
            self.take()
            names.append(self.group_column())
        if self.at_op("/", ":"):
            raise self.unexpected("A group uses either '/' or ':'", "Write two random terms.")
        return tuple(names), operator == "/"

    def group_column(self) -> str:
        token = self.token
        if token.kind not in {"name", "quoted"}:
            raise self.unexpected(
                "A group is a column, a/b or a:b",
                "Write for example (1|participant) or (1|participant/biopsy).",
            )
        name = self.column()
        return KEY_ALIASES.get(name, name)

    def call(self) -> Variable:
        """Read a function with its arguments."""
        token = self.take()
        allowed = sorted([*NUMERIC_FUNCTIONS, "C"], key=str.lower)
        if token.text not in allowed:
            raise refusal(
                self.text,
                token.at,
                f"The function {shown(token.text)} is not allowed.",
                remedy=f"Allowed are {', '.join(allowed)}. Make a column of the table for anything else.",
                value=token.text,
                code=2,
            )
        self.enter()
        variable = self.coding() if token.text == "C" else self.numeric(token.text)
        self.expect(")", f"to close {token.text}(")
        self.depth -= 1
        return variable

    def numeric(self, function: str) -> Variable:
        if self.token.kind == "name" and self.tokens[self.next + 1].text == "(" and self.is_call():
            at = self.token.at
            inner = self.call()
            if inner.scheme is not None:
                raise refusal(self.text, at, f"{function}() takes a number, C() makes a factor.", code=5)
            return dataclasses.replace(inner, functions=(function, *inner.functions))
        column = self.column()
        if not self.at_op(")"):
            raise self.unexpected(
                f"{function}() takes one column and nothing else",
                "Make a column of the table for any arithmetic.",
            )
        return Variable(column, (function,))

    def coding(self) -> Variable:
        """Read the arguments of C()."""
        column = self.column()
        if not self.at_op(","):
            return Variable(column, scheme="treatment")
        self.take()
        token = self.token
        if token.kind != "name" or token.text not in CONTRASTS:
            raise self.unexpected(
                f"C() takes a column and one of {', '.join(CONTRASTS)}", "For example: C(visit, sum)."
            )
        self.take()
        if not self.at_op(","):
            return Variable(column, scheme=token.text, named=True)
        if token.text != "treatment":
            raise self.unexpected(f"{token.text} takes no further argument")
        self.take()
        if self.token.kind != "name" or self.token.text != "base":
            raise self.unexpected(
                "Expected base = level", 'For example: C(arm, treatment, base = "placebo").'
            )
        self.take()
        self.expect("=", "after base")
        if self.token.kind not in {"name", "quoted", "text", "number"}:
            raise self.unexpected("Expected a level", "Put it in quotes.")
        return Variable(column, scheme="treatment", base=self.take().text, named=True)
