"""The type of a configured name that becomes part of a path; the rule itself is in ``medtransfer.paths``."""

from typing import Annotated

from pydantic import AfterValidator

from medtransfer.paths import PLAIN, is_plain


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError(f"not a plain name, expected {PLAIN}; choose another name")
    return name


Name = Annotated[str, AfterValidator(_plain)]
