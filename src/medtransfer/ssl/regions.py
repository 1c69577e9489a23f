"""Locate: the first step of the Generator (locate, crop, resize) of Liu & Ji 2021, section 5.3.

Boxes are located once per data set, in numpy; the loader crops and resizes them in every step (``crop_boxes``).
"""

import logging
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import DataError
from medtransfer.losses.regions import REGIONS
from medtransfer.ssl.lungs import lung_mask

LOG = logging.getLogger(__name__)

REFERENCE_BOXES: NDArray[np.float32] = np.array(
    [
        # x_c,  y_c,   w,    h: fractions of the lungs' bounding box
        [0.25, 0.205, 0.50, 0.41],  # ru
        [0.25, 0.445, 0.50, 0.27],  # rm
        [0.25, 0.740, 0.50, 0.52],  # rl
        [0.75, 0.280, 0.50, 0.56],  # lu
        [0.75, 0.730, 0.50, 0.54],  # ll
    ],
    dtype=np.float32,
)
"""Where the lobes are, in radiological view (the patient's right at the image's left, anterior on top).

The paper shows its boxes in Fig. 2 without numbers. These are derived: the heights follow the lobes' rough shares of
the lungs' volume (right 0.36, 0.17, 0.47; left 0.51, 0.49), widened by 0.05 at each inner border so that a crop covers
its lobe.
"""

AXIAL_BOXES: NDArray[np.float32] = np.array(
    [
        # x_c,  y_c,   w,    h: fractions of the lungs' bounding box
        [0.25, 0.350, 0.50, 0.70],  # ru
        [0.25, 0.250, 0.50, 0.50],  # rm
        [0.25, 0.675, 0.50, 0.65],  # rl
        [0.75, 0.350, 0.50, 0.70],  # lu
        [0.75, 0.675, 0.50, 0.65],  # ll
    ],
    dtype=np.float32,
)
"""Where the lobes are in an axial slice of unknown height.

The oblique fissure moves from the back to the front between apex and base. In front of it lies the upper lobe in high
slices, where the fissure is far back, and the middle lobe in low ones, where it has passed the middle; both start at
the front wall and seldom share a slice. Behind it lies the lower lobe. ``REFERENCE_BOXES`` stack the lobes as a coronal
view does and miss most of the middle lobe here.
"""

BoxTable = Literal["reference", "axial"]
TABLES: dict[BoxTable, NDArray[np.float32]] = {"reference": REFERENCE_BOXES, "axial": AXIAL_BOXES}

SMALLEST_BOX = 0.10
"""Share of the image that the lungs' bounding box must reach; a smaller one is taken for an error."""


class Located(NamedTuple):
    """Five boxes per image, in the order of ``losses.regions.REGIONS``."""

    boxes: NDArray[np.float32]
    """[N, 5, 4]: x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    found: NDArray[np.bool_]
    """[N]: False where no lungs were found and the whole image took the place of their bounding box."""


def boundary_map(image: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return True at the centre of every 3 x 3 window that holds more than one distinct value.

    The rule of the paper, section 5.3. The outermost pixels have no whole window and are never boundary.

    Args:
        image: [H, W].
    """
    boundary = np.zeros(image.shape, dtype=bool)
    if min(image.shape) < 3:
        return boundary
    # nine values are equal when neighbours are equal along the three rows and along one column
    along_row = image[:, :-1] != image[:, 1:]
    rows = along_row[:, :-1] | along_row[:, 1:]
    down_column = image[:-1, 1:-1] != image[1:, 1:-1]
    boundary[1:-1, 1:-1] = rows[:-2] | rows[1:-1] | rows[2:] | down_column[:-1] | down_column[1:]
    return boundary


def locate(images: NDArray[np.uint8], *, table: BoxTable = "reference") -> Located:
    """Map the boxes of a table into the lungs' bounding box of every image.

    The bounding box is that of the closed contours which the boundary rule draws on the binary lung mask. Where no
    lungs are found, or their box is under a tenth of the image, the whole image takes its place, ``found`` is False
    and a warning says how many there are.

    Args:
        images: [N, H, W] grey.
        table: a name out of ``TABLES``.

    Example:
        boxes, found = locate(slices, table="axial")
        crops = crop_boxes(torch.from_numpy(slices[:, None]), torch.from_numpy(boxes), size=32)

    Raises:
        DataError: not a stack of grey images.
    """
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(
            f"locate: images are {images.dtype} of shape {images.shape}, expected uint8 [N, H, W]: "
            "convert to 8-bit grey and stack them"
        )
    height, width = images.shape[1:]
    whole = np.array([0, 0, width, height], dtype=np.float32)
    lungs = [_lung_box(image) for image in images]
    found = np.array([box is not None for box in lungs], dtype=bool)
    if not found.all():
        LOG.warning(
            "locate: %d of %d images show no lungs; the whole image is used in their place",
            (~found).sum(),
            len(found),
        )
    outer = np.array([whole if box is None else box for box in lungs], dtype=np.float32).reshape(-1, 4)
    return Located(_inside(outer, TABLES[table]), found)


class Covered(NamedTuple):
    """Pixels of each lobe, in the order of ``losses.regions.REGIONS``: inside its own box, and altogether."""

    inside: NDArray[np.int64]
    """[N, 5]."""
    total: NDArray[np.int64]
    """[N, 5]; 0 where a slice does not show the lobe."""

    def share(self) -> dict[str, float | None]:
        """Return the share of each lobe's pixels that its box holds, over all slices; None for a lobe never shown."""
        pairs = zip(REGIONS, self.inside.sum(0), self.total.sum(0), strict=True)
        return {name: float(inside / total) if total else None for name, inside, total in pairs}


def coverage(masks: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Covered:
    """Count how much of each known lobe is inside its box; a pixel is inside when its centre is.

    Args:
        masks: [N, H, W], the lowest three bits 1 to 5 for the lobes in the order of ``losses.regions.REGIONS``.
        boxes: [N, 5, 4]: x0, y0, x1, y1 in pixels.
    """
    height, width = masks.shape[1:]
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    x0, y0, x1, y1 = (boxes[..., side, None] for side in range(4))
    columns, rows = (x >= x0) & (x < x1), (y >= y0) & (y < y1)
    lobes = (masks & 7)[:, None] == np.arange(1, len(REGIONS) + 1)[:, None, None]
    inside = lobes & rows[..., :, None] & columns[..., None, :]
    return Covered(inside.sum((2, 3)), lobes.sum((2, 3)))


def _lung_box(image: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    mask = lung_mask(image)
    contour = boundary_map(np.pad(mask, 1).astype(np.uint8))[1:-1, 1:-1]
    rows, columns = np.flatnonzero(contour.any(axis=1)), np.flatnonzero(contour.any(axis=0))
    if not len(rows):
        return None
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    share = (box[2] - box[0]) * (box[3] - box[1]) / image.size
    return box if share >= SMALLEST_BOX else None


def _inside(outer: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the table's five boxes [N, 5, 4] inside each outer box [N, 4]."""
    centre, extent = table[:, :2], table[:, 2:]
    corners = np.stack([centre - extent / 2, centre + extent / 2], axis=1)
    origin, span = outer[:, None, None, :2], (outer[:, 2:] - outer[:, :2])[:, None, None, :]
    return np.asarray((origin + corners * span).reshape(-1, 5, 4), dtype=np.float32)
