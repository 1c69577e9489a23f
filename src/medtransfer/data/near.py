"""Near-duplicates among many images: candidates by spectrum without comparing all pairs, confirmed by registration.

Spectra are brought into a canonical orientation and sign, projected (``discriminant.py``) and looked up in an inverted
file: each is assigned to the nearest of many cells, and a query is compared with the members of the cells nearest to it
(Jégou, Douze & Schmid 2011, "Product quantization for nearest neighbor search", section IV). Where the canonical
orientation of a query is uncertain, every likely one is looked up.

The work is bounded: the radius shrinks with the number of images so that chance alone gives at most ``BUDGET`` pairs,
an image keeps its ``NEAREST`` candidates, and ``MOST`` pairs are registered, the nearest of every image first. Images
of which candidates were dropped are counted in ``cut``, and plain ones, which resemble nothing, in ``plain``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.discriminant import discriminant, position
from medtransfer.data.looks import Floats, Looks, boxes, orient, orientations, ranks

Positions = npt.NDArray[np.int64]
Hits = tuple[Positions, Positions, Floats]
"""Positions in the queries, positions in the index, squared distance."""
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
TAIL = 1e-4
"""Share of random pairs below which the radius is extrapolated: rarer distances are too few in the sample."""
PAIRS = 1 << 20
"""Distances that are in memory at a time: few enough for a CPU's cache."""
HELD = 1 << 21
"""Candidates that are held before all but the ``NEAREST`` of every image are dropped."""
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
    share = min(1.0, BUDGET / pairs)
    wide, narrow, radius = np.quantile(np.concatenate(distance), [10 * TAIL, TAIL, max(share, TAIL)])
    if share < TAIL and 0 < narrow < wide:  # small distances follow a power law
        radius = narrow * (share / TAIL) ** np.log10(wide / narrow)
    return float(np.clip(radius, *RADIUS))


def _search(index: _Entries, asked: _Entries, counts: Counts, radius: float) -> tuple[tuple[Positions, Positions], int]:
    """Return positions (in ``asked``, in ``index``) of candidates, one per pair of rows, and how many rows were cut."""
    cells = max(1, len(index.values) // CELL)
    generator = np.random.default_rng(0)
    none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    if not len(index.values) or not len(asked.values):
        return none[:2], 0
    centres = index.values[generator.choice(len(index.values), cells, replace=False)]
    members = _by_cell(_nearest(index.values, centres, 1), cells)
    queries = _by_cell(_nearest(asked.values, centres, PROBES), cells)
    found, held, cut = [none], 0, np.zeros(int(asked.row.max()) + 1, bool)
    for here, member in zip(queries, members, strict=True):
        for part in _parts(len(here), max(1, PAIRS // max(1, len(member)))):
            found.append(_compare(index, asked, here[part], member, counts, radius))
            held += len(found[-1][0])
            if held > HELD:
                found = [_best(index, asked, found, cut)]
                held = len(found[0][0]) // 2
    a, b, distance = _best(index, asked, found, cut)
    first = np.lexsort((distance, _rank(asked.row[a], distance)))
    cut[asked.row[a[first[MOST:]]]] = True
    return (a[first[:MOST]], b[first[:MOST]]), int(cut.sum())


def _nearest(values: Floats, centres: Floats, count: int) -> npt.NDArray[np.int32]:
    """Return the nearest centres of every value ``[N, count]``, or all where there are fewer."""
    import torch

    nearest = np.empty((len(values), min(count, len(centres))), np.int32)
    columns = torch.from_numpy(np.ascontiguousarray(centres.T))
    square = (columns**2).sum(0)
    for part in _parts(len(values)):
        distance = torch.addmm(square, torch.from_numpy(values[part]), columns, alpha=-2)
        if count == 1:
            nearest[part, 0] = distance.numpy().argmin(1)
        else:
            nearest[part] = distance.topk(nearest.shape[1], largest=False, sorted=False).indices.numpy()
    return nearest


def _by_cell(nearest: npt.NDArray[np.int32], cells: int) -> list[Positions]:
    """Return the rows of ``nearest`` that name each cell."""
    order = np.argsort(nearest.ravel(), kind="stable") // nearest.shape[1]
    return np.split(order, np.cumsum(np.bincount(nearest.ravel(), minlength=cells))[:-1])


def _compare(
    index: _Entries, asked: _Entries, here: Positions, member: Positions, counts: Counts, radius: float
) -> Hits:
    """Return the positions of counting pairs of queries and members within the radius, and their distance."""
    x, y = asked.values[here], index.values[member]
    square = (x**2).sum(1, keepdims=True)
    less = np.hstack([-2 * x, np.ones_like(square)]) @ np.column_stack([y, (y**2).sum(1)]).T
    inside = less <= radius - square  # the distance without the query's own square, in one product
    if inside.sum() > len(here) * 4 * NEAREST and len(member) > 4 * NEAREST:  # a crowd: keep the nearest that count
        i, j = np.broadcast_to(asked.row[here][:, None], less.shape).ravel(), np.tile(index.row[member], len(here))
        less[~((i != j) & counts(i, j)).reshape(less.shape)] = np.inf
        nearest = np.argpartition(less, NEAREST, axis=1)[:, : NEAREST + 1]
        inside = np.zeros_like(inside)
        np.put_along_axis(inside, nearest, np.take_along_axis(less, nearest, 1) <= radius - square, 1)
    a, b = np.divmod(np.flatnonzero(inside), len(member))
    i, j = asked.row[here[a]], index.row[member[b]]
    keep = (i != j) & counts(i, j)
    a, b = a[keep], b[keep]
    return here[a], member[b], less[a, b] + square[a, 0]


def _best(index: _Entries, asked: _Entries, found: Sequence[Hits], cut: npt.NDArray[np.bool_]) -> Hits:
    """Return the nearest hit of every pair of rows, ``NEAREST`` pairs of a query's row; others mark it in ``cut``."""
    a, b, distance = (np.concatenate(each) for each in zip(*found, strict=True))
    i, j = asked.row[a], index.row[b]
    order = np.lexsort((distance, np.maximum(i, j), np.minimum(i, j)))
    low, high = np.minimum(i, j)[order], np.maximum(i, j)[order]
    order = order[np.r_[True, (np.diff(low) != 0) | (np.diff(high) != 0)][: len(low)]]
    near = _rank(i[order], distance[order]) < NEAREST
    cut[i[order[~near]]] = True
    return a[order[near]], b[order[near]], distance[order[near]]


def _rank(rows: Positions, distance: Floats) -> Positions:
    """Return how many of the same row are nearer."""
    order = np.lexsort((distance, rows))
    starts = np.flatnonzero(np.r_[True, np.diff(rows[order]) != 0][: len(order)])
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return rank


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
