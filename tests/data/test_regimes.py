"""Regimes: the paper's counts, nesting, patients in turn, and what a class needs."""

import hashlib
from math import floor

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.data.manifest import build_manifest
from medtransfer.data.regimes import RegimeConfig, apply_regime, take_share, thin_positives
from medtransfer.errors import DataError


def images(counts, *, per_patient=3, split="train", **fields):
    """Rows of classes with given counts; every patient of one class."""
    rows = [
        {
            "image_id": f"toy/{split}_{label}_{k}",
            "patient_id": f"toy:{split}_{label}_{k // per_patient}",
            "dataset": "toy",
            "path": f"{split}_{label}_{k}.png",
            "split": split,
            "label": label,
        }
        | fields
        for label, count in counts.items()
        for k in range(count)
    ]
    return build_manifest(rows)


def held_out(counts=None):
    counts = counts or {"covid": 10, "other": 40}
    return [images(counts, split=split) for split in ("val", "test")]


def count(manifest, split="train"):
    return manifest[manifest["split"] == split]["label"].value_counts().to_dict()


@pytest.mark.parametrize(("share", "covid", "other"), [(0.05, 88, 1451), (0.1, 177, 2903)])
def test_shares_of_the_papers_training_set_have_the_papers_counts(share, covid, other):
    manifest = images({"covid": 1777, "other": 29030}, per_patient=1)
    assert count(take_share(manifest, share)) == {"covid": covid, "other": other}


@settings(max_examples=30, deadline=None)
@given(
    st.integers(4, 60),
    st.integers(4, 60),
    st.integers(1, 5),
    st.sampled_from([0.25, 0.29, 0.5, 0.7]),
    st.integers(0, 3),
)
def test_a_share_is_floored_class_by_class_and_nested(ill, well, per_patient, share, seed):
    manifest = images({"ill": ill, "well": well}, per_patient=per_patient)
    small, large = (take_share(manifest, s, seed=seed) for s in (share, min(1.0, share + 0.2)))
    assert count(small) == {"ill": floor(share * ill + 1e-9), "well": floor(share * well + 1e-9)}
    assert set(small.index[small["split"] == "train"]) <= set(large.index[large["split"] == "train"])


def test_a_share_equals_the_literal_draw_of_patients_one_after_the_other():
    manifest = images({"ill": 20, "well": 30}, per_patient=4)

    def mark(name):
        return hashlib.sha256(f"regime|7|{name}".encode()).hexdigest()

    expected = set()
    for label, number in (("ill", 6), ("well", 9)):
        rows = manifest[manifest["label"] == label]
        drawn = []
        for patient in sorted(set(rows["patient_id"]), key=mark):
            drawn += sorted(rows[rows["patient_id"] == patient]["image_id"], key=mark)
        expected |= set(drawn[:number])
    found = take_share(manifest, 0.3, seed=7)
    assert set(found[found["split"] == "train"]["image_id"]) == expected


def test_at_most_one_patient_of_a_class_is_cut():
    found = take_share(images({"ill": 50, "well": 50}, per_patient=5), 0.5)
    kept = found[found["split"] == "train"].groupby(["label", "patient_id"]).size()
    assert (kept < 5).groupby("label").sum().max() <= 1


def test_rows_keep_their_places_and_other_splits_stay_whole():
    manifest = pd.concat([images({"ill": 20, "well": 40}), *held_out()], ignore_index=True)
    found = apply_regime(manifest, RegimeConfig(share=0.1), seed=1)
    held = manifest["split"] != "train"
    pd.testing.assert_frame_equal(found.drop(columns="split"), manifest.drop(columns="split"))
    assert found.loc[held, "split"].equals(manifest.loc[held, "split"])
    assert set(found.loc[~held, "split"]) == {"", "train"}


def test_the_default_regime_is_all_rows():
    manifest = images({"ill": 3})
    assert apply_regime(manifest, RegimeConfig()) is manifest


def test_the_order_of_the_rows_does_not_change_the_draw():
    manifest = images({"ill": 30, "well": 30})
    shuffled = manifest.sample(frac=1, random_state=0).reset_index(drop=True)
    drawn = [set(m[m["split"] == "train"]["image_id"]) for m in (take_share(manifest, 0.2), take_share(shuffled, 0.2))]
    assert drawn[0] == drawn[1]


def test_another_seed_draws_other_rows():
    manifest = images({"ill": 60, "well": 60})
    drawn = [set(take_share(manifest, 0.2, seed=seed).query("split == 'train'")["image_id"]) for seed in (0, 1)]
    assert drawn[0] != drawn[1]


def test_a_class_with_fewer_cases_than_the_share_needs_is_named():
    with pytest.raises(DataError, match=r"toy: class ill has 19 training images, and 5% of them is none, expected at"):
        take_share(images({"ill": 19, "well": 400}), 0.05)


def multilabel(rows):
    return build_manifest(
        [
            {"image_id": f"m/{k}", "patient_id": f"m:{k}", "dataset": "m", "path": f"{k}.png", "split": "train"} | row
            for k, row in enumerate(rows)
        ]
    )


def test_a_multi_label_image_counts_for_its_rarest_finding():
    none, edema, both = {"y_edema": 0, "y_mass": 0}, {"y_edema": 1, "y_mass": 0}, {"y_edema": 1, "y_mass": 1}
    manifest = multilabel([none] * 20 + [edema] * 12 + [both] * 4 + [{}] * 4)
    found = take_share(manifest, 0.5, findings=("edema", "mass"))
    kept = found[found["split"] == "train"]
    assert (len(kept), kept["y_edema"].sum(), kept["y_mass"].sum()) == (18, 8, 2)
    assert kept["y_edema"].notna().all()


def test_a_finding_that_a_share_loses_is_named():
    with pytest.raises(DataError, match="class mass has 1 training images"):
        take_share(multilabel([{"y_mass": 0}] * 30 + [{"y_mass": 1}]), 0.1, findings=("mass",))


def test_thinning_leaves_the_ratio_and_touches_one_split():
    manifest = pd.concat([images({"covid": 30, "other": 160}), *held_out()], ignore_index=True)
    found = thin_positives(manifest, "train", 16, positive="covid")
    assert count(found) == {"covid": 10, "other": 160}
    assert count(found, "test") == {"covid": 10, "other": 40}
    assert count(thin_positives(found, "train", 4, positive="covid")) == {"covid": 10, "other": 160}


def test_training_and_validation_are_thinned_and_every_test_image_stays():
    manifest = pd.concat([images({"covid": 300, "other": 163}), *held_out({"covid": 40, "other": 49})])
    regime = RegimeConfig(neg_pos_ratio={"train": 16.3, "val": 2.94, "test": 16})
    found = apply_regime(manifest.reset_index(drop=True), regime, positive="covid")
    assert count(found) == {"covid": 10, "other": 163}
    assert count(found, "val") == {"covid": 16, "other": 49}
    assert count(found, "test") == {"covid": 40, "other": 49}


def test_thinning_without_positives_or_negatives_is_an_error():
    manifest = images({"covid": 30, "other": 10})
    with pytest.raises(DataError, match="the train split has no image of class not named to thin"):
        thin_positives(manifest, "train", 4, positive="")
    with pytest.raises(DataError, match="the train split has no image of class flu to thin"):
        thin_positives(manifest, "train", 4, positive="flu")
    with pytest.raises(DataError, match="has 10 negatives, expected at least 16 for 1:16; lower the ratio"):
        thin_positives(manifest, "train", 16, positive="covid")


def test_a_finding_that_only_comes_with_rarer_ones_is_named_when_the_draw_loses_it():
    rows = [{"y_b": 1, "y_z": 1}, {"y_b": 1}, {"y_d": 1, "y_z": 1}, {"y_d": 1}, *[{}] * 4]
    manifest = multilabel([{"y_b": 0, "y_d": 0, "y_z": 0} | row for row in rows])

    def draw_with_every_seed():
        for seed in range(12):
            found = take_share(manifest, 0.5, findings=("b", "d", "z"), seed=seed)
            assert found.loc[found["split"] == "train", "y_z"].sum() > 0

    with pytest.raises(DataError, match="no image with z is among 50% of the training images"):
        draw_with_every_seed()
