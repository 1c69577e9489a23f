"""Typed, frozen parameters: the base class, names, dotted paths and fingerprints."""

from medtransfer.config.base import Config
from medtransfer.config.dotted import fingerprint, flatten
from medtransfer.config.names import Name

__all__ = ["Config", "Name", "fingerprint", "flatten"]
