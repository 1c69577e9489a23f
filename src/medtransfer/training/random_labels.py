"""A twin of a network that learnt permuted labels: the other half of the sanity tests of Adebayo et al. 2018."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.explain.scores import class_score
from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import joined

STEPS, BATCH, RATE = 32, 8, 1e-3


class Twin(NamedTuple):
    """The trained twin, and the share of the last batches' images whose permuted label it gives: 0.5 is chance."""

    network: Classifier
    fitted: float


def learn_permuted_labels(
    network: Classifier, images: Tensor, target: NDArray[np.bool_], column: int, *, seed: int = 0
) -> Twin:
    """Train a fresh network on labels that were dealt out to the images at random.

    ``STEPS`` steps of AdamW: its maps come from images and chance alone, as far as it has learnt anything at all.

    Args:
        network: untrained, on the device of the images; it is changed.
        images: normalised ``[N, 3, h, w]``.
        target: their true labels ``[N]``; their shares are kept.
        column: of the output among those of all heads.
        seed: of the permutation and of the batches.
    """
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.permutation(target).astype(np.float32)).to(images.device)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    network.train()
    right: list[float] = []
    order = np.concatenate([rng.permutation(len(target)) for _ in range(1 + STEPS * BATCH // len(target))])
    for step in range(STEPS):
        rows = torch.from_numpy(order[step * BATCH : (step + 1) * BATCH]).to(images.device)
        score = class_score(joined(network(images[rows])), column)
        loss = F.binary_cross_entropy_with_logits(score, labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        right.append(float(((score > 0) == (labels[rows] > 0.5)).float().mean()))
    return Twin(network.eval(), float(np.mean(right[-STEPS // 4 :])))
