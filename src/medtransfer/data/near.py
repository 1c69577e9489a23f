"""Near-duplicates among many images: candidates by spectrum without comparing all pairs, confirmed by registration.

Spectra are brought into a canonical orientation and sign, projected (``discriminant.py``) and looked up in an inverted
file: each is assigned to the nearest of many cells, and a query is compared with the members of the cells nearest to it
(Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", section IV). Where the canonical
orientation of a query is uncertain, every likely one is looked up.

The work is bounded: the radius shrinks with the number of images so that chance alone gives at most ``BUDGET`` pairs,
an image keeps its ``NEAREST`` candidates, and ``MOST`` pairs are registered, the nearest of every image first. Images
of which candidates were dropped are counted in ``cut``, and plain ones, which resemble nothing, in ``plain``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.discriminant import discriminant, position
from medtransfer.data.looks import Floats, Looks, boxes, orient, orientations, ranks

Positions = npt.NDArray[np.int64]
Counts = Callable[[Positions, Positions], npt.NDArray[np.bool_]]
RADIUS = (40.0, 300.0)
"""Smallest and largest squared radius: about 95 % of rotated COVID-CT slices, and all cropped by 5 % at two sides."""
BUDGET = 8_000
FEW = 1_000
"""Of so few queries all ``NEAREST`` candidates within the largest radius can be registered."""
NEAREST = 12
MOST = 20_000
CELL = 1000
PROBES = 6
DOUBT = 2.0
"""An orientation is uncertain when the deciding frequency is within this number of standard deviations of a copy."""
BLOCK = 4096
SAMPLE = 1 << 19
"""Random pairs from which the radius is taken."""
PAIRS = 1 << 22
"""Distances that are in memory at a time."""
BATCH = 512
PLAIN = 1e-2


@dataclass(frozen=True)
class Near:
    """Pairs of rows i < j with their similarity up to 1, the squared radius searched, and what was bounded."""

    i: Positions
    j: Positions
    similarity: Floats
    radius: float
    candidates: int
    cut: int
    plain: int


@dataclass(frozen=True)
class _Entries:
    """Projected spectra with the row, frame, orientation (0–7) and sign that each is of."""

    values: Floats
    row: Positions
    frame: npt.NDArray[np.int8]
    orientation: npt.NDArray[np.int8]
    sign: npt.NDArray[np.int8]

    def __getitem__(self, chosen: Positions) -> "_Entries":
        tags = self.frame[chosen], self.orientation[chosen], self.sign[chosen]
        return _Entries(self.values[chosen], self.row[chosen], *tags)


def near_duplicates(
    looks: Looks, queries: Positions, counts: Counts, *, least: float, radius: float | None = None
) -> Near:
    """Return the near-duplicates among images, each pair once.

    Args:
        looks: of all images.
        queries: rows of which every counting pair has at least one.
        counts: takes rows (i, j) and returns whether their pair matters.
        least: smallest similarity of a near-duplicate.
        radius: squared radius of the search; none derives it from the number of images.
    """
    index = _entries(looks, np.arange(len(looks)), uncertain=False)
    asked = _entries(looks, queries, uncertain=True)
    radius = _radius(index, asked) if radius is None else radius
    hits, cut = _search(index, asked, counts, radius)
    found = [_confirm(looks, asked[hits[0][part]], index[hits[1][part]], least) for part in _parts(len(hits[0]))]
    similarity = np.concatenate([np.zeros(0, np.float32), *found])
    i, j = asked.row[hits[0]], index.row[hits[1]]
    keep = similarity >= least
    low, high = np.minimum(i, j)[keep], np.maximum(i, j)[keep]
    order = np.lexsort((-similarity[keep], high, low))
    low, high = low[order], high[order]
    first = np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)][: len(low)]
    plain = len(looks) - len(np.unique(index.row))
    return Near(low[first], high[first], similarity[keep][order][first], radius, len(i), cut, plain)


def _entries(looks: Looks, rows: Positions, *, uncertain: bool) -> _Entries:
    """Return the entries of the rows' frames: in their canonical orientation, or in every likely one."""
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        spectra = looks.spectra[some].astype(np.float32)
        for frame in range(spectra.shape[1]):
            own = np.abs(spectra[:, frame]).sum(1) > PLAIN
            if frame == 1:  # without a border it is the first frame
                own &= (spectra[:, 1] != spectra[:, 0]).any(1)
            for chosen, orientation, sign, values in _oriented(spectra[own, frame], uncertain=uncertain):
                shape = len(chosen)
                tags = (np.full(shape, tag, np.int8) for tag in (frame, orientation, sign))
                parts.append((values, some[own][chosen], *tags))
    empty = (np.zeros((0, discriminant().projection.shape[1]), np.float32), np.zeros(0, np.int64))
    parts.append((*empty, *(np.zeros(0, np.int8) for _ in range(3))))
    return _Entries(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _oriented(spectra: Floats, *, uncertain: bool) -> Iterator[tuple[Positions, int, int, Floats]]:
    """Yield rows, orientation, sign and projected spectra: canonical has the larger slope down, both positive."""
    projection, noise = discriminant()
    down, across = spectra[:, position(1, 0)], spectra[:, position(0, 1)]
    bend = spectra[:, position(2, 0)] + spectra[:, position(0, 2)]
    doubt = DOUBT * noise[position(1, 0)] * uncertain
    odd = DOUBT * np.sqrt(2) * noise[position(2, 0)] * uncertain

    def likely(value: Floats, positive: bool, margin: float) -> npt.NDArray[np.bool_]:
        return (value >= -margin) if positive else (value < margin)

    for orientation, (order, signs) in enumerate(orientations()):
        swap, upside_down, mirrored = (bool(orientation & bit) for bit in (4, 2, 1))
        first, second = (across, down) if swap else (down, across)
        upright = likely(np.abs(down) - np.abs(across), not swap, doubt)
        for sign in (1, -1):
            rows = np.flatnonzero(
                upright
                & likely(bend, sign > 0, odd)
                & likely(sign * first, not upside_down, doubt)
                & likely(sign * second, not mirrored, doubt)
            )
            turned = (spectra[rows][:, order] * (sign * signs)) @ projection
            yield rows.astype(np.int64), orientation, sign, turned.astype(np.float32)


def _radius(index: _Entries, asked: _Entries) -> float:
    """Return the squared radius in which chance gives at most ``BUDGET`` pairs, within ``RADIUS``."""
    pairs = len(index.row) * len(asked.row)
    if pairs <= BUDGET or len(np.unique(asked.row)) <= FEW:
        return RADIUS[1]
    generator = np.random.default_rng(0)
    a, b = (generator.integers(0, len(side.row), SAMPLE) for side in (index, asked))
    other = index.row[a] != asked.row[b]
    a, b = a[other], b[other]
    distance = [((index.values[a[k]] - asked.values[b[k]]) ** 2).sum(1) for k in _parts(len(a), 1 << 16)]
    if not distance:
        return RADIUS[1]
    return float(np.clip(np.quantile(np.concatenate(distance), min(1.0, BUDGET / pairs)), *RADIUS))


def _search(index: _Entries, asked: _Entries, counts: Counts, radius: float) -> tuple[tuple[Positions, Positions], int]:
    """Return positions (in ``asked``, in ``index``) of candidates, one per pair of rows, and how many rows were cut."""
    cells = max(1, len(index.values) // CELL)
    generator = np.random.default_rng(0)
    centres = index.values[generator.choice(len(index.values), cells, replace=False)] if len(index.values) else None
    empty = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if centres is None or not len(asked.values):
        return empty, 0
    home = np.concatenate([_nearest(index.values[k], centres, 1)[:, 0] for k in _parts(len(index.values), BLOCK)])
    probes = np.concatenate([_nearest(asked.values[k], centres, PROBES) for k in _parts(len(asked.values), BLOCK)])
    members = np.split(np.argsort(home, kind="stable"), np.cumsum(np.bincount(home, minlength=cells))[:-1])
    order = np.argsort(probes.ravel(), kind="stable")
    queries = np.split(order // probes.shape[1], np.cumsum(np.bincount(probes.ravel(), minlength=cells))[:-1])
    found: list[tuple[npt.NDArray[Any], ...]] = [(*empty, np.zeros(0, np.float32))]
    for here, member in zip(queries, members, strict=True):
        for part in _parts(len(here), max(1, PAIRS // max(1, len(member)))):
            found.append(_compare(index, asked, here[part], member, counts, radius))
    a, b, distance = (np.concatenate(each) for each in zip(*found, strict=True))
    return _per_row(asked.row[a], index.row[b], distance, (a, b))


def _nearest(values: Floats, centres: Floats, count: int) -> Positions:
    import torch

    distance = torch.from_numpy((centres**2).sum(1)) - 2 * torch.from_numpy(values) @ torch.from_numpy(centres.T)
    return np.asarray(distance.topk(min(count, len(centres)), largest=False).indices.numpy())


def _compare(
    index: _Entries, asked: _Entries, here: Positions, member: Positions, counts: Counts, radius: float
) -> tuple[Positions, Positions, Floats]:
    """Return the positions of counting pairs of queries and members within the radius, and their distance."""
    x, y = asked.values[here], index.values[member]
    distance = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    inside = distance <= radius
    if inside.sum() > len(here) * 4 * NEAREST and len(member) > 4 * NEAREST:  # a crowd: keep the nearest that count
        rows = np.broadcast_to(asked.row[here][:, None], distance.shape).ravel(), np.tile(index.row[member], len(here))
        distance[~((rows[0] != rows[1]) & counts(*rows)).reshape(distance.shape)] = np.inf
        nearest = np.argpartition(distance, NEAREST, axis=1)[:, : NEAREST + 1]
        inside = np.zeros_like(inside)
        np.put_along_axis(inside, nearest, np.take_along_axis(distance, nearest, 1) <= radius, 1)
    a, b = np.nonzero(inside)
    i, j = asked.row[here[a]], index.row[member[b]]
    keep = (i != j) & counts(i, j)
    a, b = a[keep], b[keep]
    return here[a], member[b], distance[a, b]


def _per_row(
    i: Positions, j: Positions, distance: Floats, hits: tuple[Positions, Positions]
) -> tuple[tuple[Positions, Positions], int]:
    """Keep the nearest hit of every pair of rows, and the ``NEAREST`` pairs of every query's row."""
    order = np.lexsort((distance, np.maximum(i, j), np.minimum(i, j)))
    low, high = np.minimum(i, j)[order], np.maximum(i, j)[order]
    order = order[np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)][: len(low)]]
    order = order[np.lexsort((distance[order], i[order]))]
    starts = np.flatnonzero(np.r_[True, np.diff(i[order]) != 0][: len(order)])
    lengths = np.diff(np.r_[starts, len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, lengths)
    kept = np.lexsort((distance[order], rank))[: min(MOST, int((rank < NEAREST).sum()))]
    cut = len(np.unique(np.delete(i[order], kept)))
    kept = order[kept]
    return (hits[0][kept], hits[1][kept]), cut


def _confirm(looks: Looks, a: _Entries, b: _Entries, least: float) -> Floats:
    from medtransfer.data.registration import similarity

    return similarity(_view(looks, a), _view(looks, b), least=least)


def _view(looks: Looks, entries: _Entries) -> Floats:
    """Return ranks of the entries' frames in their canonical orientation and sign ``[N, 64, 64]``."""
    from medtransfer.data.registration import framed

    small = np.asarray(looks.thumbnails[entries.row])
    for orientation in np.unique(entries.orientation):
        own = entries.orientation == orientation
        small[own] = orient(small[own], int(orientation))
    inner = np.minimum(entries.frame, 1)  # the middle aligns with the rest of its image
    box = boxes(small)[np.arange(len(small)), inner]
    return framed(ranks(small, box) * entries.sign[:, None, None], box)


def _parts(length: int, size: int = BATCH) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
