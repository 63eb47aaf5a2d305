"""Looking genes up: what the page holds of each, in how many bytes."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from pdbiomarker.plot.numbers import format_number, format_p
from pdbiomarker.report import build
from pdbiomarker.report.content import Column, Every, Table
from pdbiomarker.report.lookup import every_row, packed, text_of

COLUMNS = [("effect", Column("effect", "number")), ("p", Column("p", "p")), ("status", Column("status"))]


def _read(column: dict[str, Any], n: int) -> list[str]:
    """As the page's script reads it."""
    if "all" in column:
        return [column["all"]] * n
    if "texts" in column:
        return [column["start"] + text for text in column["texts"]]
    parts = column["joined"].split(";")
    return [column["known"][int(i)] for i in parts] if "known" in column else parts


def _genes(n: int, name: str = "G{}") -> pd.DataFrame:
    rng = np.random.default_rng(3)
    estimate, p = rng.normal(0, 1.3, n), rng.random(n) ** 3
    p[:3] = [1e-300, 0.0, np.nan]
    return pd.DataFrame(
        {
            **{
                "label": [name.format(i) for i in range(n)],
                "feature": [f"ENSG{i:011d}" for i in range(n)],
            },
            **{"estimate": estimate, "effect": np.exp2(estimate), "effect_low": np.exp2(estimate - 0.5)},
            **{"effect_high": np.exp2(estimate + 0.5), "p": p, "q": np.minimum(p * 2, 1), "n_pairs": 43},
            **{"df": rng.uniform(40, 50, n), "status": np.where(np.isnan(p), "excluded", "ok")},
            "note": np.where(np.isnan(p), "too few reads", ""),
        }
    )


def test_every_value_is_written_as_tables_write_it() -> None:
    rows = _genes(200, "GENE{0};|<{0}>")
    every = every_row(rows, COLUMNS, "volcano")
    content = json.loads(text_of(packed(every)))
    read = {c["label"]: _read(c, content["n"]) for c in content["columns"]}
    assert read["gene"] == rows["label"].tolist()
    assert read["effect"] == [format_number(v) for v in rows["effect"]]
    assert read["p"] == [format_p(v) for v in rows["p"]]
    assert read["status"] == rows["status"].tolist()
    x, y = (p.split(";") for p in content["points"])
    assert (x[2], y[2]) == ("", "")
    assert [int(v) / 100 for v in x[3:]] == [round(v, 2) for v in rows["estimate"][3:]]
    assert y[:2] == ["30000", "30000"]  # where the figure's axis ends


def test_twenty_thousand_genes_take_about_a_megabyte() -> None:
    columns = [
        *[("effect", Column("effect", "number")), ("effect_low", Column("CI low", "number"))],
        *[("effect_high", Column("CI high", "number")), ("n_pairs", Column("pairs", "number"))],
        *[("df", Column("df", "df")), ("p", Column("p", "p")), ("q", Column("BH q", "p"))],
        *[("status", Column("status")), ("note", Column("note"))],
    ]
    text = text_of(packed(every_row(_genes(20_000), columns, "volcano")))
    assert len(text.encode()) < 1.25e6


def test_json_in_a_page_ends_no_element() -> None:
    hostile = ["</script><script>alert(1)</script>", "<!--", "&lt;", "\u2028\u2029", "a\\u003c"]
    text = text_of(hostile)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == hostile


def test_the_report_holds_every_gene_with_its_reason(fake: ModuleType) -> None:
    result = fake.make_result(genes=70)
    document = build(result.study, result)
    tables = [b for s in document.sections for b in s.blocks if isinstance(b, Table) and b.every is not None]
    assert len(tables) == 1
    every = tables[0].every
    assert isinstance(every, Every)
    assert every.figure in {getattr(b, "key", "") for s in document.sections for b in s.blocks}
    assert every.columns[0].label == "gene"
    assert len(every.values[0]) == 70
    at = {c.label: i for i, c in enumerate(every.columns)}
    constant = every.values[at["status"]].index("constant")
    assert every.values[at["note"]][constant] == "no variation between biopsies"
    assert every.places[0][constant] is None
