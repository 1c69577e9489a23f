"""Lung segmenters by name: what finds the lungs of an X-ray that has no mask file.

A segmenter is a function from grey images ``[N, 1, H, W]`` uint8 to lung masks ``[N, H, W]``. It sees images as they
are packed for the network (equalised and smoothed where these are), at the packed size; an empty half of the image
means *not found*.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medtransfer.errors import ModelError
from medtransfer.models.lung_fields import lung_fields

Segmenter = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.bool_]]

SEGMENTERS: dict[str, Segmenter] = {"lung_fields": lung_fields}


def require_segmenter(name: str) -> str:
    """Return the name of a segmenter; an empty one stands for none.

    Raises:
        ModelError: there is no such segmenter.
    """
    if name and name not in SEGMENTERS:
        raise ModelError(f"segmenter {name!r} does not exist; there are {', '.join(SEGMENTERS)}, or '' for none")
    return name


def segmenter(name: str) -> Segmenter | None:
    """Return a segmenter by its name, nothing for an empty one.

    Raises:
        ModelError: there is no such segmenter.
    """
    return SEGMENTERS[name] if require_segmenter(name) else None
