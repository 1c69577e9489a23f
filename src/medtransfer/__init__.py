"""medtransfer: which pretrained knowledge transfers to a medical imaging task, how much, and why."""

__version__ = "0.1.0"
