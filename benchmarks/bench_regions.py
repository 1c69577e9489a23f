"""Region boundary map against the plain loop over 3 x 3 windows, on a lung mask and on noise of 512 x 512 pixels."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import interleave, record

from medtransfer.ssl.regions import boundary_map

SIZE = 512
GOAL = 500


def plain_loop(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Count the distinct values of every window, pixel by pixel."""
    rows = image.tolist()
    boundary = np.zeros(image.shape, dtype=bool)
    for y in range(1, len(rows) - 1):
        for x in range(1, len(rows[0]) - 1):
            window = rows[y - 1][x - 1 : x + 2] + rows[y][x - 1 : x + 2] + rows[y + 1][x - 1 : x + 2]
            boundary[y, x] = len(set(window)) > 1
    return boundary


def pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """Return a mask of two lungs, and noise."""
    y, x = np.mgrid[:SIZE, :SIZE]
    ellipses = [((x - c) / 70) ** 2 + ((y - 256) / 150) ** 2 <= 1 for c in (160, 350)]
    lungs = np.logical_or(*ellipses).astype(np.uint8)
    return {"lung mask": lungs, "noise": np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)}


def main() -> None:
    """Measure both pictures."""
    table: list[dict[str, Any]] = []
    for name, image in pictures().items():
        equal = bool(np.array_equal(plain_loop(image), boundary_map(image)))
        times = interleave(partial(plain_loop, image), partial(boundary_map, image))
        table.append({"picture": name, "size": SIZE, "equal": equal, **times})
    record("regions", table, goal=f"boundary_map at least {GOAL}x the plain loop on {SIZE} x {SIZE}, outputs equal")
    if not all(row["equal"] and row["ratio"] >= GOAL for row in table):
        raise SystemExit("regions: the goal is missed")


if __name__ == "__main__":
    main()
