"""The CDISC pilot data through every reader; counts as the provenance of the data states them."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cdisc_files import CREATED

from pdbiomarker.clinical.cdisc import (
    Dataset,
    ImportOptions,
    held_against,
    import_cdisc,
    read_dataset,
    write_dataset_json,
    write_xpt,
)
from pdbiomarker.errors import InputError
from pdbiomarker.tables import write_table

pytestmark = pytest.mark.data

USE = {
    "RS": "pharmaversesdtm__rs_onco_recist.parquet",
    "TR": "pharmaversesdtm__tr_onco_recist.parquet",
    "TU": "pharmaversesdtm__tu_onco_recist.parquet",
}


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data("cdisc_onco_pk")


@pytest.fixture(scope="module")
def found(folder):
    return import_cdisc(folder, options=ImportOptions(reader="INVESTIGATOR", use=USE, titre_scale="log10"))


def test_counts_are_those_of_the_provenance(found):
    """adrs_onco 306 subjects; rs/tr/tu_onco_recist 8; pc 4,572 rows, 254 subjects; pp 168; OS, PFS, RSD."""
    tables = found.tables
    assert len(tables["participants"]) == 306
    concentrations = tables["concentrations"]
    assert (len(concentrations), concentrations["participant_id"].nunique()) == (4572, 254)
    assert (concentrations["concentration"] == "<0.01").sum() == 2179  # 1,925 without a number, 254 with 0
    assert tables["responses"]["participant_id"].nunique() == 8
    assert tables["lesions"]["participant_id"].nunique() == 8
    parameters = tables["parameters"]
    people = parameters.groupby("dataset")["participant_id"].nunique()
    assert people["ADPP"] == 168
    assert people["ADRS"] == 306
    times = parameters[parameters["dataset"] == "ADTTE"]
    assert times["parameter"].value_counts().to_dict() == {"OS": 254, "PFS": 254, "RSD": 4}
    assert tables["doses"]["participant_id"].nunique() == 254
    assert tables["adverse_events"]["participant_id"].nunique() == 225


def test_antibodies_of_the_pilot_data(found):
    """254 participants; baseline 118 positive of 252: the figures of the standard test data."""
    ada = found.tables["ada"]
    assert ada["participant_id"].nunique() == 254
    first = ada[ada["study_day"] == -1]
    assert (first["result"] == "positive").sum() == 118
    assert len(first) == 252


def test_adab_alone_gives_the_same_samples_as_is(folder, tmp_path, found):
    alone = import_cdisc(
        _only(folder, tmp_path, "pharmaverseadam__adab.parquet"), options=ImportOptions(titre_scale="log10")
    )
    columns = ["participant_id", "study_day", "result", "titre", "neutralizing"]
    pd.testing.assert_frame_equal(alone.tables["ada"][columns], found.tables["ada"][columns])


def test_partial_dates_and_readers_of_the_pilot_data(found):
    responses = found.tables["responses"]
    assert len(responses) == 22
    assert (responses["date_flag"] == "D").sum() == 1
    assert responses.loc[responses["date_flag"] == "D", "date"].tolist() == ["2014-02"]
    others = found.not_taken[found.not_taken["dataset"] == "RS"]["reason"]
    assert others.str.startswith("Another reader").sum() == 44


def test_every_record_of_a_domain_is_taken_or_listed(found):
    """EX, AE, IS, RS: one row of the table for each record, or one of the list."""
    left = found.not_taken[found.not_taken["record"].notna()].groupby("dataset")["record"].count()
    for dataset, table, records in (
        ("EX", "doses", 591),
        ("AE", "adverse_events", 1191),
        ("RS", "responses", 66),
    ):
        assert len(found.tables[table]) + left.get(dataset, 0) == records


def _only(folder, target, *names):
    for name in names:
        (target / name).symlink_to(folder / name)
    return target


def test_several_files_of_one_domain_are_refused(folder, tmp_path):
    names = [p.name for p in folder.glob("*sdtm__[rt][rsu]_onco*.parquet")]
    with pytest.raises(InputError, match="rs_onco_irecist") as error:
        import_cdisc(_only(folder, tmp_path, *names))
    refused = [p.value for p in error.value.problems if p.severity == "error"]
    assert refused == ["RS", "TR", "TU"]


def test_trap_24_readers_of_the_pilot_data_are_refused_without_a_choice(folder, tmp_path):
    with pytest.raises(InputError, match="3 readers assessed: INVESTIGATOR, RADIOLOGIST 1, RADIOLOGIST 2"):
        import_cdisc(_only(folder, tmp_path, *USE.values()))


def _again(data, path, form):
    if form == "xpt":
        # Two labels of the pilot data are longer than the 40 characters of a transport file.
        data = Dataset(data.name, data.label[:40], data.frame, data.variables)
        write_xpt(data, path, created=CREATED)
    elif form == "json":
        write_dataset_json(data, path, created=CREATED)
    elif form == "csv":
        write_table(data.frame, path)
    else:
        pq.write_table(pa.Table.from_pandas(data.frame, preserve_index=False), path)


@pytest.mark.parametrize("form", ["xpt", "json", "csv", "parquet"])
@pytest.mark.parametrize("name", ["adam__adtte_onco", "sdtm__is_ada"])
def test_a_dataset_goes_through_every_format(folder, tmp_path, form, name):
    data = read_dataset(folder / f"pharmaverse{name}.parquet")
    path = tmp_path / f"{data.name.lower()}.{form}"
    _again(data, path, form)
    again = read_dataset(path)
    assert len(again) == len(data)
    assert list(again.frame.columns) == list(data.frame.columns)
    if form in {"xpt", "json"}:
        assert again.labels == data.labels
    for variable in data.variables:
        one, two = data[variable.name], again[variable.name]
        if form == "csv":
            kinds = {"number": float, "date": dt.date.fromisoformat, "text": str}
            assert [v and kinds[variable.kind](v) for v in two] == [None if pd.isna(v) else v for v in one]
        elif variable.kind == "number":
            pd.testing.assert_series_equal(one, two, check_names=False)
        else:
            assert two.tolist() == one.tolist()


def test_labels_of_the_pilot_data_are_kept(folder):
    data = read_dataset(folder / "pharmaversesdtm__pc.parquet")
    assert isinstance(data, Dataset)
    assert data.label == "Pharmacokinetic Concentrations"
    assert data.labels["PCLLOQ"] == "Lower Limit of Quantitation"


def test_parameters_of_the_pilot_data_against_brute_force(found):
    """Largest plasma concentration and its time, straight from the sheet: all 168 of ADPP agree."""
    samples = found.tables["concentrations"]
    samples = samples[(samples["specimen"] == "PLASMA") & ~samples["concentration"].str.startswith("<")]
    value = samples["concentration"].astype(float)
    first = samples.assign(cmax=value).sort_values(["cmax", "nominal_time_h"], ascending=[False, True])
    ours = first.drop_duplicates("participant_id").rename(columns={"nominal_time_h": "tmax"})
    held = held_against(found.tables["parameters"], {"pk_parameters": ours})
    theirs = held[held["verdict"] != "only ours"]
    assert theirs.groupby("parameter")["verdict"].value_counts().to_dict() == {
        ("cmax", "agree"): 168,
        ("tmax", "agree"): 168,
    }


def test_categories_of_antibodies_of_the_pilot_data(found):
    """144 evaluable: 55 negative, 27 induced, 22 boosted, 40 unaffected; baseline 118 of 252."""
    people = sorted(set(found.tables["ada"]["participant_id"]))
    ours = pd.DataFrame({"participant_id": people, "baseline": "missing", "category": "negative"})
    held = held_against(found.tables["parameters"], {"ada_participants": ours})
    counts = held.groupby("parameter")["theirs"].value_counts()
    assert counts["category"].to_dict() == {
        "not evaluable": 110,
        "negative": 55,
        "unaffected": 40,
        "induced": 27,
        "boosted": 22,
    }
    assert counts["baseline"].to_dict() == {"negative": 134, "positive": 118, "missing": 2}
