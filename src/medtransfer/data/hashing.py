"""Three fingerprints of an image: of its bytes, of its pixels, of its look.

The perceptual hash keeps the signs of the 64 DCT-II coefficients with both frequencies in 1–8 of a 32×32 grey
thumbnail (after Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", with the sign in
place of the median and without frequency 0, so that brightness does not count). Mirroring an image left to right
multiplies the coefficient of horizontal frequency v by (−1)^v, so the mirrored image's hash follows from the hash.

Measured on 400 chest X-rays and 400 CT slices: JPEG of quality 20–50, halving and resizing to 224 change at most 4 of
64 bits; two X-rays differ by 28 bits in the median, and 14 of 79,800 pairs by 10 or fewer.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from medtransfer.data.images import Pixels, resize
from medtransfer.files import sha256_file

__all__ = [
    "flipped_hash",
    "perceptual_hash",
    "perceptual_hashes",
    "pixel_sha",
    "sha256_file",
    "to_hex",
]

THUMBNAIL = 32
LUMA = np.array([0.299, 0.587, 0.114])
_FREQUENCY = np.arange(1, 9)[:, None]
_DCT = np.cos(np.pi * (2 * np.arange(THUMBNAIL) + 1) * _FREQUENCY / (2 * THUMBNAIL))
_ODD = 0xAAAA_AAAA_AAAA_AAAA  # bits, most significant first, whose horizontal frequency is 1, 3, 5 or 7


def pixel_sha(image: Pixels) -> str:
    """Return the SHA-256 of decoded pixels ``[C, H, W]``, their shape and type; three equal channels count as one."""
    if image.shape[0] == 3 and np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]):
        image = image[:1]
    digest = hashlib.sha256(f"{image.dtype.name}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def perceptual_hash(image: Pixels) -> int:
    """Return the 64-bit perceptual hash of an image uint8 or uint16 ``[C, H, W]``."""
    return int(perceptual_hashes([image])[0])


def perceptual_hashes(images: Iterable[Pixels]) -> npt.NDArray[np.uint64]:
    """Return the perceptual hashes of images ``[C, H, W]`` of any sizes, as uint64 ``[N]``."""
    thumbnails = np.stack([resize(_grey(image), THUMBNAIL)[0] for image in images]).astype(np.float64)
    signs = (_DCT @ thumbnails @ _DCT.T).reshape(len(thumbnails), 64) > 0
    return np.packbits(signs, axis=1).view(">u8")[:, 0].astype(np.uint64)


def flipped_hash(phash: int) -> int:
    """Return the perceptual hash of the image mirrored left to right, exact but for coefficients that are zero."""
    return phash ^ _ODD


def to_hex(phash: int) -> str:
    """Return a perceptual hash as 16 hexadecimal digits."""
    return f"{phash:016x}"


def _grey(image: Pixels) -> Pixels:
    if image.shape[0] == 1:
        return image
    return np.rint(np.tensordot(LUMA, image, axes=1))[None].astype(image.dtype)
