"""Write random.txt: formulas made at random from a fixed seed, for make_formula.R.

Run in this folder: python random_formulas.py
"""

import random
from pathlib import Path

VARIABLES = [
    *["visit", "arm", "sex", "site", "treated", "age", "dose_mg", "`tumour type`", "marker", "grade"],
    *["log2(dose_mg)", "sqrt(age)", "C(visit, sum)", "C(sex, helmert)", "C(arm, poly)", "C(grade, sum)"],
    "`LDH (U/L)`",
]


def expression(generator: random.Random, depth: int) -> str:
    """One expression; terms are never taken away until nothing is left to multiply."""
    if depth == 0 or generator.random() < 0.3:
        return generator.choice(VARIABLES)
    operator = generator.choice(["+", "+", "*", ":", "^", "("])
    first, second = expression(generator, depth - 1), expression(generator, depth - 1)
    if operator == "^":
        return f"({first} + {second})^{generator.randint(2, 3)}"
    if operator == "(":
        return f"({first})"
    if operator in "*:" and generator.random() < 0.6:
        first, second = f"({first})", f"({second})"
    return f"{first} {operator} {second}"


def main() -> None:
    """Write the file."""
    generator = random.Random(7354)  # noqa: S311
    found: dict[str, None] = {}
    while len(found) < 400:
        before = generator.choice(["", "", "", "0 + ", "-1 + "])
        after = generator.choice(["", "", "", " - 1", " + 0", " - visit:sex", " - age"])
        found[f"~ {before}{expression(generator, 3)} + {generator.choice(VARIABLES)}:dose_mg{after}"] = None
    Path("random.txt").write_text("\n".join(found) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
