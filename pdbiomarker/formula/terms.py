"""From the tree of a formula to its terms, by the algebra of R's `terms`.

Every variable is one bit, in the order in which it is first written; a term is the union of the bits of
its variables. Sums join lists of terms and drop repeats; `a:b` joins each term of one side with each of
the other; `a*b` is `a + b + a:b`; `(...)^n` joins n times; `-` removes. At the end the terms are put in
the order of their number of variables, otherwise as they came. The work is counted while it is done, so
that no formula can ask for more than :data:`MAX_TERMS` terms or :data:`MAX_WORK` unions.

Reference: J. M. Chambers and T. J. Hastie, Statistical Models in S (1992), section 2.4.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula.grammar import (
    Bar,
    Constant,
    Leaf,
    Node,
    Power,
    Product,
    Sum,
    Variable,
    plain,
    quote_name,
    read,
    refusal,
    render,
)

__all__ = ["MAX_TERMS", "MAX_WORK", "Formula", "RandomTerm", "Term", "parse", "without"]

#: The most terms of a formula, fixed and random together, at any stage of its expansion.
MAX_TERMS: Final = 200
#: The most unions of two terms that an expansion may take.
MAX_WORK: Final = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """A fixed term: one variable or the interaction of several.

    Attributes
    ----------
    variables : tuple of Variable
        In the order in which the formula first names them.
    full : tuple of bool
        For each variable, whether a factor is coded by one column per level (True) or by contrasts.
    """

    variables: tuple[Variable, ...]
    full: tuple[bool, ...]

    @property
    def label(self) -> str:
        """Variables joined by colons, as R labels the term."""
        return ":".join(v.label for v in self.variables)

    @property
    def order(self) -> int:
        """Number of variables."""
        return len(self.variables)


@dataclasses.dataclass(frozen=True, slots=True)
class RandomTerm:
    """A random term ``(slopes | groups)``.

    Attributes
    ----------
    groups : tuple of str
        Columns whose combinations are the groups; ``("a", "b")`` for ``a:b``.
    slopes : tuple of str
        Columns with a random slope, correlated with the intercept if there is one.
    intercept : bool
        Whether there is a random intercept.
    """

    groups: tuple[str, ...]
    slopes: tuple[str, ...] = ()
    intercept: bool = True

    @property
    def group(self) -> str:
        """Name of the grouping: the columns joined by colons."""
        return ":".join(map(quote_name, self.groups))

    @property
    def label(self) -> str:
        """As the language writes it."""
        inside = ["1" if self.intercept else "0", *map(quote_name, self.slopes)]
        return f"({' + '.join(inside)} | {self.group})"


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula that has been read. Two are equal when they ask for the same model in the same order.

    Attributes
    ----------
    text : str
        As it was written.
    intercept : bool
        Whether the fixed part has an intercept.
    fixed : tuple of Term
        Fixed terms other than the intercept, in R's order.
    random : tuple of RandomTerm
        Random terms, in the order written; ``(1|a/b)`` gives ``(1|a)`` and ``(1|a:b)``.
    variables : tuple of Variable
        Every variable of the fixed part, those of removed terms included (as in R, rows that miss a
        value of one of them are left out).
    columns : tuple of str
        Every column that is named, fixed part first.
    positions : mapping of str to int
        Where in `text` each column is first named, from 0.
    """

    text: str = dataclasses.field(compare=False)
    intercept: bool
    fixed: tuple[Term, ...]
    random: tuple[RandomTerm, ...]
    variables: tuple[Variable, ...]
    columns: tuple[str, ...]
    positions: Mapping[str, int] = dataclasses.field(compare=False, repr=False)
    canonical: str = dataclasses.field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.canonical

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Cross a process boundary as text, which is read again."""
        return parse, (self.text,)


def parse(text: str) -> Formula:
    """Read a formula. Nothing of the text is evaluated.

    Parameters
    ----------
    text : str
        For example ``"~ visit * dose_mg + (1|participant)"``; `docs/formula.md` describes the language.

    Returns
    -------
    Formula
        Its fixed and random terms and the columns it names. Whether a table has these columns is
        checked by :func:`design_matrix`.

    Raises
    ------
    FormulaError
        E-FORMULA-001 for what cannot be read, -002 for a function that is not allowed, -004 for more than
        200 terms, -006 for a random term of a form that is not supported; each with the position.

    Examples
    --------
    >>> formula = parse("~ visit * log2(dose_mg) + (1|participant)")
    >>> [term.label for term in formula.fixed]
    ['visit', 'log2(dose_mg)', 'visit:log2(dose_mg)']
    >>> formula.random[0].groups
    ('participant',)
    """
    tree = read(text)
    expansion = _Expansion(text, tree)
    fixed = expansion.fixed()
    random = tuple(expansion.random())
    if len(fixed) + len(random) > MAX_TERMS:
        raise expansion.too_many(0)
    if not fixed and not expansion.intercept:
        raise refusal(text, 0, "No fixed term is left.", remedy="Leave the intercept in, or add a term.")
    return Formula(
        text=text,
        intercept=expansion.intercept,
        fixed=fixed,
        random=random,
        variables=tuple(expansion.bits),
        columns=tuple(expansion.positions),
        positions=MappingProxyType(expansion.positions),
        canonical=f"~ {render(tree)}",
    )


def without(formula: Formula, column: str) -> Formula:
    """Give the formula of rows that all have one value of a column: it has no part in any term.

    Parameters
    ----------
    formula : Formula
    column : str
        Such as ``visit``, for the biopsies of one visit.

    Returns
    -------
    Formula
        A term of the column alone becomes the intercept; random terms whose groups become those of another
        are left out.

    Examples
    --------
    >>> str(without(parse("~ visit * dose_mg + (1|participant) + (1|participant:visit)"), "visit"))
    '~ 1 + dose_mg + (1 | participant)'
    """
    intercept, fixed = formula.intercept, []
    for term in formula.fixed:
        rest = [v.label for v in term.variables if v.column != column]
        intercept |= not rest
        fixed += [":".join(rest)] if rest else []
    random: dict[tuple[frozenset[str], tuple[str, ...]], str] = {}
    for part in formula.random:
        groups = tuple(g for g in part.groups if g != column)
        slopes = tuple(s for s in part.slopes if s != column)
        if groups and (part.intercept or slopes):
            random.setdefault((frozenset(groups), slopes), RandomTerm(groups, slopes, part.intercept).label)
    parts = [str(int(intercept)), *dict.fromkeys(fixed), *random.values()]
    return parse("~ " + " + ".join(parts))


def _leaves(node: Node) -> Iterator[Leaf]:
    """Fixed variables, from left to right."""
    match node:
        case Leaf():
            yield node
        case Power(base):
            yield from _leaves(base)
        case Product(_, operands):
            for operand in operands:
                yield from _leaves(operand)
        case Sum(summands):
            for _, item in summands:
                yield from _leaves(item)
        case _:
            return


class _Expansion:
    """The expansion of one tree: the variables' bits, the running intercept, the work done."""

    def __init__(self, text: str, tree: Node) -> None:
        self.text = text
        self.tree = tree
        self.intercept = True
        self.work = 0
        self.bits: dict[Variable, int] = {}
        self.positions: dict[str, int] = {}
        self.bars: list[Bar] = []
        for leaf in _leaves(tree):
            self.bits.setdefault(leaf.variable, 1 << len(self.bits))
            self.positions.setdefault(leaf.variable.column, leaf.at)
            if len(self.bits) > MAX_TERMS:
                raise self.too_many(leaf.at)

    def too_many(self, at: int) -> FormulaError:
        return refusal(
            self.text,
            at,
            f"The formula expands to more than {MAX_TERMS} terms.",
            remedy="Name the few interactions that are wanted.",
            code=4,
        )

    def fixed(self) -> tuple[Term, ...]:
        """Expand, order and code the fixed terms."""
        found = self.summed(self.tree, add=True, top=True)
        ordered = sorted(found, key=int.bit_count)
        variables = list(self.bits)
        terms = []
        for place, bits in enumerate(ordered):
            members = tuple(v for i, v in enumerate(variables) if bits >> i & 1)
            full = tuple(_is_full(ordered[:place], bits, self.bits[v]) for v in members)
            terms.append(Term(members, full))
        return tuple(terms)

    def summed(self, node: Node, *, add: bool, top: bool) -> dict[int, None]:
        """Terms of a summand; 0 and 1 set the intercept, and where they are taken away, the reverse."""
        match node:
            case Constant(value):
                self.intercept = (value == 1) == add
                return {}
            case Bar():
                if not (top and add):
                    raise refusal(
                        self.text,
                        node.at,
                        "A random term can only be added, outside other parentheses.",
                        remedy="Write it as a summand of its own: ~ ... + (1|participant).",
                    )
                self.bars.append(node)
                return {}
            case Sum(summands):
                found: dict[int, None] = {}
                here = top and node is self.tree
                for sign, item in summands:
                    terms = self.summed(item, add=add == (sign == "+"), top=here)
                    if sign == "+":
                        found |= terms
                    else:
                        found = {t: None for t in found if t not in terms}
                    self.spend(0, len(found), item.at)
                return found
            case _:
                return self.joined(node)

    def joined(self, node: Node) -> dict[int, None]:
        """Terms of an operand of `:`, `*` or `^`, where the intercept and random terms have no place."""
        match node:
            case Leaf(variable):
                return {self.bits[variable]: None}
            case Sum(summands):
                found: dict[int, None] = {}
                for sign, item in summands:
                    terms = self.joined(item)
                    found = found | terms if sign == "+" else {t: None for t in found if t not in terms}
                    self.spend(0, len(found), item.at)
                return found
            case Power(base, exponent):
                return self.power(self.operand(base), exponent, node.at)
            case Product(operator, operands):
                found = self.operand(operands[0])
                for operand in operands[1:]:
                    right = self.operand(operand)
                    crossed = self.cross(found, right, operand.at)
                    found = crossed if operator == ":" else found | right | crossed
                    self.spend(0, len(found), operand.at)
                return found
            case Constant():
                raise refusal(
                    self.text,
                    node.at,
                    "0 and 1 stand for the intercept and can only be added or removed.",
                    remedy="Write ~ 0 + ... or ~ ... - 1.",
                )
            case Bar():
                raise refusal(
                    self.text,
                    node.at,
                    "A random term can only be added.",
                    remedy="Write it as a summand of its own: ~ ... + (1|participant).",
                )

    def operand(self, node: Node) -> dict[int, None]:
        """Terms of an operand, of which there must be some: R reads a product with nothing in odd ways."""
        found = self.joined(node)
        if not found:
            raise refusal(
                self.text, node.at, "Nothing is left here to multiply.", remedy="Leave this part out."
            )
        return found

    def power(self, base: dict[int, None], exponent: int, at: int) -> dict[int, None]:
        """Join `base` with itself; once nothing changes, further joining changes nothing."""
        found = base
        for _ in range(exponent - 1):
            joined = self.cross(base, found, at)
            if list(joined) == list(found):
                break
            found = joined
        return found

    def cross(self, left: Iterable[int], right: Iterable[int], at: int) -> dict[int, None]:
        """Unions of each term on the left with each on the right."""
        rights = list(right)
        found: dict[int, None] = {}
        for a in left:
            for b in rights:
                found[a | b] = None
            self.spend(len(rights), len(found), at)
        return found

    def spend(self, unions: int, terms: int, at: int) -> None:
        """Count work; refuse more than is allowed."""
        self.work += unions
        if terms > MAX_TERMS or self.work > MAX_WORK:
            raise self.too_many(at)

    def random(self) -> Iterator[RandomTerm]:
        """Expand nested groups; each random term may be given once."""
        seen: set[tuple[frozenset[str], frozenset[str]]] = set()
        for bar in self.bars:
            repeated = len(set(bar.groups)) < len(bar.groups)
            first = 1 if bar.nested else len(bar.groups)
            for column in (*bar.slopes, *bar.groups):
                self.positions.setdefault(column, bar.at)
            for size in range(first, len(bar.groups) + 1):
                term = RandomTerm(bar.groups[:size], bar.slopes, bar.intercept)
                effects = {*bar.slopes, "1"} if bar.intercept else {*bar.slopes}
                keys = {(frozenset(term.groups), frozenset({effect})) for effect in effects}
                if repeated or keys & seen:
                    raise refusal(
                        self.text,
                        bar.at,
                        "A group or a random effect is given twice.",
                        remedy="Keep one of them; (1|a/b) already holds (1|a).",
                        value=plain(term.label),
                    )
                seen |= keys
                yield term


def _is_full(before: Iterable[int], bits: int, variable: int) -> bool:
    """Whether a factor needs one column per level: its margin is absent from the terms before.

    The margin is the term without the variable; the empty margin is always there (without an intercept,
    the first factor of the model is treated by :func:`design_matrix`), and a margin counts as there when
    any earlier term contains it, as in R.
    """
    margin = bits & ~variable
    return margin != 0 and not any(margin & ~earlier == 0 for earlier in before)
