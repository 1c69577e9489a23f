"""Whether two thumbnails show the same image: align them by an affine map, then compare small structures.

Alignment is Gauss-Newton on the affine map from coarse to fine (Lucas & Kanade 1981; Baker & Matthews 2004,
"Lucas-Kanade 20 years on", section 2), with weights that fall with the residual, so that burnt-in text does not pull.
What is compared is the local contrast alone: brightness, contrast and slow shading do not count. The similarity is the
weighted median of the normalised correlation of small windows, so that text may spoil some of them. Hence two images
with the same textured background and different small objects count as near-duplicates.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

LEVELS = ((16, 8, 0.85), (32, 4, 0.88), (64, 3, 1.0))
"""Side in pixels, steps, and the share of the asked similarity below which a pair is given up."""
LIMIT = ((0.16, 0.09, 0.16), (0.09, 0.16, 0.16))
"""Largest distance of the affine map from the identity; sides of an image are 2 long."""
CONTRAST, FLOOR = 6.0, 0.1
"""Standard deviation in pixels of the neighbourhood for the local contrast, and the contrast taken as none."""
WINDOW, NOISE = 8, 0.05
"""Side of the compared windows in pixels, and the contrast within one that is taken as noise."""


def similarity(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32], *, least: float) -> npt.NDArray[np.float32]:
    """Return how alike pairs of ranked thumbnails are after alignment, 0 for pairs given up early.

    Args:
        a: ranks from −1 to 1 ``[N, 64, 64]``.
        b: as ``a``, in the same orientation and with the same sign.
        least: the similarity that will be asked for; pairs far below it on a coarse level are not refined.

    Returns:
        Similarity ``[N]`` up to 1.
    """
    result = torch.zeros(len(a))
    alive = torch.arange(len(a))
    x, y = _contrast(torch.from_numpy(a)), _contrast(torch.from_numpy(b))
    maps = torch.eye(2, 3).repeat(len(a), 1, 1)
    for side, steps, share in LEVELS:
        if not len(alive):
            break
        maps = _align(_reduce(x, side), _reduce(y, side), maps, steps)
        alike = torch.maximum(
            _compare(_reduce(x, side), _reduce(y, side), maps),
            _compare(_reduce(y, side), _reduce(x, side), _back(maps)),
        )  # the one that is enlarged loses sharpness
        keep = alike >= share * least
        if side == LEVELS[-1][0]:
            result[alive] = alike
        alive, x, y, maps = (part[keep] for part in (alive, x, y, maps))
    return np.asarray(result.numpy())


def framed(images: npt.NDArray[np.float32], box: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the boxes (left, top, right, bottom in pixels) ``[N, 4]`` of images ``[N, h, h]`` at the images' size."""
    low, high = (torch.from_numpy(np.ascontiguousarray(side)) / images.shape[-1] for side in (box[:, :2], box[:, 2:]))
    maps = torch.cat([torch.diag_embed(high - low), (low + high - 1)[..., None]], -1)
    return warp(images, maps.numpy())


def warp(images: npt.NDArray[np.float32], maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return images ``[N, h, h]`` sampled where affine maps ``[N, 2, 3]`` lead, in units of ``grid_sample``."""
    moved, _ = _warp(torch.from_numpy(images)[:, None], torch.from_numpy(maps))
    return np.asarray(moved[:, 0].numpy())


def _align(a: torch.Tensor, b: torch.Tensor, maps: torch.Tensor, steps: int) -> torch.Tensor:
    side = a.shape[-1]
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    x, y = place.expand(side, side), place[:, None].expand(side, side)
    limit, origin = torch.tensor(LIMIT), torch.eye(2, 3)
    right = F.pad(b[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    layers = torch.stack([b, right[:, 1:-1, 2:] - right[:, 1:-1, :-2], right[:, 2:, 1:-1] - right[:, :-2, 1:-1]], 1)
    for _ in range(steps):
        moved, valid = _warp(layers, maps)
        residual = a - moved[:, 0]
        weight = valid / (1 + residual**2)
        across, down = moved[:, 1] * side / 4, moved[:, 2] * side / 4
        slopes = torch.stack([across * x, across * y, across, down * x, down * y, down], -1).flatten(1, 2)
        weighted = slopes * weight.flatten(1)[..., None]
        normal = weighted.transpose(1, 2) @ slopes
        damping = normal.diagonal(dim1=1, dim2=2).mean(1) * 1e-2 + 1e-3
        normal = normal + damping[:, None, None] * torch.eye(6)
        change = torch.linalg.solve(normal, (weighted * residual.flatten(1)[..., None]).sum(1))
        maps = origin + (maps + change.view(-1, 2, 3) - origin).clamp(-limit, limit)
    return maps


def _compare(a: torch.Tensor, b: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return the weighted median of the windows' correlations; weights are the windows' contrast in ``a``."""
    moved, valid = _warp(b[:, None], maps)
    window = WINDOW if a.shape[-1] > 32 else WINDOW // 2

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d((values * valid)[:, None], window, window // 2)[:, 0].flatten(1)

    covered = mean(torch.ones_like(a))
    share = covered.clamp(min=0.01)
    mean_a, mean_b = mean(a) / share, mean(moved[:, 0]) / share
    square_a = (mean(a**2) / share - mean_a**2).clamp(min=0)
    square_b = (mean(moved[:, 0] ** 2) / share - mean_b**2).clamp(min=0)
    product = mean(a * moved[:, 0]) / share - mean_a * mean_b
    alike = product / ((square_a + NOISE**2) * (square_b + NOISE**2)).sqrt()
    weight = square_a.sqrt() * (covered > 0.9)
    order = alike.argsort(1)
    total = weight.gather(1, order).cumsum(1)
    place = (total < total[:, -1:] / 2).sum(1, keepdim=True).clamp(max=alike.shape[1] - 1)
    return alike.gather(1, order).gather(1, place)[:, 0] * (total[:, -1] > 0)


def _back(maps: torch.Tensor) -> torch.Tensor:
    """Return the inverse affine maps."""
    inverse = torch.linalg.inv(maps[:, :, :2])
    return torch.cat([inverse, -inverse @ maps[:, :, 2:]], -1)


def _warp(layers: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    grid = F.affine_grid(maps, [len(layers), 1, *layers.shape[-2:]], align_corners=False)
    moved = F.grid_sample(layers, grid, padding_mode="border", align_corners=False)
    return moved, (grid.abs() <= 1).all(-1).float()


def _reduce(images: torch.Tensor, side: int) -> torch.Tensor:
    return F.avg_pool2d(images[:, None], images.shape[-1] // side)[:, 0]


def _contrast(images: torch.Tensor) -> torch.Tensor:
    """Return the difference from a Gaussian mean of the neighbourhood in units of the local standard deviation."""
    detail = images - _smooth(images)
    return detail / (_smooth(detail**2) + FLOOR**2).sqrt()


def _smooth(images: torch.Tensor) -> torch.Tensor:
    blur = _blur(images.shape[-1])
    return blur @ images @ blur.T


@cache
def _blur(side: int) -> torch.Tensor:
    """Return the matrix ``[side, side]`` of a Gaussian mean along a line; pixels beyond its ends equal those there."""
    reach = int(2 * CONTRAST)
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * CONTRAST**2))
    wide = F.pad(torch.eye(side)[:, None], (reach, reach), mode="replicate")
    return F.conv1d(wide, (bell / bell.sum()).view(1, 1, -1))[:, 0].T.contiguous()
