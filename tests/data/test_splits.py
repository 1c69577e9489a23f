from datetime import date

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from medtransfer.data.manifest import build_manifest
from medtransfer.data.splits import SplitConfig, assign_splits
from medtransfer.errors import DataError


def table(
    labels: list[str], patients: list[str] | None = None, splits: list[str] | None = None, **more
) -> pd.DataFrame:
    patients = patients or [f"toy:{i}" for i in range(len(labels))]
    rows = [
        {"image_id": f"toy/{i}", "patient_id": patient, "dataset": "toy", "path": f"{i}.png", "label": label}
        | {key: values[i] for key, values in more.items()}
        for i, (label, patient) in enumerate(zip(labels, patients, strict=True))
    ]
    manifest = build_manifest(rows)
    return manifest.assign(split=splits) if splits else manifest


def test_singletons_meet_the_shares_exactly_in_every_class():
    result = assign_splits(table(["a"] * 50 + ["b"] * 20), SplitConfig())
    counts = result.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("a", "train"): 35,
        ("a", "val"): 5,
        ("a", "test"): 10,
        ("b", "train"): 14,
        ("b", "val"): 2,
        ("b", "test"): 4,
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=12, max_size=40), st.integers(0, 5))
def test_a_patient_is_never_in_two_splits(sizes, seed):
    patients = [f"toy:{p}" for p, size in enumerate(sizes) for _ in range(size)]
    labels = ["ab"[int(p.split(":")[1]) % 2] for p in patients]
    result = assign_splits(table(labels, patients), SplitConfig(seed=seed))
    assert (result.groupby("patient_id")["split"].nunique() == 1).all()
    assert (result.groupby("label")["split"].nunique() == 3).all()


def test_row_order_changes_nothing():
    manifest = table(["a", "b"] * 40, [f"toy:{i // 3}" for i in range(80)])
    straight = assign_splits(manifest, SplitConfig(seed=3)).set_index("image_id")["split"]
    shuffled = assign_splits(manifest.sample(frac=1, random_state=1), SplitConfig(seed=3)).set_index("image_id")[
        "split"
    ]
    assert straight.equals(shuffled.loc[straight.index])


def test_another_seed_gives_another_split():
    manifest = table(["a", "b"] * 40)
    first, second = (assign_splits(manifest, SplitConfig(seed=seed))["split"] for seed in (0, 1))
    assert not first.equals(second)


def test_official_splits_are_kept_even_when_a_patient_is_in_two():
    official = ["train", "train", "val", "val", "test", "test"]
    manifest = table(["a", "b"] * 3, ["toy:p"] * 6, official)
    assert assign_splits(manifest, SplitConfig())["split"].tolist() == official


def test_official_splits_can_be_set_aside():
    manifest = table(["a", "b"] * 20, splits=["train"] * 20 + ["test"] * 20)
    assert (assign_splits(manifest, SplitConfig(official=False))["split"] == "val").sum() == 4


def test_a_missing_validation_split_is_cut_from_official_training_rows_only():
    manifest = table(["a", "b"] * 45, splits=["train"] * 80 + ["test"] * 10)
    result = assign_splits(manifest, SplitConfig(train=0.6, val=0.2, test=0.2))
    assert (result["split"].iloc[80:] == "test").all()
    assert result["split"].iloc[:80].value_counts().to_dict() == {"train": 60, "val": 20}


def test_partly_official_splits_are_refused():
    with pytest.raises(
        DataError, match=r"toy: 1 of 3 images have no official split, first toy/2; expected all or none"
    ):
        assign_splits(table(["a"] * 3, splits=["train", "test", ""]), SplitConfig())


def test_a_class_with_too_few_patients_is_refused():
    with pytest.raises(DataError, match=r"toy: split \w+ has no image of class covid: 2 patients have it"):
        assign_splits(table(["normal"] * 20 + ["covid"] * 2), SplitConfig())


def test_findings_are_spread_by_the_rarest_one():
    rare = [1.0 if i % 10 == 0 else 0.0 for i in range(60)]
    common = [1.0 if i % 2 == 0 else float("nan") for i in range(60)]
    result = assign_splits(table([""] * 60, y_rare=rare, y_common=common), SplitConfig())
    assert result[result["y_rare"] == 1].groupby("split").size().to_dict() == {"train": 4, "val": 1, "test": 1}


def test_a_finding_of_fewer_patients_than_splits_is_let_pass():
    result = assign_splits(table([""] * 20, y_hernia=[1.0] + [0.0] * 19), SplitConfig())
    assert set(result["split"]) == {"train", "val", "test"}


def test_shares_must_add_up():
    with pytest.raises(ValidationError, match=r"train \+ val \+ test is 1\.1, expected 1"):
        SplitConfig(train=0.8)


def dated(days, per_patient=1):
    return build_manifest(
        [
            {
                "image_id": f"t/{k}",
                "patient_id": f"t:{k // per_patient}",
                "dataset": "t",
                "path": f"{k}.png",
                "label": ("ill", "well")[k // per_patient % 2],
                "date": day,
            }
            for k, day in enumerate(days)
        ]
    )


CHRONOLOGICAL = SplitConfig(train=0.72, val=0.08, test=0.2, until=date(2020, 6, 30))


def test_a_chronological_split_trains_up_to_the_day_and_tests_after():
    manifest = dated([f"2020-{month:02d}-{day:02d}T23:00" for month in range(1, 13) for day in (1, 2, 15, 28)])
    split = assign_splits(manifest, CHRONOLOGICAL)
    late = split["date"] >= pd.Timestamp("2020-07-01")
    assert set(split.loc[late, "split"]) == {"test"}
    assert split.loc[~late, "split"].value_counts().to_dict() == {"train": 22, "val": 2}


def test_later_images_of_a_known_patient_are_left_out_of_a_chronological_split():
    days = ["2020-05-01", "2020-08-01"] * 2 + ["2020-05-01"] * 16 + ["2020-08-01"] * 8
    split = assign_splits(dated(days, per_patient=2), CHRONOLOGICAL)
    assert split["split"].iloc[[1, 3]].tolist() == ["", ""]
    assert (split["split"] == "").sum() == 2
    assert split[split["split"] != ""].groupby("patient_id")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (["2020-05-01", None, "2020-08-01", None], r"2 of 4 images have no date, first t/1; a chronological split"),
        (["2020-05-01"] * 4, "dates run from 2020-05-01 to 2020-05-01, expected some up to 2020-06-30 and some after"),
        (["2020-05-01"] * 20 + ["2020-08-01"] * 1, "split test has no image of class well"),
    ],
)
def test_a_chronological_split_needs_dates_on_both_sides_and_every_class(days, message):
    with pytest.raises(DataError, match=message):
        assign_splits(dated(days), CHRONOLOGICAL)


def test_a_date_that_does_not_parse_is_an_error():
    with pytest.raises(DataError, match=r"manifest column date: .*; expected dates"):
        dated(["2020-05-01", "last spring"])
