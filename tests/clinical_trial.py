"""A small simulated trial: participants, lesions, outcomes, doses, biopsies, with every kind of ending."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

FIRST = dt.date(2024, 1, 8)


def trial(n: int = 18, seed: int = 7) -> dict[str, pd.DataFrame]:
    """Tables by name: participants, lesions, outcomes, doses, biopsies."""
    rng = np.random.default_rng(seed)
    people, lesions, outcomes, doses, biopsies = [], [], [], [], []
    for i in range(n):
        person, start = f"{i + 1:03d}", FIRST + dt.timedelta(days=14 * i)
        dose = (1, 3, 10)[i % 3]
        people.append((person, start.isoformat(), dose))
        rate = rng.normal(0.10 - 0.09 * (dose / 3), 0.16)  # change of the log diameter per 8 weeks
        base = rng.uniform(18, 60, 2)
        last, died = 0, ""
        for visit in range(1 + int(rng.integers(1, 7))):
            day = start + dt.timedelta(days=-10 if visit == 0 else 56 * visit + int(rng.integers(-3, 4)))
            sizes = base * np.exp(rate * visit + (rng.normal(0, 0.05, 2) if visit else 0))
            if rate < -0.35 and visit >= 2:
                sizes = np.zeros(2)
            for k, mm in enumerate(sizes):
                state = "not evaluable" if visit and rng.random() < 0.02 else ""
                size = None if state else round(float(mm), 1)
                lesions.append((person, day.isoformat(), f"T{k + 1}", "target", size, "no", state))
            last = (day - start).days
            if visit and sizes.sum() > 1.45 * base.sum():
                lesions.append((person, day.isoformat(), "X1", "new", 12.0, "no", ""))
                break
        death = rng.random() < 0.3
        if death:
            died = (start + dt.timedelta(days=last + int(rng.integers(20, 120)))).isoformat()
        ends = rng.random() < 0.75 or death
        end = (start + dt.timedelta(days=max(last, 28))).isoformat() if ends else ""
        contact = (start + dt.timedelta(days=last + 30)).isoformat()
        therapy = (start + dt.timedelta(days=last + 15)).isoformat() if rng.random() < 0.25 else ""
        outcomes.append((person, died, "" if death else contact, therapy, end, "yes"))
        doses += [(person, day) for day in range(1, max(last, 28), 28)]
        biopsies += [(person, -8, True), (person, 29, bool(rng.random() < 0.8))]
    return {
        "participants": pd.DataFrame(people, columns=["participant_id", "first_dose_datetime", "dose_mg"]),
        "lesions": pd.DataFrame(
            lesions,
            columns=["participant_id", "date", "lesion_id", "role", "diameter_mm", "node", "state"],
        ),
        "outcomes": pd.DataFrame(
            outcomes,
            columns=[
                "participant_id",
                "death_date",
                "last_contact_date",
                "new_therapy_date",
                "treatment_end_date",
                "measurable_disease",
            ],
        ),
        "doses": pd.DataFrame(doses, columns=["participant_id", "study_day"]),
        "biopsies": pd.DataFrame(biopsies, columns=["participant_id", "study_day", "adequate"]),
    }
