"""Every error a user can meet: one sentence with what, where, what was expected and what to do."""


class MedTransferError(Exception):
    """A mistake the user can fix. The command line prints the message alone and exits with ``exit_code``."""

    exit_code = 2


class ConfigError(MedTransferError):
    """A parameter is missing, misspelt or impossible."""


class DataError(MedTransferError):
    """A file, table or label is not what its layout promises."""


class ModelError(MedTransferError):
    """A network, site or weight does not exist or does not fit."""


class CheckpointError(MedTransferError):
    """A checkpoint is damaged or belongs to another run, network or data set."""


class TrackingError(MedTransferError):
    """The tracking store or the model registry refused something."""


class GateClosed(MedTransferError):  # noqa: N818  # not an error: the pipeline did its duty
    """The pipeline stops on purpose: going on would produce a number that cannot be trusted."""

    exit_code = 3


class LeakError(GateClosed):
    """A patient or an image is in two splits."""


class TrainingError(MedTransferError):
    """Training cannot go on: the loss is not a number, or nothing is left to train."""
