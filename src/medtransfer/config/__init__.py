"""Typed, frozen parameters: the base class, dotted paths and fingerprints."""

from medtransfer.config.base import Config
from medtransfer.config.dotted import fingerprint, flatten

__all__ = ["Config", "fingerprint", "flatten"]
