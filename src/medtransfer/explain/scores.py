"""The number that an explanation explains: a class's evidence."""

from jaxtyping import Float
from torch import Tensor

from medtransfer.errors import ModelError


def class_score(logits: Float[Tensor, "batch outputs"], output: int) -> Float[Tensor, " batch"]:
    """Return the logit of a class; of two classes its log odds, since what both logits share moves no probability.

    Raises:
        ModelError: the network has no such output.
    """
    if not 0 <= output < logits.shape[1]:
        last = logits.shape[1] - 1
        raise ModelError(
            f"explanation: output {output} does not exist, the network has {logits.shape[1]}; take 0 to {last}"
        )
    return logits[:, output] - logits[:, 1 - output] if logits.shape[1] == 2 else logits[:, output]
