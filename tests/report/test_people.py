"""What is told of each participant at a glance."""

from __future__ import annotations

from types import ModuleType

import pandas as pd

from pdbiomarker.plot.numbers import format_number
from pdbiomarker.report import build
from pdbiomarker.report.people import people_of


def test_every_participant_has_dose_and_change_or_the_reason(fake: ModuleType) -> None:
    result = fake.make_result(genes=1, ids=fake.HOSTILE)
    people = people_of(result, None)
    assert [one.participant for one in people] == [str(p) for p in result.study.participants.index]
    own = result.changes[
        (result.changes["feature"] == "CD8_density_tissue") & (result.changes["set"] == "strict")
    ]
    ratios = own.set_index("participant_id")["ratio"]
    for one, dose in zip(people, result.study.participants["dose_mg"], strict=True):
        facts = {fact.name: fact.value for fact in one.facts}
        assert facts["dose (mg)"] == f"{dose:g}"
        told = facts["CD8 density (tissue)"]
        if pd.notna(ratios[one.participant]):
            assert told == f"× {format_number(float(ratios[one.participant]))}"
            assert one.evaluable
        else:
            assert told.startswith(("not evaluable: no ", "not evaluable: Not adequate: "))
            assert not one.evaluable
    assert sum(one.evaluable for one in people) == 9


def test_items_lead_back_to_their_participant(fake: ModuleType) -> None:
    people = people_of(fake.make_result(genes=1), None)
    assert people[0].items == {"biopsy": ("P01-1", "P01-2")}
    assert people[2].items == {"biopsy": ("P03-1",)}


def test_the_front_page_names_plan_and_data_by_hash(fake: ModuleType) -> None:
    """Hash of the lines 'hash  file': as `sha256sum` writes them, piped into `sha256sum`."""
    document = build(fake.make_result(genes=1).study, fake.make_result(genes=1))
    facts = {fact.name: fact.value for fact in document.facts}
    assert facts["Plan"] == "3f5a9c0b1234"
    assert facts["Data"] == "381cc2c7feb4"
    captions = [getattr(b, "caption", "") for s in document.sections for b in s.blocks]
    assert any(facts["Data"] in c and len(c.split(": ")[-1].rstrip(".")) == 64 for c in captions)
