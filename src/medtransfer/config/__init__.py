"""Typed, frozen parameters: the base class, dotted overrides and fingerprints."""

from medtransfer.config.base import Config
from medtransfer.config.overrides import fingerprint, flatten, override

__all__ = ["Config", "fingerprint", "flatten", "override"]
