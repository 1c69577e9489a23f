import threading
import time

import numpy as np
import pytest
import torch

from medtransfer.data.loaders import Loader, Regions, counter_seed, prefetch
from medtransfer.data.lungs import lung_masks, lung_origins
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import DatasetMeta, PackConfig, PackedDataset
from medtransfer.data.transforms import AugmentConfig
from medtransfer.data.windows import crop_boxes
from medtransfer.errors import ConfigError, DataError

AUGMENT = AugmentConfig(crop=12, hflip=0.5, intensity=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PackedDataset:
    """Twenty-two images; rows 0 and 21 have no label."""
    rows = [
        {
            "image_id": f"toy/{i}",
            "patient_id": f"toy:{i}",
            "dataset": "toy",
            "path": f"{i}.png",
            "label": "" if i in (0, 21) else "ab"[i % 2],
            "row": i,
        }
        for i in range(22)
    ]
    folder = tmp_path_factory.mktemp("toy")
    pixels = np.random.default_rng(0).integers(0, 256, (22, 1, 16, 16), dtype=np.uint8)
    np.save(folder / "images.npy", pixels)
    meta = DatasetMeta(
        name="toy",
        classes=("a", "b"),
        pack=PackConfig(size=16),
        images=22,
        masks=0,
        mean=(0.5,),
        std=(0.25,),
        statistics_of="all",
        files={},
        content_hash="",
    )
    return PackedDataset(folder, build_manifest(rows), meta)


def loader(data: PackedDataset, **options) -> Loader:
    rows = options.pop("rows", np.arange(22))
    return Loader(data, rows, **({"batch_size": 6, "seed": 1, "train": True, "augment": AUGMENT} | options))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_batch_depends_on_seed_epoch_and_step_alone(data):
    first = loader(data)
    for step in (2, 0):
        first.batch(0, step)
    assert same(first.batch(3, 1), loader(data).batch(3, 1))
    for other in (loader(data).batch(3, 2), loader(data).batch(2, 1), loader(data, seed=2).batch(3, 1)):
        assert not torch.equal(first.batch(3, 1)["image"], other["image"])


def test_resuming_inside_an_epoch_gives_the_rest_of_it(data):
    straight = list(loader(data).epoch(5))
    assert len(straight) == 3
    resumed = list(loader(data).epoch(5, start=1))
    assert len(resumed) == 2
    assert all(same(a, b) for a, b in zip(straight[1:], resumed, strict=True))


def test_batches_of_an_epoch_equal_direct_ones(data):
    ours = loader(data)
    assert all(same(batch, ours.batch(2, step)) for step, batch in enumerate(ours.epoch(2)))


def test_training_sees_each_row_at_most_once_and_drops_the_rest(data):
    seen = torch.cat([batch["index"] for batch in loader(data).epoch(0)])
    assert len(seen) == 18
    assert len(seen.unique()) == 18
    exact = torch.cat([batch["index"] for batch in loader(data, batch_size=11).epoch(0)])
    assert sorted(exact.tolist()) == list(range(22))
    assert exact.tolist() != list(range(22))


def test_evaluation_sees_every_row_once_in_order_with_its_centre_and_target(data):
    batches = list(loader(data, train=False, augment=None, crop=12).epoch(0))
    assert [len(batch["index"]) for batch in batches] == [6, 6, 6, 4]
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(22))
    images = torch.cat([batch["image"] for batch in batches])
    expected = (torch.from_numpy(data.images[:, 0, 2:14, 2:14] / np.float32(255)) - 0.5) / 0.25
    torch.testing.assert_close(images, expected[:, None].expand(-1, 3, -1, -1))
    targets = torch.cat([batch["target"] for batch in batches])
    assert targets.dtype == torch.int64
    assert targets.tolist() == [-1, *([1, 0] * 10), -1]


def test_targets_and_indices_are_those_of_the_rows(data):
    rows = np.array([4, 9, 2, 7, 15, 11])
    batch = loader(data, rows=rows).batch(0, 0)
    assert sorted(batch["index"].tolist()) == sorted(rows.tolist())
    assert batch["target"].tolist() == data.class_index[batch["index"].numpy()].tolist()


def test_given_targets_replace_the_class_numbers_and_follow_the_rows(data):
    findings = np.arange(44, dtype=np.float32).reshape(22, 2)
    findings[3] = np.nan
    batch = loader(data, targets=findings).batch(1, 0)
    assert batch["target"].dtype == torch.float32
    np.testing.assert_array_equal(batch["target"].numpy(), findings[batch["index"].numpy()])


@pytest.mark.parametrize("train", [True, False])
def test_ranks_share_the_order_of_one_process(data, train):
    whole = loader(data, train=train)
    parts = [loader(data, train=train, rank=rank, world=3) for rank in range(3)]
    for step in range(whole.steps):
        shared = torch.cat([part.batch(4, step)["index"] for part in parts])
        assert torch.equal(shared, whole.batch(4, step)["index"])
    assert {part.steps for part in parts} == {whole.steps}


def test_two_views_differ_and_replace_the_image(data):
    batch = loader(data, views=2).batch(0, 0)
    assert batch.keys() == {"index", "target", "query", "key"}
    assert batch["query"].shape == batch["key"].shape == (6, 3, 12, 12)
    assert not torch.equal(batch["query"], batch["key"])


def test_regions_are_the_boxes_of_their_own_image(data):
    corner = np.arange(22, dtype=np.float32)[:, None, None] % 4
    boxes = np.concatenate([corner, corner, corner + 8, corner + 8], 2).repeat(5, 1).astype(np.float32)
    boxes[:, :, 2] += np.arange(5)
    batch = loader(data, views=2, regions=Regions(boxes, 8)).batch(0, 1)
    assert batch["regions"].shape == (30, 3, 8, 8)
    rows = batch["index"].numpy()
    plain = crop_boxes(torch.from_numpy(data.images[rows]), torch.from_numpy(boxes[rows]), 8)
    torch.testing.assert_close(batch["regions"][:, :1], (plain - 0.5) / 0.25)
    changed = loader(data, regions=Regions(boxes, 8, AugmentConfig(crop=8, intensity=0.2)))
    assert changed.batch(0, 1)["regions"].shape == (30, 3, 8, 8)
    assert not torch.equal(changed.batch(0, 1)["regions"], batch["regions"])


@pytest.mark.parametrize("train", [True, False])
def test_flipped_views_of_rows_images_boxes_and_targets_are_taken(data, train):
    boxes = np.tile(np.array([2, 2, 10, 10], np.float32), (22, 5, 1))
    targets = np.arange(44, dtype=np.float32).reshape(22, 2)
    mirrored = PackedDataset(data.folder, data.manifest, data.meta)
    mirrored.images = data.images[..., ::-1]
    turned = loader(
        mirrored, rows=np.arange(22)[::-1], regions=Regions(boxes[::-1], 8), targets=targets[:, ::-1], train=train
    )
    copied = PackedDataset(data.folder, data.manifest, data.meta)
    copied.images = mirrored.images.copy()
    rows = np.arange(22)[::-1].copy()
    options = {"regions": Regions(boxes[::-1].copy(), 8), "targets": targets[:, ::-1].copy()}
    assert same(turned.batch(0, 1), loader(copied, rows=rows, train=train, **options).batch(0, 1))


def test_another_normalisation_replaces_that_of_the_data(data):
    own = loader(data).batch(0, 0)["image"] * 0.25 + 0.5
    other = loader(data, normalization=((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))).batch(0, 0)["image"]
    torch.testing.assert_close(other + torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), own)


def test_a_batch_larger_than_the_training_rows_is_refused_but_not_for_evaluation(data):
    with pytest.raises(DataError, match="batch size 23 is larger than the 22 training rows; lower the batch size"):
        loader(data, batch_size=23)
    assert loader(data, batch_size=23, train=False).steps == 1


def test_no_rows_are_refused(data):
    with pytest.raises(DataError, match="no rows to load"):
        loader(data, rows=np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": None}, "without an augmentation a crop and one view"),
        ({"augment": None, "crop": 8, "views": 2}, "without an augmentation a crop and one view"),
        ({"crop": 8}, "crop 8 differs from the augmentation's 12"),
        ({"world": 4}, "batch size 6 cannot be shared by rank 0 of 4 processes"),
        ({"rank": 2, "world": 2}, "batch size 6 cannot be shared by rank 2 of 2 processes"),
    ],
)
def test_options_that_do_not_fit_are_refused(data, options, message):
    with pytest.raises(ConfigError, match=message):
        loader(data, **options)


def test_a_step_outside_the_epoch_is_an_error(data):
    with pytest.raises(IndexError, match="step 3 is not one of the epoch's 3 steps"):
        loader(data).batch(0, 3)


def test_on_a_cpu_no_thread_works_beside_the_step(data):
    batches = loader(data).epoch(0)
    next(batches)
    assert not _threads()


def test_an_error_in_the_thread_comes_at_its_place():
    def make(step: int) -> int:
        if step == 3:
            raise DataError("image 3 is gone")
        return step

    values = prefetch(make, range(9))
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="image 3 is gone"):
        next(values)
    assert not _threads()


def test_an_abandoned_loop_stops_the_thread_and_works_two_ahead_at_most():
    made = []
    values = prefetch(lambda step: made.append(step) or step, range(1000))
    assert next(values) == 0
    time.sleep(0.05)
    assert len(made) <= 4
    values.close()
    assert not _threads()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_counter_seeds_differ_and_do_not_run_together():
    seeds = {counter_seed(*numbers) for numbers in [(0,), (1,), (0, 1), (1, 0), (1, 1), (11,), (0, 0, 1)]}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert counter_seed(0, 1, 2) == 4727102316523150270  # frozen: another value would change every resumed run


@pytest.fixture
def masked(data, tmp_path) -> PackedDataset:
    """The same images; the first has a mask on the left with a lesion, the second on the right of unknown lobe."""
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, :, :8], masks[0, :4, :2], masks[1, :, 8:] = 1, 9, 6
    masks[1, 0, 0] = 8
    np.save(tmp_path / "masks.npy", masks)
    np.save(tmp_path / "images.npy", data.images)
    manifest = data.manifest.copy()
    manifest.loc[:1, "mask_row"] = [0, 1]
    return PackedDataset(tmp_path, manifest, data.meta.model_copy(update={"masks": 2}))


def test_lungs_are_delivered_and_all_is_lung_where_there_is_no_mask(masked, data):
    lungs = lung_masks(masked, np.array([1, 0, 5])).masks
    assert lungs.dtype == bool
    assert lungs[0, :, 8:].all()
    assert not lungs[0, :, :8].any()
    assert lungs[1, :, :8].all()
    assert lungs[2].all()
    assert lung_origins(masked, np.arange(5)) == ["file"] * 2 + ["whole image"] * 3
    assert lung_masks(data, np.arange(2)).masks.all()
    batch = Loader(masked, np.arange(3), batch_size=3, seed=0, train=False, crop=12, lungs=True).batch(0, 0)
    assert torch.equal(batch["lungs"], torch.from_numpy(lung_masks(masked, np.arange(3)).masks[:, 2:14, 2:14]))
    assert "lungs" not in loader(masked).batch(0, 0)


def test_a_flip_exchanges_the_sides_of_image_mask_and_targets(masked):
    recipe = AugmentConfig(crop=16, hflip=0.5)
    targets = np.stack([np.arange(22.0), -np.arange(22.0), np.full(22, 7.0)], 1).astype(np.float32)
    batch = loader(masked, augment=recipe, lungs=True, targets=targets, mirror=(1, 0, 2), batch_size=22).batch(0, 0)
    plain = loader(masked, augment=recipe, targets=targets, batch_size=22).batch(0, 0)
    assert torch.equal(batch["image"], plain["image"])
    kept = torch.from_numpy(targets)[batch["index"]]
    flipped = batch["target"][:, 0] != kept[:, 0]
    images = torch.from_numpy(np.array(masked.images))[batch["index"], 0].float().div(255).sub(0.5).div(0.25)
    turned = torch.isclose(batch["image"][:, 0], images.flip(-1), atol=1e-5).flatten(1).all(1)
    assert torch.equal(flipped | (kept[:, 0] == 0), turned | (kept[:, 0] == 0))
    assert torch.equal(batch["target"][flipped], kept[flipped][:, [1, 0, 2]])
    assert 0 < flipped.sum() < 21
    first = batch["index"].tolist().index(0)
    assert batch["lungs"][first, :, 8:].all() == bool(turned[first])


def test_masks_and_mirrored_targets_belong_to_one_view(masked):
    with pytest.raises(ConfigError, match="belong to one view"):
        loader(masked, views=2, lungs=True)
