"""Every error a user can see: one sentence with what, where, what was expected and what to do."""


class MedTransferError(Exception):
    """An error that the user can fix. The command line prints only the message and exits with ``exit_code``."""

    exit_code = 2


class ConfigError(MedTransferError):
    """A parameter is missing, misspelt or invalid."""


class DataError(MedTransferError):
    """A file, table or label does not match its layout."""


class DamagedFile(DataError, ValueError):  # noqa: N818  # what is wrong is the file
    """A file of ours is not what was written: no JSON, or other content than was sealed."""


class ModelError(MedTransferError):
    """A network, site or weight does not exist or does not fit."""


class UnreachableError(ModelError):
    """Ready-made weights could not be fetched."""


class CheckpointError(MedTransferError):
    """A checkpoint is damaged or belongs to another run, network or data set."""


class TrackingError(MedTransferError):
    """The tracking store or the model registry refused something."""


class GateClosed(MedTransferError):  # noqa: N818  # not an error: the pipeline works as intended
    """The pipeline stops on purpose: continuing would produce a number that cannot be trusted."""

    exit_code = 3


class LeakError(GateClosed):
    """A patient or an image is in two splits."""


class TrainingError(MedTransferError):
    """Training cannot continue: the loss is not a number, or nothing is left to train."""
