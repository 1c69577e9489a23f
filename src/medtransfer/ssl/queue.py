"""The queue of past keys, as visible state that a checkpoint saves."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed, nn

from medtransfer.errors import ConfigError

EMPTY = -1
"""Owner of a place that no key has filled yet."""


class KeyQueue(nn.Module):
    """A ring of the last ``size`` keys with the image that each came from.

    Buffers (all in the state dict): ``keys`` [size, dim] float32 unit rows, ``owner`` [size] int64 image numbers with
    -1 for an empty place, ``pointer`` int64, the next place to be overwritten.
    """

    keys: Tensor
    owner: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, dim))
        self.register_buffer("owner", torch.full((size,), EMPTY))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    def own(self, index: Int[Tensor, " batch"]) -> Bool[Tensor, "batch entries"]:
        """Return True where an entry is no negative: it is empty or came from the query's own image (index)."""
        return (self.owner == index[:, None]) | (self.owner == EMPTY)

    @torch.no_grad()
    def push(self, keys: Float[Tensor, "batch dim"], index: Int[Tensor, " batch"], *, gather: bool) -> None:
        """Overwrite the oldest entries.

        Args:
            keys: unit rows.
            index: the image number of each row.
            gather: take the rows of all processes, in rank order, so that every process holds the same queue.
        """
        if gather:
            keys, index = gather_rows(keys), gather_rows(index)
        # a tensor of places instead of a slice: no wait for the accelerator
        places = (self.pointer + torch.arange(len(keys), device=self.pointer.device)) % len(self.keys)
        self.keys[places] = keys.to(self.keys.dtype)
        self.owner[places] = index
        self.pointer.add_(len(keys)).remainder_(len(self.keys))


def check_queue(size: int, *, images: int, batch_size: int) -> None:
    """Refuse a queue that cannot work on this training set.

    Args:
        size: entries.
        images: training images; a longer queue would hold several stale keys of every image.
        batch_size: keys a step, of all processes together.

    Raises:
        ConfigError: the queue is longer than the training set or no multiple of the batch.
    """
    if size > images or size % batch_size:
        best = images // batch_size * batch_size
        advice = f"set queue to {best} or less" if best else f"set batch_size to {images} or less"
        raise ConfigError(
            f"ssl.queue is {size}, expected a multiple of the batch size ({batch_size}) "
            f"and at most the number of training images ({images}): {advice}"
        )


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes in rank order; the rows themselves when only one process runs."""
    if processes() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(processes())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
