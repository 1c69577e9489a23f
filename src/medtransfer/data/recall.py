"""How many planted copies the near search finds, kind of change by kind of change."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medtransfer.data.images import Pixels, equalize
from medtransfer.data.leaks import GateConfig
from medtransfer.data.looks import Looks, make_looks
from medtransfer.data.near import near_duplicates

Change = Callable[[Pixels, np.random.Generator], Pixels]


def recall_by_transform(
    images: Sequence[Pixels],
    config: GateConfig,
    generator: np.random.Generator,
    *,
    among: Looks | None = None,
    radius: float | None = None,
) -> dict[str, float]:
    """Plant one changed copy of every image and return the share that the gate finds, and its false positives.

    Args:
        images: uint8 ``[1, H, W]`` of any sizes that show different things.
        config: the similarity under test.
        generator: draws the strength of every change.
        among: further images that compete with the originals to be a copy's candidates.
        radius: squared radius of the search under test; none derives it from the number of images.

    Returns:
        The share by the names of ``CHANGES``, and ``false_positives``: that of images paired with another original.
    """
    count, originals = len(images), make_looks(images)
    rows = np.arange(count)
    others = among or Looks(originals.thumbnails[:0], originals.spectra[:0])
    recall: dict[str, float] = {}
    for name, change in CHANGES.items():
        copies = make_looks([change(image, generator) for image in images])
        looks = _joined(originals, copies, others)

        def crosses(i: Pixels, j: Pixels) -> Pixels:
            crossing: Pixels = ((i >= count) & (i < 2 * count)) != ((j >= count) & (j < 2 * count))
            return crossing

        near = near_duplicates(looks, rows + count, crosses, least=config.min_similarity, radius=radius)
        recall[name] = float((near.j - near.i == count).sum() / count)
    near = near_duplicates(originals, rows, lambda i, j: i != j, least=config.min_similarity, radius=radius)
    recall["false_positives"] = len(np.union1d(near.i, near.j)) / count
    return recall


def _joined(*parts: Looks) -> Looks:
    return Looks(np.concatenate([p.thumbnails for p in parts]), np.concatenate([p.spectra for p in parts]))


def _reencode(image: Pixels, generator: np.random.Generator) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=int(generator.integers(40, 96)))
    return np.asarray(Image.open(buffer))[None]


def _resize(image: Pixels, generator: np.random.Generator) -> Pixels:
    height, width = image.shape[1:]
    scale = generator.uniform(0.4, 0.9)
    sides = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image[0]).resize(sides, Image.Resampling.BICUBIC))[None]


def _brighten(image: Pixels, generator: np.random.Generator) -> Pixels:
    shift = int(generator.integers(5, 26)) * int(generator.choice([-1, 1]))
    return np.clip(image.astype(np.int16) + shift, 0, 255).astype(np.uint8)


def _crop(image: Pixels, shares: Sequence[float]) -> Pixels:
    """Leave out shares of the height and width at left, top, right and bottom."""
    height, width = image.shape[1:]
    left, top, right, bottom = (round(s * side) for s, side in zip(shares, (width, height) * 2, strict=True))
    return image[:, top : height - bottom, left : width - right]


def _crop_two_sides(image: Pixels, generator: np.random.Generator) -> Pixels:
    return _crop(image, np.roll([0.05, 0.05, 0, 0], generator.integers(4)).tolist())


def _frame(image: Pixels, generator: np.random.Generator) -> Pixels:
    rows, columns = (round(generator.uniform(0.02, 0.1) * side) for side in image.shape[1:])
    grey = int(generator.choice([0, 128, 255]))
    return np.pad(image, ((0, 0), (rows, rows), (columns, columns)), constant_values=grey)


def _rotate(image: Pixels, generator: np.random.Generator) -> Pixels:
    angle = float(generator.choice([-1, 1]) * generator.uniform(1, 3))
    return np.asarray(Image.fromarray(image[0]).rotate(angle, Image.Resampling.BICUBIC))[None]


def _write(image: Pixels, generator: np.random.Generator) -> Pixels:
    """Burn in one to three lines of white or black letters, 6 to 12 % of the height tall."""
    drawn = Image.fromarray(image[0]).copy()
    pen, (width, height) = ImageDraw.Draw(drawn), drawn.size
    font = ImageFont.load_default(max(6, round(height * generator.uniform(0.06, 0.12))))
    for _ in range(int(generator.integers(1, 4))):
        letters = "".join(generator.choice(list("ABCDEFGHLRP0123456789 "), generator.integers(3, 9)))
        place = generator.uniform(0, 0.7) * width, generator.uniform(0, 0.9) * height
        pen.text(place, letters, fill=int(generator.choice([0, 255])), font=font)
    return np.asarray(drawn)[None]


CHANGES: dict[str, Change] = {
    "identical": lambda image, _: image.copy(),
    "reencoded": _reencode,
    "resized": _resize,
    "brightness": _brighten,
    "mirrored": lambda image, _: image[..., ::-1],
    "upside_down": lambda image, _: image[:, ::-1],
    "quarter_turn": lambda image, generator: np.rot90(image, int(generator.choice([1, 3])), (1, 2)),
    "inverted": lambda image, _: 255 - image,
    "equalised": lambda image, _: equalize(image),
    "cropped_2_percent_per_side": lambda image, _: _crop(image, [0.02] * 4),
    "cropped_5_percent_per_side": lambda image, _: _crop(image, [0.05] * 4),
    "cropped_5_percent_at_two_sides": _crop_two_sides,
    "bordered": _frame,
    "rotated_1_to_3_degrees": _rotate,
    "text_burnt_in": _write,
    "cropped_10_percent_per_side": lambda image, _: _crop(image, [0.1] * 4),
    "rotated_6_degrees": lambda image, _: np.asarray(Image.fromarray(image[0]).rotate(6))[None],
}
"""The last two are beyond what the search is made for."""
