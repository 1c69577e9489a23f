"""Contrastive losses: InfoNCE against a queue and NT-Xent inside a batch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medtransfer.losses.precision import at_least_single


def info_nce(
    query: Float[Tensor, "batch dim"],
    key: Float[Tensor, "batch dim"],
    queue: Float[Tensor, "entries dim"],
    *,
    temperature: float,
    own: Bool[Tensor, "batch entries"] | None = None,
) -> Float[Tensor, ""]:
    """Return InfoNCE in nats, Eq. 2 of Liu & Ji 2021, averaged over the batch.

    -log[ exp(q.k/t) / (exp(q.k/t) + sum_j exp(q.k_j/t)) ]. The temperature divides every term, as in MoCo (He et al.
    2020, Eq. 1); the equation as printed leaves it out of the negative terms.

    Args:
        query: unit rows, with gradient.
        key: unit rows, the positives of the queries.
        queue: unit rows, the negatives.
        temperature: t.
        own: True where an entry is no negative of a query (its own image, or an empty place); such terms vanish.
    """
    with torch.autocast(query.device.type, enabled=False):
        q, k, entries = at_least_single(query), at_least_single(key), at_least_single(queue)
        positive = (q * k).sum(dim=1, keepdim=True)
        negative = q @ entries.T
        if own is not None:
            negative = negative.masked_fill(own, -torch.inf)
        logits = torch.cat([positive, negative], dim=1) / temperature
        return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def nt_xent(z: Float[Tensor, "rows dim"], temperature: float) -> Float[Tensor, ""]:
    """Return NT-Xent in nats (Chen et al. 2020, Eq. 1), averaged over the 2N rows.

    Each row is classified against the 2N - 1 others; its partner is the right answer.

    Args:
        z: unit rows; rows 2i and 2i + 1 are the two views of image i.
        temperature: t.
    """
    with torch.autocast(z.device.type, enabled=False):
        rows = at_least_single(z)
        itself = torch.eye(len(rows), dtype=torch.bool, device=z.device)
        logits = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
        partner = torch.arange(len(rows), device=z.device) ^ 1
        return F.cross_entropy(logits, partner)
