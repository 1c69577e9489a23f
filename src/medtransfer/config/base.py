"""The base class of every configuration: frozen, unknown keys forbidden, validated once."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen record of parameters. It lives beside the code that it configures."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
