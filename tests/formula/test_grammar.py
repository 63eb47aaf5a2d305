"""What is read, what is refused and where, and that nothing of a formula is ever run."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdbiomarker.errors import FormulaError
from pdbiomarker.formula import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, RandomTerm, design_matrix, parse

SECONDS = 0.5
TABLE = pd.DataFrame(
    {
        "visit": ["pre", "on", "pre", "on"],
        "participant": ["P1", "P1", "P2", "P2"],
        "dose_mg": [1.0, 2.0, 3.0, 5.0],
        "x": [1.0, 3.0, 2.0, 7.0],
    }
)


def labels(text: str) -> list[str]:
    return [term.label for term in parse(text).fixed]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~ a + b", ["a", "b"]),
        ("~ a*b", ["a", "b", "a:b"]),
        ("~ a:b + c", ["c", "a:b"]),
        ("~ b:a + a", ["a", "b:a"]),
        ("~ (a + b + c)^2", ["a", "b", "c", "a:b", "a:c", "b:c"]),
        ("~ (a + b)^99", ["a", "b", "a:b"]),
        ("~ a*b*c - a:b:c", ["a", "b", "c", "a:b", "a:c", "b:c"]),
        ("~ (b + a:l + l)^3", ["b", "l", "b:l", "a:l", "b:a:l"]),
        ("~ l*(a*b) - a:b", ["l", "a", "b", "l:a", "l:b", "l:a:b"]),
        ("~ (l*a)*b - (a:b + l)", ["a", "b", "l:a", "l:b", "l:a:b"]),
        ("~ a:b:b + b^3", ["b", "a:b"]),
        ("~ a + a + a:a", ["a"]),
        ("~\n  a\n  + b\t+ c", ["a", "b", "c"]),
        ("~ `a b` + `a``b` + `log(x)`", ["`a b`", "`a``b`", "`log(x)`"]),
        ("~ `age` + `TRUE` + `über`", ["age", "`TRUE`", "`über`"]),
        ("~ log2( dose ) : C( arm,sum )", ["log2(dose):C(arm, sum)"]),
        ("~ scale(log10(`my dose`))", ["scale(log10(`my dose`))"]),
        ("~ C(arm, treatment, base=`B 2`) + C(arm,treatment,base='it\"s')", None),
        ("~ log + scale + C + base", ["log", "scale", "C", "base"]),
    ],
)
def test_terms_in_the_order_of_r(text: str, expected: list[str] | None) -> None:
    """Orders marked by hand from R 4.2.2 `terms()`; the design tests compare many more."""
    if expected is None:
        expected = ['C(arm, treatment, base = "B 2")', "C(arm, treatment, base = 'it\"s')"]
    assert labels(text) == expected


@pytest.mark.parametrize(
    ("text", "intercept"),
    [
        ("~ a", True),
        ("~ 0 + a", False),
        ("~ a - 1", False),
        ("~ -1 + a", False),
        ("~ a + 0", False),
        ("~ a - 0", True),
        ("~ 0 + 1 + a", True),
        ("~ a - (b - 1)", True),
        ("~ a - (b + 1)", False),
        ("~ a - (b + 0)", True),
        ("~ 1", True),
        ("~ + a", True),
    ],
)
def test_intercept_as_in_r(text: str, intercept: bool) -> None:
    assert parse(text).intercept is intercept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1|participant)", [RandomTerm(("participant",))]),
        ("(1 | participant/biopsy)", [RandomTerm(("participant",)), RandomTerm(("participant", "biopsy"))]),
        ("(1|a:b)", [RandomTerm(("a", "b"))]),
        ("(x|g)", [RandomTerm(("g",), ("x",))]),
        ("(0+x|g)", [RandomTerm(("g",), ("x",), intercept=False)]),
        ("(x-1|g)", [RandomTerm(("g",), ("x",), intercept=False)]),
        ("(1+x+z|g)", [RandomTerm(("g",), ("x", "z"))]),
        ("(1|g) + (0+x|g)", [RandomTerm(("g",)), RandomTerm(("g",), ("x",), intercept=False)]),
        (
            "(1|participant_id/biopsy_id)",
            [RandomTerm(("participant",)), RandomTerm(("participant", "biopsy"))],
        ),
        ("(x|`the site`)", [RandomTerm(("the site",), ("x",))]),
        ("(1|a/b/c)", [RandomTerm(("a",)), RandomTerm(("a", "b")), RandomTerm(("a", "b", "c"))]),
    ],
)
def test_random_terms(text: str, expected: list[RandomTerm]) -> None:
    assert list(parse(f"~ visit + {text}").random) == expected


def test_columns_and_equality() -> None:
    formula = parse("~ visit * log2(dose_mg) + age - age + (x|site/lab)")
    assert formula.columns == ("visit", "dose_mg", "age", "x", "site", "lab")
    assert formula == parse("~ visit*log2( dose_mg )+age-age+(1 + x|site/lab)")
    assert formula != parse("~ log2(dose_mg) * visit + age - age + (x|site/lab)")
    assert [t.label for t in formula.random] == ["(1 + x | site)", "(1 + x | site:lab)"]


CANARY = "canary_was_here"
#: Each is refused by parse(), or by design_matrix() where the words alone are harmless names.
HOSTILE = {
    "import in I": f"~ I(__import__('os').system('touch {CANARY}'))",
    "import bare": f"~ __import__('os').system('touch {CANARY}')",
    "braces": "~ {__import__('os').system('touch canary_was_here')}",
    "braces in I": "~ I({x})",
    "identity": "~ I(x)",
    "identity arithmetic": "~ I(x + 1)",
    "method": f"~ x.to_csv('{CANARY}')",
    "method of backticked": f"~ `x`.to_csv('{CANARY}')",
    "attribute": "~ x.values",
    "dunder": "~ x.__class__",
    "subscript": "~ x[0]",
    "left-hand side": "y ~ x",
    "hostile left-hand side": f"__import__('os').system('touch {CANARY}') ~ x",
    "left-hand side in call": "log(y) ~ x",
    "two tildes": "~ x ~ y",
    "lambda": "~ lambda: x",
    "lambda called": "~ (lambda: x)()",
    "eval": f'~ eval(\'open("{CANARY}", "w")\')',
    "exec": f"~ exec(open('{CANARY}','w'))",
    "open": f"~ open('{CANARY}', 'w')",
    "np": "~ np.log(x)",
    "Q": "~ Q('x')",
    "poly": "~ poly(x, 2)",
    "bs": "~ bs(x, df=4)",
    "code as contrast": f"~ C(visit, __import__('os').system('touch {CANARY}'))",
    "Treatment object": "~ C(visit, Treatment('pre'))",
    "code as base": f"~ C(visit, treatment, base=open('{CANARY}','w'))",
    "code in random slope": f"~ visit + (I(open('{CANARY}','w'))|participant)",
    "code in random group": f"~ visit + (1|I(open('{CANARY}','w')))",
    "R system": f"~ visit + system('touch {CANARY}')",
    "walrus": "~ (x := 1)",
    "comparison": "~ x == 1",
    "and": "~ x & y",
    "semicolon": f"~ x; import os; os.system('touch {CANARY}')",
    "newline statement": f"~ x\nimport os\nos.system('touch {CANARY}')",
    "comment": "~ x # y",
    "string": "~ 'x'",
    "f-string": "~ f'{x}'",
    "in operator": "~ a %in% b",
    "everything": "~ .",
    "look-alike o": "~ d\N{CYRILLIC SMALL LETTER O}se_mg",
    "look-alike plus": "~ x \N{FULLWIDTH PLUS SIGN} dose_mg",
    "look-alike minus": "~ x \N{MINUS SIGN} 1",
    "look-alike tilde": "\N{TILDE OPERATOR} x",
    "full-width letters": "~ \N{FULLWIDTH LATIN SMALL LETTER X}",
    "superscript": "~ (x + dose_mg)\N{SUPERSCRIPT TWO}",
    "other digit": "~ (x + dose_mg)^\N{ARABIC-INDIC DIGIT TWO}",
    "no-break space": "~\N{NO-BREAK SPACE}x",
    "zero width": "~ x\N{ZERO WIDTH SPACE}",
    "zero width in backticks": "~ `x\N{ZERO WIDTH SPACE}`",
    "right-to-left": "~ x \N{RIGHT-TO-LEFT OVERRIDE}+ y",
    "byte order mark": "\N{ZERO WIDTH NO-BREAK SPACE}~ x",
    "surrogate": "~ \ud800",
    "surrogate in backticks": "~ `\ud800`",
    "NUL": "~ x\x00",
    "escape": "~ `x\x1b[2J`",
    "form feed": "~ x\x0c + dose_mg",
    "giant exponent": "~ (x + dose_mg)^999999999999999999",
    "power one": "~ x^1",
    "power zero": "~ x^0",
    "negative power": "~ x^-1",
    "power of power": "~ x^2^99",
    "column as power": "~ x^dose_mg",
    "fraction": "~ 1.5",
    "exponent": "~ 1e5",
    "hexadecimal": "~ 0x10",
    "two": "~ 2",
    "number times column": "~ 2:x",
    "intercept in product": "~ 1:x",
    "no intercept in power": "~ (0 + x + dose_mg)^2",
    "deep parentheses": "~ " + "(" * 4000 + "x" + ")" * 4000,
    "deep functions": "~ " + "log(" * 1000 + "x" + ")" * 1000,
    "unclosed parentheses": "~ " + "(" * 9000,
    "million characters": "~ " + "x+" * 500_000 + "x",
    "million backticks": "~ " + "`" * 1_000_001,
    "eight to the eighth": "~ (a+b+c+d+e+f+g+h)^8",
    "products": "~ " + "*".join("abcdefghijklmnopqrstuvwxyz"),
    "many columns": "~ " + "+".join(f"v{i}" for i in range(1500)),
    "pairs of many": "~ (" + "+".join(f"v{i}" for i in range(150)) + ")^2",
    "nested powers": "~ " + "(" * 18 + "a+b+c+d+e+f+g+h+i+j" + ")^99" * 18,
    "repeated powers": "~ " + "+".join(["(a+b+c+d+e+f+g)^7"] * 500),
    "repeated products": "~ " + "-".join(["(a*b*c*d*e*f*g):(a*b*c*d*e*f*g)"] * 300),
    "only removed": "~ x - x - 1",
    "product with nothing": "~ x * (dose_mg - dose_mg)",
    "power of nothing": "~ x + (dose_mg - dose_mg)^2",
    "nothing": "~",
    "empty": "",
    "blank": "  \n ",
    "no tilde": "x + dose_mg",
    "trailing operator": "~ x +",
    "doubled operator": "~ x + * dose_mg",
    "minus first": "~ -x",
    "juxtaposed": "~ x dose_mg",
    "unclosed backtick": "~ `x",
    "empty backticks": "~ ``",
    "empty parentheses": "~ ()",
    "unclosed quote": "~ C(visit, treatment, base='pre)",
    "nested fixed": "~ x/dose_mg",
    "bare bar": "~ x | participant",
    "double bar": "~ x + (x||participant)",
    "bar in product": "~ x * (1|participant)",
    "bar removed": "~ x - (1|participant)",
    "bar in parentheses": "~ x + ((1|participant) + dose_mg)",
    "bar twice": "~ x + (1|participant) + (1|participant)",
    "bar given by nesting": "~ x + (1|participant) + (1|participant/visit)",
    "bar nothing": "~ x + (0|participant)",
    "bar of number": "~ x + (1|1)",
    "bar without group": "~ x + (1|)",
    "bar of function": "~ x + (log(x)|participant)",
    "bar of interaction": "~ x + (x:dose_mg|participant)",
    "group sum": "~ x + (1|participant + visit)",
    "group mixed": "~ x + (1|participant/visit:x)",
    "group itself": "~ x + (1|participant:participant_id)",
    "two arguments": "~ log(x, 2)",
    "arithmetic in function": "~ log2(dose_mg + 1)",
    "empty call": "~ log()",
    "C in function": "~ log(C(visit))",
    "function in C": "~ C(log(x))",
    "SAS": "~ C(visit, SAS)",
    "base without a level": "~ C(visit, treatment, base=)",
    "other argument": "~ C(visit, treatment, reference=pre)",
    "base of sum": "~ C(visit, sum, base=pre)",
    "called backticks": "~ `log`(x)",
    "reserved": "~ TRUE",
    "not a number": "~ NaN",
    "local variable": "~ SECONDS",
    "builtin": "~ print",
    "unknown": "~ visitt",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_refused_in_time_and_nothing_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRUST A1-A3: refused with its position within half a second of CPU time, and nothing of it is run.

    The shortest of three measurements counts, because other work on the machine stretches them.
    """
    monkeypatch.chdir(tmp_path)
    spent = []
    for _ in range(3):
        start = time.process_time()
        with pytest.raises(FormulaError) as caught:
            design_matrix(parse(text), TABLE)
        spent.append(time.process_time() - start)
        if spent[-1] < SECONDS:
            break
    assert min(spent) < SECONDS
    problem = caught.value.problems[0]
    assert problem.code.startswith("E-FORMULA-")
    assert str(problem.column).startswith("position ")
    assert (
        problem.remedy or "found" in problem.message or text == "~ x^2^99" or problem.code == "E-FORMULA-005"
    )
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
    assert not list(tmp_path.iterdir())


def test_at_least_forty_hostile_formulas() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("value", [None, 1, 1.5, ["~ x"], b"~ x", {"~": "x"}])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(FormulaError, match="is text"):
        parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "position", "code", "says"),
    [
        ("~ a + f(x)", 7, "E-FORMULA-002", "Allowed are C, center, log, log10, log2, scale, sqrt"),
        ("~ a + (b", 9, "E-FORMULA-001", "found the end"),
        ("~ a $ b", 5, "E-FORMULA-001", "by its name alone"),
        ("~ a + 1e5", 7, "E-FORMULA-001", "only numbers are 0 and 1"),
        ("y ~ a", 1, "E-FORMULA-001", "families"),
        ("~ a/b", 4, "E-FORMULA-001", "Write a \\+ a:b"),
        ("~ x + (x:z|g)", 8, "E-FORMULA-006", "only 0, 1 and names"),
        ("~ é", 3, "E-FORMULA-001", "U\\+00E9"),
        ("~ _x", 3, "E-FORMULA-001", "needs backticks"),
    ],
)
def test_refusal_points_at_the_position(text: str, position: int, code: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says) as caught:
        parse(text)
    problem = caught.value.problems[0]
    assert (problem.column, problem.code) == (f"position {position}", code)
    excerpt, pointer = problem.message.split("\n")[1:3]
    assert pointer.index("^") - excerpt.index(text) == position - 1


def test_pointer_in_a_long_formula() -> None:
    text = "~ " + " + ".join(f"column{i}" for i in range(100)) + " + f(x) + z" * 3
    with pytest.raises(FormulaError) as caught:
        parse(text)
    excerpt, pointer = caught.value.problems[0].message.split("\n")[1:3]
    assert excerpt[pointer.index("^") :].startswith("f(x)")
    assert len(excerpt) < 100


def test_limits_are_reached_and_not_passed() -> None:
    assert len(labels("~ " + "+".join(f"v{i}" for i in range(MAX_TERMS)))) == MAX_TERMS
    assert len(labels("~ (a+b+c+d+e+f+g)^7")) == 127
    assert len(labels("~ (" + "+".join(f"v{i}" for i in range(19)) + ")^2")) == 190
    with pytest.raises(FormulaError, match="more than 200 terms"):
        parse("~ " + "+".join(f"v{i}" for i in range(MAX_TERMS)) + "+ (1|g)")
    assert labels("~ " + "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == ["a"]
    with pytest.raises(FormulaError, match="nest deeper"):
        parse("~ " + "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert labels("~ a".ljust(MAX_LENGTH)) == ["a"]
    with pytest.raises(FormulaError, match="10,000 characters"):
        parse("~ a".ljust(MAX_LENGTH + 1))


_NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "visit", "dose_mg", "x.y", ".z", "log", "C", "`a b`", "`q``r`", "`+`", "`TRUE`"]
    ),
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=6).map(
        lambda text: "`" + text.replace("`", "``") + "`"
    ),
)
_CALLS = st.one_of(
    st.builds("{}({})".format, st.sampled_from(["log", "log2", "center", "scale", "sqrt"]), _NAMES),
    st.builds("scale(log10({}))".format, _NAMES),
    st.builds("C({}, {})".format, _NAMES, st.sampled_from(["sum", "poly", "helmert", "treatment"])),
    st.builds(
        "C({}, treatment, base = {})".format, _NAMES, st.sampled_from(["B", "`B`", '"B 2"', "'B\"'", "10"])
    ),
    st.builds("C({})".format, _NAMES),
)
_FIXED = st.recursive(
    st.one_of(_NAMES, _CALLS),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} - {})".format, inner, inner),
        st.builds("{}:{}".format, inner, inner),
        st.builds("{} * {}".format, inner, inner),
        st.builds("({})^{}".format, inner, st.integers(2, 5)),
    ),
    max_leaves=5,
)
_BARS = st.sampled_from(
    ["(1|g)", "(0 + x | g)", "(1|g/h)", "(x+z|g:h)", "(1|`a b`)", "(1|participant_id)", "1", "0"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_FIXED, _BARS), min_size=1, max_size=4).map(" + ".join))
def test_round_trip_of_the_canonical_text(inside: str) -> None:
    """str() of a formula reads back as the same model, and is its own canonical text."""
    try:
        formula = parse(f"~ {inside}")
    except FormulaError:
        return
    again = parse(str(formula))
    assert again == formula
    assert str(again) == str(formula)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.text("~ab01+-*:^()|/`'\",=Clog2.%\\ \n", max_size=40)))
def test_random_text_is_read_or_refused(text: str) -> None:
    allowed = {"E-FORMULA-001", "E-FORMULA-002", "E-FORMULA-004", "E-FORMULA-006"}
    for candidate in (text, "~" + text):
        try:
            parse(candidate)
        except FormulaError as error:
            found = {problem.code for problem in error.problems}
        else:
            found = set()
        assert found <= allowed
