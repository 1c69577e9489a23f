import pandas as pd
import pytest

from look_fixtures import smooth
from medtransfer.data.leaks import GateConfig, find_leaks, find_near, require_no_leaks
from medtransfer.data.looks import make_looks
from medtransfer.data.manifest import build_manifest
from medtransfer.data.near import Near
from medtransfer.errors import LeakError


def table(*rows: tuple[str, str, str], **columns: list[str]) -> pd.DataFrame:
    """Rows (dataset, key, split); every row its own patient and hashes unless columns say otherwise."""
    manifest = build_manifest(
        [
            {
                "image_id": f"{dataset}/{key}",
                "patient_id": f"{dataset}:{key}",
                "dataset": dataset,
                "path": key,
                "split": split,
                "sha256": f"s{i}",
                "pixel_sha": f"p{i}",
            }
            for i, (dataset, key, split) in enumerate(rows)
        ]
    )
    return manifest.assign(**columns)


def pairs(leaks: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(leaks[["kind", "image_a", "image_b"]].itertuples(index=False, name=None))


def near(manifest: pd.DataFrame, shown: list[int]) -> Near:
    """Near-duplicates of rows that show one of some random images, slightly cropped from row to row."""
    images = [smooth(max(shown) + 1)[number][:, row % 3 :] for row, number in enumerate(shown)]
    return find_near(manifest, make_looks(images), GateConfig())


CT = [("ct", "a", "train"), ("ct", "b", "val"), ("ct", "c", "test"), ("ct", "d", "train")]


def test_clean_data_have_no_leaks_and_open_the_gate():
    leaks = find_leaks(table(*CT))
    assert leaks.empty
    require_no_leaks(leaks, GateConfig())


def test_a_patient_in_three_splits_is_named_and_counted_once():
    leaks = find_leaks(table(*CT, patient_id=["ct:p", "ct:p", "ct:p", "ct:q"]))
    assert pairs(leaks) == [("patient", "ct/a", "ct/b"), ("patient", "ct/a", "ct/c"), ("patient", "ct/b", "ct/c")]
    with pytest.raises(
        LeakError, match=r"^1 patient and 0 images in two splits: patient ct/a \(train\) = ct/b \(val\)"
    ):
        require_no_leaks(leaks, GateConfig())


def test_copies_within_one_split_are_no_leak():
    assert find_leaks(table(*CT, sha256=["x", "y", "z", "x"])).empty


def test_each_pair_has_its_strictest_kind():
    manifest = table(*CT, sha256=["x", "x", "y", "z"], pixel_sha=["p", "p", "p", "q"])
    leaks = find_leaks(manifest, near=near(manifest, [0, 0, 0, 1]))
    assert pairs(leaks) == [("bytes", "ct/a", "ct/b"), ("pixels", "ct/a", "ct/c"), ("pixels", "ct/b", "ct/c")]


def test_a_thousand_copies_give_a_list_not_a_square():
    rows = [("ct", str(i), "train") for i in range(1000)] + [("ct", "x", "test"), ("ct", "y", "test")]
    leaks = find_leaks(table(*rows, sha256=["same"] * 1002))
    assert len(leaks) == 1001
    assert set(leaks["image_a"]) | set(leaks["image_b"]) == {f"ct/{key}" for _, key, _ in rows}


def test_empty_hashes_and_splits_are_not_compared():
    blank = {"sha256": [""] * 4, "pixel_sha": [""] * 4}
    assert find_leaks(table(*CT, **blank)).empty
    assert find_leaks(table(*CT, sha256=["x"] * 4, split=["", "", "", ""])).empty


CHAIN = [("cxr", "a", "train"), ("cxr", "b", "test"), ("ct", "c", "train"), ("ct", "d", "test"), ("cxr", "e", "val")]


def test_across_data_sets_held_out_against_trained_counts():
    leaks = find_leaks(table(*CHAIN, sha256=["x", "y", "y", "x", "x"]))
    assert ("bytes", "cxr/a", "ct/d") in pairs(leaks)  # the target's test image was pretrained on
    assert ("bytes", "cxr/b", "ct/c") in pairs(leaks)
    assert ("bytes", "ct/d", "cxr/e") not in pairs(leaks)  # both held out


def test_with_a_target_only_its_held_out_rows_count_across():
    leaks = find_leaks(table(*CHAIN, sha256=["x", "y", "y", "x", "z"]), target="ct")
    assert pairs(leaks) == [("bytes", "cxr/a", "ct/d")]


def test_declared_overlaps_open_the_gate_within_but_not_across_data_sets():
    within = find_leaks(table(*CT, sha256=["x", "x", "y", "z"]))
    require_no_leaks(within, GateConfig(allow_known_overlaps=("ct",)))
    across = find_leaks(table(*CHAIN, sha256=["x", "y", "z", "x", "w"]))
    with pytest.raises(
        LeakError, match=r"0 patients and 1 image in two splits: bytes cxr/a \(train\) = ct/d \(test\)"
    ) as e:
        require_no_leaks(across, GateConfig(allow_known_overlaps=("ct", "cxr")))
    assert e.value.exit_code == 3


def test_the_gate_names_five_pairs_and_counts_the_rest():
    rows = [("ct", f"{i}{split}", split) for i in range(7) for split in ("train", "test")]
    leaks = find_leaks(table(*rows, sha256=[f"s{i // 2}" for i in range(14)]))
    with pytest.raises(LeakError, match=r"0 patients and 7 images .* and 2 more; split by patient"):
        require_no_leaks(leaks, GateConfig())


def test_near_duplicates_are_named_with_their_similarity():
    manifest = table(*CT)
    leaks = find_leaks(manifest, near=near(manifest, [0, 1, 0, 1]))
    assert pairs(leaks) == [("near", "ct/a", "ct/c"), ("near", "ct/b", "ct/d")]
    assert (leaks["similarity"] > 0.945).all()


def test_equal_images_of_one_split_are_compared_once():
    rows = [*(("ct", f"{i}", "train") for i in range(30)), ("ct", "x", "test")]
    manifest = table(*rows, pixel_sha=["same"] * 30 + ["other"])
    found = near(manifest, [0] * 31)
    assert (found.i.tolist(), found.j.tolist(), found.candidates) == ([0], [30], 1)
