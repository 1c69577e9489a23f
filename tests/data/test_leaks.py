import numpy as np
import pandas as pd
import pytest

from medtransfer.data.hashing import flipped_hash, perceptual_hashes, pixel_sha, to_hex
from medtransfer.data.leaks import GateConfig, confirm_by_correlation, find_leaks, require_no_leaks, thumbnails
from medtransfer.data.manifest import build_manifest
from medtransfer.errors import LeakError


def table(*rows: tuple[str, str, str], **columns: list[str]) -> pd.DataFrame:
    """Rows (dataset, key, split); every row its own patient and hashes unless columns say otherwise."""
    rng = np.random.default_rng(0)
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
                "phash": to_hex(int(rng.integers(0, 2**64, dtype=np.uint64))),
            }
            for i, (dataset, key, split) in enumerate(rows)
        ]
    )
    return manifest.assign(**columns)


def pairs(leaks: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(leaks[["kind", "image_a", "image_b"]].itertuples(index=False, name=None))


CT = [("ct", "a", "train"), ("ct", "b", "val"), ("ct", "c", "test"), ("ct", "d", "train")]


def test_clean_data_have_no_leaks_and_open_the_gate():
    leaks = find_leaks(table(*CT), max_hamming=8)
    assert leaks.empty
    require_no_leaks(leaks, GateConfig())


def test_a_patient_in_three_splits_is_named_and_counted_once():
    leaks = find_leaks(table(*CT, patient_id=["ct:p", "ct:p", "ct:p", "ct:q"]), max_hamming=8)
    assert pairs(leaks) == [("patient", "ct/a", "ct/b"), ("patient", "ct/a", "ct/c"), ("patient", "ct/b", "ct/c")]
    with pytest.raises(
        LeakError, match=r"^1 patient and 0 images in two splits: patient ct/a \(train\) = ct/b \(val\)"
    ):
        require_no_leaks(leaks, GateConfig())


def test_copies_within_one_split_are_no_leak():
    assert find_leaks(table(*CT, sha256=["x", "y", "z", "x"]), max_hamming=8).empty


def test_each_pair_has_its_strictest_kind():
    same = {"phash": ["00ff00ff00ff00ff"] * 3 + ["0" * 16]}
    manifest = table(*CT, sha256=["x", "x", "y", "z"], pixel_sha=["p", "p", "p", "q"], **same)
    leaks = find_leaks(manifest, max_hamming=0)
    assert pairs(leaks) == [("bytes", "ct/a", "ct/b"), ("pixels", "ct/a", "ct/c"), ("pixels", "ct/b", "ct/c")]


def test_a_thousand_copies_give_a_list_not_a_square():
    rows = [("ct", str(i), "train") for i in range(1000)] + [("ct", "x", "test"), ("ct", "y", "test")]
    leaks = find_leaks(table(*rows, sha256=["same"] * 1002), max_hamming=0)
    assert len(leaks) == 1001
    assert set(leaks["image_a"]) | set(leaks["image_b"]) == {f"ct/{key}" for _, key, _ in rows}


def test_near_and_mirrored_hashes_are_found_with_their_distance():
    base = 0x0123456789ABCDEF
    digits = [to_hex(base), to_hex(base ^ 0b101), to_hex(flipped_hash(base) ^ 1), "ffff0000ffff0000"]
    leaks = find_leaks(table(*CT, phash=digits), max_hamming=4)
    assert leaks[["kind", "image_a", "image_b", "distance"]].values.tolist() == [
        ["near", "ct/a", "ct/b", 2],
        ["near", "ct/a", "ct/c", 1],
        ["near", "ct/b", "ct/c", 1],
    ]


def test_empty_hashes_and_splits_are_not_compared():
    blank = {"sha256": [""] * 4, "pixel_sha": [""] * 4, "phash": [""] * 4}
    assert find_leaks(table(*CT, **blank), max_hamming=8).empty
    assert find_leaks(table(*CT, sha256=["x"] * 4, split=["", "", "", ""]), max_hamming=8).empty


CHAIN = [("cxr", "a", "train"), ("cxr", "b", "test"), ("ct", "c", "train"), ("ct", "d", "test"), ("cxr", "e", "val")]


def test_across_data_sets_held_out_against_trained_counts():
    leaks = find_leaks(table(*CHAIN, sha256=["x", "y", "y", "x", "x"]), max_hamming=0)
    assert ("bytes", "cxr/a", "ct/d") in pairs(leaks)  # the target's test image was pretrained on
    assert ("bytes", "cxr/b", "ct/c") in pairs(leaks)
    assert ("bytes", "ct/d", "cxr/e") not in pairs(leaks)  # both held out


def test_with_a_target_only_its_held_out_rows_count_across():
    leaks = find_leaks(table(*CHAIN, sha256=["x", "y", "y", "x", "z"]), max_hamming=0, target="ct")
    assert pairs(leaks) == [("bytes", "cxr/a", "ct/d")]


def test_declared_overlaps_open_the_gate_within_but_not_across_data_sets():
    within = find_leaks(table(*CT, sha256=["x", "x", "y", "z"]), max_hamming=0)
    require_no_leaks(within, GateConfig(allow_known_overlaps=("ct",)))
    across = find_leaks(table(*CHAIN, sha256=["x", "y", "z", "x", "w"]), max_hamming=0)
    with pytest.raises(
        LeakError, match=r"0 patients and 1 image in two splits: bytes cxr/a \(train\) = ct/d \(test\)"
    ) as e:
        require_no_leaks(across, GateConfig(allow_known_overlaps=("ct", "cxr")))
    assert e.value.exit_code == 3


def test_the_gate_names_five_pairs_and_counts_the_rest():
    rows = [("ct", f"{i}{split}", split) for i in range(7) for split in ("train", "test")]
    leaks = find_leaks(table(*rows, sha256=[f"s{i // 2}" for i in range(14)]), max_hamming=0)
    with pytest.raises(LeakError, match=r"0 patients and 7 images .* and 2 more; split by patient"):
        require_no_leaks(leaks, GateConfig())


def test_correlation_keeps_copies_and_drops_look_alikes():
    rng = np.random.default_rng(1)
    smooth = np.kron(rng.integers(0, 256, (2, 1, 8, 8)), np.ones((8, 8))).astype(np.uint8)
    images = np.stack([smooth[0], smooth[0][..., ::-1], smooth[1], smooth[0]])
    manifest = table(*CT, pixel_sha=[pixel_sha(image) for image in images])
    confirm = confirm_by_correlation(thumbnails(images), 0.98)
    manifest["phash"] = [to_hex(int(h)) for h in perceptual_hashes(images)]
    manifest.loc[2, "phash"] = manifest.loc[0, "phash"]  # another image with the same hash
    assert set(pairs(find_leaks(manifest, max_hamming=0))) >= {("near", "ct/a", "ct/b"), ("near", "ct/a", "ct/c")}
    kept = find_leaks(manifest, max_hamming=0, confirm=confirm)
    assert pairs(kept) == [("near", "ct/a", "ct/b"), ("near", "ct/b", "ct/d")]


def test_thumbnails_of_sixteen_bits_are_those_of_eight():
    eight = np.kron(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4) * 16, np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(thumbnails(eight.astype(np.uint16) * 257), thumbnails(eight))
