"""How many images are flagged as unlike the training images: own test split, another hospital, another kind of image.

Run in a workspace after ``dvc repro``; for every fit it builds the statistics that registering stores and asks them
about whole data sets, as ``evaluate`` does. Columns: share flagged; by features alone; by each other reason alone.

    python benchmarks/bench_shift.py ct out/attentive_transfer/weights/finetune/<variant>/<condition>/seed0 \
        --others ct_outside cxr natural
"""

import argparse
from pathlib import Path

import numpy as np

from medtransfer import paths
from medtransfer.data.arrays import PackConfig, pack_image
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.shift import ASPECT, COLOUR, GREY, SIDE, Seen, Shift
from medtransfer.models.weights import load_model
from medtransfer.params import load_params
from medtransfer.training.seen import look, training_shift

GROUPS = {"grey levels": GREY, "size": (SIDE,), "aspect": (ASPECT,), "colour": (COLOUR,)}


def main() -> None:
    """Print a Markdown table for each fit."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("dataset", help="what the fits were trained on")
    options.add_argument("weights", nargs="+", type=Path)
    options.add_argument("--others", nargs="*", default=[])
    given = options.parse_args()
    params = load_params()
    for weights in given.weights:
        network, description = load_model(weights)
        prepared, own = description["preprocessing"], PackedDataset.open(paths.dataset(given.dataset))
        shift = training_shift(network, prepared, own, params.dataset(given.dataset).source.root)
        print(f"\n{weights}: {shift.images[0]} training, {shift.images[1]} validation images\n")
        print(f"| images | n | flagged | features | {' | '.join(GROUPS)} |\n|---|{'---|' * (3 + len(GROUPS))}")
        for name in (given.dataset, *given.others):
            data = PackedDataset.open(paths.dataset(name), arrays=False)
            split, root = ("test" if name == given.dataset else None), params.dataset(name).source.root
            files = [root / path for path in data.manifest["path"].iloc[data.rows(split)]]
            config = PackConfig.model_validate({key: prepared[key] for key in PackConfig.model_fields})
            packed = np.stack([pack_image(file, config) for file in files])
            seen = look(network, prepared, packed, files, block=shift.block)
            print(f"| {name} {split or ''} | {len(files)} | {_shares(shift, seen)} |")


def _shares(shift: Shift, seen: Seen) -> str:
    counts = [float(np.mean([bool(each) for each in shift.unlike(seen)]))]
    counts.append(float((shift.distances(seen.features) > shift.farthest).mean()))
    for columns in GROUPS.values():
        outside = [
            (seen.numbers[name] < shift.ranges[name][0]) | (seen.numbers[name] > shift.ranges[name][1])
            for name in columns
            if name in shift.ranges
        ]
        counts.append(float(np.any(outside, axis=0).mean()) if outside else float("nan"))
    return " | ".join(f"{100 * share:.1f} %" for share in counts)


if __name__ == "__main__":
    main()
