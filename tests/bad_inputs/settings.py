"""Bad and odd settings: study.yaml, plan.yaml, formulas, contrasts, locks, panels, rules, borrowed noise."""

from __future__ import annotations

from typing import Any

from bad_inputs.case import At, Case, Expect, handled, refused, told
from bad_inputs.seeds import STUDY, edited, one, study_with

from pdbiomarker.reference import reference_path

YAML, PLAN = "study.yaml", "plan.yaml"


def _study(name: str, trust: str, how: str, make: Any, expect: Expect) -> Case:
    return Case(f"study.yaml/{name}", "study folder", how, make, expect, trust)


def _line(old: str, new: str) -> Any:
    return edited(YAML, (old, new))


def _whole(text: str | bytes) -> Any:
    return study_with({YAML: text})


def _study_yaml() -> list[Case]:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(9)
    )
    text = STUDY[YAML]
    of_file = [
        ("tag", "4", "a tag that would run code", _line("id: BAD-1", "id: !!python/object/apply:os.system ['touch canary']"), refused(At("E-STUDY-002", "study.yaml:1 [5]", "tag"))),
        ("plain tag", "4", "!!str before a value", _line("id: BAD-1", "id: !!str BAD-1"), refused(At("E-STUDY-002", "study.yaml:1 [5]", "tag"))),
        ("alias bomb", "4", "nine levels of nine aliases", _whole(bomb), refused(At("E-STUDY-002", "study.yaml:1 [4]", "anchor"))),
        ("anchor", "4", "an anchor that nothing uses", _line("id: BAD-1", "id: &x BAD-1"), refused(At("E-STUDY-002", "study.yaml:1 [5]", "anchor"))),
        ("merge key", "4", "<<: takes another mapping in", _line("adequacy:", "<<: {id: X}\nadequacy:"), refused(At("E-STUDY-001", "study.yaml:6 [<<]"))),
        ("key twice", "4", "the key id stands twice", _line("data_cutoff: 2025-06-30", "id: BAD-2"), refused(At("E-STUDY-002", "study.yaml:2 [1]", "lines 1 and 2"))),
        ("visit twice", "4", "a visit stands twice", _line("  C2D1: {day: 29, window: 7}", "  screening: {day: 29, window: 7}"), refused(At("E-STUDY-002", "study.yaml:5 [3]", "lines 4 and 5"))),
        ("too deep", "4", "10,000 brackets", _whole("id: " + "[" * 10_000 + "]" * 10_000), refused(At("E-STUDY-002", "study.yaml:1 [24]", "Nesting"))),
        ("too large", "4", "2 MB of comment", lambda folder: study_with({YAML: "# " + "x" * (2 << 20)})(folder), refused(At("E-STUDY-002", "study.yaml", "1 MB"))),
        ("list at the root", "4", "a list in place of keys", _whole("- id: X\n"), refused(At("E-STUDY-002", "study.yaml:1 [1]"))),
        ("two documents", "4", "a second document", _whole(text + "---\nid: X\n"), refused(At("E-STUDY-002", "study.yaml:10 [1]"))),
        ("tabs", "4", "a tab for indentation", _line("  screening", "\tscreening"), refused(At("E-STUDY-002", "study.yaml:4 [1]"))),
        ("control character", "4", "a BEL in a value", _line("BAD-1", "BAD\x07"), refused(At("E-STUDY-002", "study.yaml:1"))),
        ("brackets not closed", "4", "a window without its end", _line("[-28, -1]", "[-28, -1"), refused(At("E-STUDY-002", "study.yaml:5 [7]"))),
        ("empty", "23", "nothing in the file", _whole(""), refused(At("E-FILE-004", "study.yaml"))),
        ("Latin-1", "22", "0xE9 in the id", _whole(text.replace("BAD-1", "BAD-é").encode("latin-1")), refused(At("E-FILE-003", "study.yaml:1"))),
        ("UTF-16", "22", "in UTF-16", _whole(text.encode("utf-16")), refused(At("E-FILE-003", "study.yaml:1"))),
        ("pickle", "5", "a pickle under the name", _whole(b"\x80\x04cposix\nsystem\n."), refused(At("E-FILE-003", "study.yaml:1"))),
        ("missing", "", "there is no study.yaml", study_with({YAML: None}), refused(At("E-FILE-001", "study.yaml"))),
        ("BOM", "22", "a byte-order mark", _whole(b"\xef\xbb\xbf" + text.encode()), handled(lambda s: s.spec.id, "BAD-1", "the same file without it")),
        ("CRLF", "22", "lines end in CR LF", _whole(text.replace("\n", "\r\n")), handled(lambda s: s.spec.id, "BAD-1", "the same file with LF")),
    ]  # fmt: skip
    scalars = {
        "012": "012", "no": "no", "1e5": "1e5", "12:30": "12:30", "2025-06-30": "2025-06-30", "0x1F": "0x1F", "1_000": "1_000",
        "on": "on", "'null'": "null", "=1+1": "=1+1",
    }  # fmt: skip
    of_value = [
        (f"id {typed}", "4", f"id: {typed}", _line("id: BAD-1", f"id: {typed}"), handled(lambda s: s.spec.id, want, "the text as typed"))
        for typed, want in scalars.items()
    ]  # fmt: skip
    odd = [
        ("id null", "4", "id: null", _line("id: BAD-1", "id: null"), refused(At("E-STUDY-001", "study.yaml:1 [id]"))),
        ("no id", "", "no key id", _line("id: BAD-1\n", ""), refused(At("E-STUDY-001", "study.yaml:1 [id]", "missing"))),
        ("unknown key", "", "a key misspelt", _line("adequacy:", "adequecy:"), refused(At("E-STUDY-001", "study.yaml:6 [adequecy]"))),
        ("cut-off not ISO", "20", "data_cutoff: 30/06/2025", _line("2025-06-30", "30/06/2025"), refused(At("E-STUDY-001", "study.yaml:2 [data_cutoff]", "30/06/2025"))),
        ("cut-off of no calendar", "20", "data_cutoff: 2025-06-31", _line("2025-06-30", "2025-06-31"), refused(At("E-STUDY-001", "study.yaml:2 [data_cutoff]", "2025-06-31"))),
        ("no visits", "", "visits: {}", edited(YAML, ("visits:\n  screening: [-28, -1]\n  C2D1: {day: 29, window: 7}", "visits: {}")), refused(At("E-STUDY-001", "study.yaml:3 [visits]"))),
        ("window backwards", "20", "[-1, -28]", _line("[-28, -1]", "[-1, -28]"), refused(At("E-STUDY-001", "study.yaml:4 [visits.screening]"))),
        ("window with day 0", "20", "[-28, 0]", _line("[-28, -1]", "[-28, 0]"), refused(At("E-STUDY-001", "study.yaml:4 [visits.screening]", "day 0"))),
        ("windows overlap", "20", "C2D1 reaches into screening", _line("{day: 29, window: 7}", "[-5, 40]"), refused(At("E-STUDY-003", "study.yaml:5 [visits.C2D1]"))),
        ("window of text", "", "[a, b]", _line("[-28, -1]", "[a, b]"), refused(At("E-STUDY-001", "study.yaml:4 [visits.screening]"))),
        ("window of three", "", "three days", _line("[-28, -1]", "[-28, -7, -1]"), refused(At("E-STUDY-001", "study.yaml:4 [visits.screening]"))),
        ("half a day", "", "day: 29.5", _line("day: 29", "day: 29.5"), refused(At("E-STUDY-001", "study.yaml:5 [visits.C2D1.day]", "29.5"))),
        ("a day of dates", "20", "day: 45000", _line("day: 29", "day: 45000"), refused(At("E-STUDY-001", "study.yaml:5 [visits.C2D1]"))),
        ("window below 0", "", "window: -7", _line("window: 7", "window: -7"), refused(At("E-STUDY-001", "study.yaml:5 [visits.C2D1.window]", "-7"))),
        ("visits by case", "16", "c2d1 beside C2D1", _line("adequacy:", "  c2d1: [60, 70]\nadequacy:"), refused(At("E-STUDY-001", "study.yaml:6 [visits.c2d1]"))),
        ("name and day", "20", "C2D1 on day 28", _line("day: 29, window: 7", "day: 28, window: 7"), told(At("E-STUDY-010", "study.yaml:5 [visits.C2D1]"))),
        ("adequacy of text", "", "a threshold that is a text", _line("viable_tumor_cells: 100", "viable_tumor_cells: many"), refused(At("E-STUDY-001", "study.yaml:6 [adequacy.viable_tumor_cells]"))),
        ("adequacy of no column", "2", "a column that no sheet has", _line("viable_tumor_cells: 100", "viable_cells: 100"), refused(At("E-STUDY-001", "study.yaml [adequacy.viable_cells]", "viable_cells"))),
        ("adequacy infinite", "21", "a threshold of .inf", _line("viable_tumor_cells: 100", "viable_tumor_cells: .inf"), refused(At("E-STUDY-001", "study.yaml:6 [adequacy.viable_tumor_cells]"))),
        ("assay kind", "", "a kind that does not exist", _line("kind: count", "kind: counts"), refused(At("E-STUDY-001", "study.yaml:8 [assays.rna.kind]", "counts"))),
        ("assay name", "7", "a name with a slash", _line("  rna:", "  ../rna:"), refused(At("E-STUDY-001", "study.yaml:8 [assays.../rna]"))),
        ("assay file outside", "7", "file: ../counts.csv", _line("file: counts.csv", "file: ../counts.csv"), refused(At("E-FILE-006", "study.yaml [assays.rna.file]"))),
        ("assay file absolute", "7", "file: /etc/passwd", _line("file: counts.csv", "file: /etc/passwd"), refused(At("E-FILE-006", "study.yaml [assays.rna.file]"))),
        ("assay file by address", "39", "file: http://...", _line("file: counts.csv", "file: http://example.org/counts.csv"), refused(At("E-FILE-001", "study.yaml [assays.rna.file]"))),
        ("assay file a link outside", "7", "counts.csv is a link to a file outside", _link, refused(At("E-FILE-006", "study.yaml [assays.rna.file]"))),
        ("assay file missing", "", "no such file", _line("file: counts.csv", "file: count.csv"), refused(At("E-FILE-001", "study.yaml [assays.rna.file]", "count.csv"))),
        ("slides and file", "", "an assay of slides and a file", _line("{slides: slides.csv, panel: cd8}", "{slides: slides.csv, panel: cd8, file: counts.csv}"), refused(At("E-STUDY-001", "study.yaml:9 [assays.ihc]"))),
        ("column that no sheet has", "2", "columns: {sample: biopsy_id}", _line("adequacy:", "columns: {sample: biopsy_id}\nadequacy:"), refused(At("E-STUDY-001", "study.yaml [columns.sample]", "sample"))),
        ("cv of no assay", "", "assay_cv_pct of an assay that is not there", _line("adequacy:", "declared: {assay_cv_pct: {rnb: 10}}\nadequacy:"), refused(At("E-STUDY-001", "study.yaml:6 [declared.assay_cv_pct.rnb]", "rnb"))),
        ("cv negative", "", "assay_cv_pct: -10", _line("adequacy:", "declared: {assay_cv_pct: {rna: -10}}\nadequacy:"), refused(At("E-STUDY-001", "study.yaml:6 [declared.assay_cv_pct.rna]"))),
    ]  # fmt: skip
    return [_study(*row) for row in (*of_file, *of_value, *odd)]


def _link(folder: Any) -> Any:
    made = study_with({"counts.csv": None})(folder)
    (made.parent / "outside.csv").write_text(STUDY["counts.csv"], encoding="utf-8")
    (made / "counts.csv").symlink_to(made.parent / "outside.csv")
    return made


def _unmeasured(name: str, how: str, feature: str, expect: Expect) -> Case:
    """A plan whose primary feature is one of a table of values."""
    yaml = STUDY[YAML].replace(
        "  ihc: {slides: slides.csv, panel: cd8}\n", "  flow: {kind: score, file: flow.csv}\n"
    )
    files = {
        YAML: yaml,
        PLAN: STUDY[PLAN].replace("{genes: rna}", f"{{primary: ['flow:{feature}']}}"),
        "flow.csv": "feature,P1-S,P1-T,P2-S,P2-T,P3-S,P3-T\nCD8,1,2,3,4,5,6\nCD4,,,,,,\nNK,1,,2,,3,\n",
        "slides.csv": None,
    }
    return Case(f"plan.yaml/{name}", "study, before its slides", how, study_with(files), expect)


def _plans() -> list[Case]:
    def plan(name: str, trust: str, how: str, old: str, new: str, expect: Expect) -> Case:
        return Case(f"plan.yaml/{name}", "plan of a study", how, edited(PLAN, (old, new)), expect, trust)

    seed, form = "seed: 1\n", '"~ visit + (1|participant)"'
    cont, fam = "C2D1 - screening", "{genes: rna}"
    return [
        plan("unknown key", "", "a key misspelt", "contrasts:", "contrast:", refused(At("E-PLAN-001", "plan.yaml:2 [contrast]"))),
        plan("seed negative", "", "seed: -1", seed, "seed: -1\n", refused(At("E-PLAN-001", "plan.yaml:4 [seed]", "-1"))),
        plan("seed of text", "", "seed: one", seed, "seed: one\n", refused(At("E-PLAN-001", "plan.yaml:4 [seed]", "one"))),
        plan("seed true", "4", "seed: true", seed, "seed: true\n", refused(At("E-PLAN-001", "plan.yaml:4 [seed]"))),
        plan("seed too large", "4", "seed: 2^63", seed, f"seed: {2**63}\n", refused(At("E-PLAN-001", "plan.yaml:4 [seed]"))),
        plan("seed in octal", "4", "seed: 012 is not 10", seed, "seed: 012\n", refused(At("E-PLAN-001", "plan.yaml:4 [seed]", "012"))),
        plan("ddf unknown", "", "ddf: kenward", seed, "ddf: kenward\n", refused(At("E-PLAN-001", "plan.yaml:4 [ddf]", "kenward"))),
        plan("replicates no", "4", "replicates: no", seed, "replicates: no\n", refused(At("E-PLAN-001", "plan.yaml:4 [replicates]", "no"))),
        plan("moderation yes", "4", "moderation: yes", seed, "moderation: yes\n", refused(At("E-PLAN-001", "plan.yaml:4 [moderation]", "yes"))),
        plan("formula runs code", "1", "I(__import__('os').system(..))", form, "\"~ visit + I(__import__('os').system('touch canary'))\"", refused(At("E-FORMULA-001", "plan.yaml:1 [formula, position 13]"))),
        plan("formula of no column", "2", "a column that no sheet has", form, '"~ visit + weigth_kg + (1|participant)"', refused(At("E-FORMULA-003", "plan.yaml:1 [formula]", "weigth_kg"))),
        plan("formula below the biopsy", "", "a random term of the biopsy", form, '"~ visit + (1|biopsy)"', refused(At("E-FORMULA-006", "plan.yaml:1 [formula]"))),
        plan("contrast of no visit", "", "C3D1 - screening", cont, "C3D1 - screening", refused(At("E-PLAN-002", "plan.yaml:2 [contrasts.on_treatment]", "C3D1"))),
        plan("contrast of code", "1", "C2D1 - __import__('os')", cont, "C2D1 - __import__('os')", refused(At("E-PLAN-002", "plan.yaml:2 [contrasts.on_treatment]"))),
        plan("contrast with itself", "", "C2D1 - C2D1", cont, "C2D1 - C2D1", refused(At("E-PLAN-002", "plan.yaml:2 [contrasts.on_treatment]"))),
        plan("family of no assay", "", "families: {genes: rnb}", fam, "{genes: rnb}", refused(At("E-PLAN-003", "plan.yaml:3 [families.genes]", "rnb"))),
        _unmeasured("no value of a primary feature", "a primary feature whose cells are all empty", "CD4", told(At("E-PLAN-290", "plan.yaml [families.primary]", "have no value: CD4"))),
        _unmeasured("no value at a visit", "a primary feature measured at screening only", "NK", told(At("E-PLAN-290", "plan.yaml [families.primary]", "have no value at C2D1: NK"))),
        plan("family a number", "", "families: {genes: 7}", fam, "{genes: 7}", refused(At("E-PLAN-001", "plan.yaml:3 [families.genes]", "7"))),
        plan("looks backwards", "", "look 3 of 2", seed, "looks: {look: 3, of: 2, boundary: obrien-fleming}\n", refused(At("E-PLAN-001", "plan.yaml:4 [looks.look]"))),
        plan("rules outside", "7", "a rule's file above the study", seed, "decisions: [../rule.yaml]\n", handled(lambda p: tuple(p.decisions["rules"]), ("../rule.yaml",), "read here, refused by the check of the study (E-RULE-010)")),
        plan("event without column", "", "an event of a column that is not there", seed, "intercurrent: {steroids: {column: steroid_day, strategy: exclude}}\n", refused(At("E-PLAN-010", "plan.yaml:4 [intercurrent.steroids.column]", "steroid_day"))),
        plan("event strategy", "", "a strategy that does not exist", seed, "intercurrent: {steroids: {column: site, strategy: ignore}}\n", refused(At("E-PLAN-001", "plan.yaml:4 [intercurrent.steroids.strategy]", "ignore"))),
        plan("event of words", "", "days that are names of sites", seed, "intercurrent: {steroids: {column: site, strategy: exclude}}\n", refused(At("E-PLAN-011"))),
        plan("concordance of one", "", "a pair of one", seed, "concordance: [[rna:GENE001]]\n", refused(At("E-LINK-004", "plan.yaml:4 [concordance]"))),
        Case("plan.yaml/three faults", "plan of a study", "key, contrast and family at once",
             edited(PLAN, (cont, "C3D1 - screening"), (fam, "{genes: rnb}"), ("seed: 1\n", "seed: 1\nddf: residual\n"), (form, '"~ visit + weigth_kg + (1|participant)"')),
             refused(At("E-PLAN-002", "plan.yaml:2 [contrasts.on_treatment]"), At("E-PLAN-003", "plan.yaml:3 [families.genes]"), At("E-FORMULA-003", "plan.yaml:1 [formula]"))),
        Case("plan.yaml/empty", "plan", "an empty plan", one("plan.yaml", "\n"), refused(At("E-FILE-004", "plan.yaml")), "23"),
        Case("plan.yaml/a text", "plan", "a plan that is one word", one("plan.yaml", "yes\n"), refused(At("E-STUDY-002", "plan.yaml:1 [1]")), "4"),
        Case("plan.yaml/missing", "plan", "no such file", lambda folder: folder / "plan.yaml", refused(At("E-FILE-001", "plan.yaml"))),
        Case("plan.yaml/order of keys", "plan", "the keys in another order", one("plan.yaml", "seed: 1\nfamilies: {genes: rna}\ncontrasts: {on_treatment: C2D1 - screening}\nformula: \"~ visit + (1|participant)\"\n"),
             handled(lambda p: p.hash == __import__("pdbiomarker").Plan("~ visit + (1|participant)", {"on_treatment": "C2D1 - screening"}, {"genes": ("rna",)}).hash, True, "the hash of the same content"), "51"),
    ]  # fmt: skip


HOSTILE = {
    "I() with import": "~ visit + I(__import__('os').system('touch canary'))",
    "braces": "~ visit + {__import__('os').system('touch canary')}",
    "method of a column": "~ visit.to_csv('canary')",
    "left side": "__import__('os').system('x') ~ visit",
    "code in a random term": "~ visit + (1|I(__import__('os')))",
    "lambda": "~ (lambda: 0)()",
    "contrast of code": "~ C(visit, __import__('os'))",
    "exp": "~ exp(dose_mg)",
    "eval": "~ eval('1')",
    "walrus": "~ (x := 1)",
    "f-string": "~ f'{visit}'",
    "semicolon": "~ visit; import os",
    "shell": "~ visit + $(touch canary)",
    "comment": "~ visit # and more",
    "minus one term": "~ visit - 2",
    "power 100": "~ (a + b)^100",
    "too many terms": "~ (a+b+c+d+e+f+g+h+i+j+k+l)^6",
    "not closed": "~ (visit + dose_mg",
    "doubled operator": "~ visit ++ dose_mg",
    "two tildes": "~ visit ~ dose_mg",
    "empty": "",
    "tilde alone": "~",
    "nested random": "~ (1|(1|participant))",
    "NUL": "~ visit\x00",
    "zero width": "~ vi\u200bsit",
    "Cyrillic column": "~ vіsit",
    "long": "~ " + " + ".join(f"x{k}" for k in range(5000)),
    "deep": "~ " + "(" * 5000 + "a" + ")" * 5000,
    "backtick open": "~ `tumour type",
    "NaN as power": "~ (a + b)^nan",
}


def _formulas() -> list[Case]:
    codes = {
        "too many terms": "E-FORMULA-004",
    }  # fmt: skip
    functions = {"method of a column", "exp", "eval"}
    cases = []
    for name, text in HOSTILE.items():
        code = codes.get(name, "E-FORMULA-002" if name in functions else "E-FORMULA-001")
        trust = "3" if code == "E-FORMULA-004" or name in {"power 100", "long", "deep"} else "1"
        cases.append(
            Case(f"formula/{name}", "formula", f"`{text[:48]}`" if text.isprintable() else ascii(text), one("f.txt", text), refused(At(code)), trust)
        )  # fmt: skip
    cases.append(Case("formula/local variable", "formula", "a name that is a Python object", one("f.txt", "~ visit + sys + os"),
                      handled(lambda f: f.columns, ("visit", "sys", "os"), "names are columns, never objects"), "2"))  # fmt: skip
    cases.append(Case("formula/backticks", "formula", "a name with spaces, quotes and code", one("f.txt", "~ `__import__('os')`"),
                      handled(lambda f: f.columns, ("__import__('os')",), "the name of a column"), "1"))  # fmt: skip
    cases.append(Case("formula/dunder", "formula", "an attribute of an object", one("f.txt", "~ visit.__class__"),
                      handled(lambda f: f.columns, ("visit.__class__",), "the name of a column, and nothing else"), "1"))  # fmt: skip
    cases.append(Case("formula/power of a power", "formula", "`((a + b)^50)^50`", one("f.txt", "~ ((a + b)^50)^50"),
                      handled(lambda f: len(f.fixed), 3, "a, b and a:b: a set to any power holds its subsets"), "3"))  # fmt: skip
    contrasts = {
        "code": "C2D1 - __import__('os')", "no such visit": "C2D1 - baseline", "a level alone": "C2D1",
        "itself": "C2D1 - C2D1", "sum not zero": "(C2D1 - screening) + C2D1", "empty": "", "division": "C2D1 / screening",
        "number too long": "1" * 5000 + " * (C2D1 - screening)", "deep": "(" * 3000 + "C2D1 - screening" + ")" * 3000,
        "infinite weight": "1e400 * (C2D1 - screening)", "NUL": "C2D1 - screening\x00",
    }  # fmt: skip
    cases += [
        Case(f"contrast/{name}", "contrast", f"`{text[:48]}`" if text.isprintable() else ascii(text), one("c.txt", text),
             refused(At("E-FORMULA-001" if name not in {"no such visit", "code", "number too long", "infinite weight"} else "E-FORMULA-005")), "1")
        for name, text in contrasts.items()
    ]  # fmt: skip
    return cases


# --- panels, rules, borrowed noise -------------------------------------------------------------------------


def _panel(old: str, new: str) -> str:
    text = reference_path("panels/cd8.yaml").read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(old)
    return text.replace(old, new)


RULE = (
    'criterion: responder_count\nname: own\ntitle: Own rule\nsource: "Ours"\nparticipant: {fold: 2}\n'
    "go_at_least: 3\nof: 10\n"
)


def _files() -> list[Case]:
    panels = [
        ("unknown key", "a key misspelt", "min_cells: 100", "min_cell: 100", At("E-PANEL-001", "", "min_cell")),
        ("thresholds fall", "0.6, 0.4, 0.2", "[0.2, 0.4, 0.6]", "[0.6, 0.4, 0.2]", At("E-PANEL-001", "", "")),
        ("thresholds of text", "a threshold 'low'", "[0.2, 0.4, 0.6]", "[low, 0.4, 0.6]", At("E-PANEL-001", "", "low")),
        ("threshold negative", "a threshold below 0", "[0.2, 0.4, 0.6]", "[-0.2, 0.4, 0.6]", At("E-PANEL-001", "", "")),
        ("threshold infinite", "a threshold of 1e400", "[0.2, 0.4, 0.6]", "[0.2, 0.4, 1e400]", At("E-PANEL-001", "", "1e400")),
        ("vector of two", "a stain vector of two numbers", "dab: [0.27, 0.57, 0.78]", "dab: [0.27, 0.57]", At("E-PANEL-001", "", "")),
        ("vectors parallel", "DAB has haematoxylin's vector", "dab: [0.27, 0.57, 0.78]", "dab: [0.65, 0.70, 0.29]", At("E-PANEL-001", "", "")),
        ("vector of zeros", "a stain vector of 0", "dab: [0.27, 0.57, 0.78]", "dab: [0, 0, 0]", At("E-PANEL-001", "", "")),
        ("compartment", "a compartment that does not exist", "compartment: membrane", "compartment: nucleolus", At("E-PANEL-001", "", "nucleolus")),
        ("areas cross", "least area above the greatest", "min_area_um2: 12", "min_area_um2: 400", At("E-PANEL-001", "", "")),
        ("pixel 0", "pixel_um: 0", "pixel_um: 0.5", "pixel_um: 0", At("E-PANEL-001", "", "")),
        ("white low above high", "white: low 260", "low: 180", "low: 260", At("E-PANEL-001", "", "")),
        ("feature unknown", "a score that does not exist", "  pct: {", "  percent: {", At("E-PANEL-001", "", "percent")),
        ("tag", "a YAML tag", "marker: CD8", "marker: !!python/name:os.system CD8", At("E-STUDY-002", "", "tag")),
        ("marker with a path", "marker: ../x", "marker: CD8", "marker: ../x", At("E-PANEL-001", "", "../x")),
    ]  # fmt: skip
    cases = [
        Case(f"panel/{name}", "panel", how, one("panel.yaml", lambda old=old, new=new: _panel(old, new)), refused(at), "4" if name == "tag" else "")
        for name, how, old, new, at in panels
    ]  # fmt: skip
    cases.append(Case("panel/unknown name", "panel", "a panel by a name misspelt", lambda _f: "cd9",  # type: ignore[arg-type,return-value]
                      refused(At("E-PANEL-002", "[panel]", "cd9"))))  # fmt: skip
    rules = [
        ("no criterion", "", "criterion: responder_count\n", "", "criterion"),
        ("criterion unknown", "", "responder_count", "responders", "responders"),
        ("key unknown", "", "go_at_least: 3", "go_at_last: 3", "go_at_last"),
        ("count negative", "", "go_at_least: 3", "go_at_least: -3", "-3"),
        ("count of text", "", "go_at_least: 3", "go_at_least: three", "three"),
        ("fold 0", "", "fold: 2", "fold: 0", "0"),
        ("fold infinite", "21", "fold: 2", "fold: 1e999", "1e999"),
        ("fold NaN", "21", "fold: 2", "fold: .nan", ".nan"),
        ("twice", "4", "go_at_least: 3", "go_at_least: 3\ngo_at_least: 1", "lines"),
    ]  # fmt: skip
    cases += [
        Case(f"rule/{name}", "decision rule", f"{new.strip() or 'nothing'!s} in place of {old.strip()}", one("rule.yaml", RULE.replace(old, new)),
             refused(At("E-STUDY-002" if name == "twice" else "E-RULE-001", "", value if name != "no criterion" else "")), trust)
        for name, trust, old, new, value in rules
    ]  # fmt: skip
    noise = (
        'version: "1"\nentries:\n  - {feature: CD8A, scale: log2, sigma: 1.2, df: 32, basis: replicate biopsies, bound: none,'
        " population: x, source: y}\n"
    )
    entries = [
        ("sigma 0", "sigma: 1.2", "sigma: 0", "0"), ("sigma negative", "sigma: 1.2", "sigma: -1", "-1"),
        ("sigma infinite", "sigma: 1.2", "sigma: 1e999", "1e999"), ("sigma NaN", "sigma: 1.2", "sigma: .nan", ".nan"),
        ("df 0", "df: 32", "df: 0", "0"), ("scale unknown", "scale: log2", "scale: log10", "log10"),
        ("no source", "source: y", "source: ''", ""), ("basis unknown", "basis: replicate biopsies", "basis: guess", "guess"),
        ("key unknown", "df: 32", "dof: 32", "dof"),
    ]  # fmt: skip
    cases += [
        Case(f"noise/{name}", "borrowed noise", f"{new} in place of {old}", one("noise.yaml", noise.replace(old, new)),
             refused(At("E-NOISE-004", "", value)), "21" if name in {"sigma infinite", "sigma NaN"} else "")
        for name, old, new, value in entries
    ]  # fmt: skip
    cases.append(Case("noise/sound", "borrowed noise", "a file of one's own", one("noise.yaml", noise),
                      handled(lambda t: float(t["sigma"].iloc[0]), 1.2, "the number in the file")))  # fmt: skip
    return cases


# --- locks -------------------------------------------------------------------------------------------------


def _locked(change: Any) -> Any:
    def make(folder: Any) -> Any:
        from pdbiomarker.run.lock import lock_plan

        made = study_with({})(folder)
        lock_plan(made, by="AB", date="2025-07-01")
        path = made / "plan.lock.yaml"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        return made

    return make


def _locks() -> list[Case]:
    return [
        Case("lock/edited", "lock", "the name in a lock was changed", _locked(lambda t: t.replace('"AB"', '"CD"')), refused(At("E-LOCK-002", "", "")), "65"),
        Case("lock/seal cut off", "lock", "half a file", _locked(lambda t: t[: len(t) // 2]), refused(At("E-LOCK-001", "", "")), "41"),
        Case("lock/another study", "lock", "another study's id, edited by hand", _locked(lambda t: t.replace("BAD-1", "BAD-2")), refused(At("E-LOCK-002", "", "")), "65"),
        Case("lock/format", "lock", "a format of the future", _locked(lambda t: t.replace("plan-lock-1", "plan-lock-9")), refused(At("E-LOCK-001", "plan.lock.yaml:1 [format]", "plan-lock-9")), "53"),
        Case("lock/binary", "lock", "bytes that are no text", one("plan.lock.yaml", b"\xff\xfe\x00\x01"), refused(At("E-FILE-003", "", "")), "22"),
    ]  # fmt: skip


CASES = [*_study_yaml(), *_plans(), *_formulas(), *_files(), *_locks()]
