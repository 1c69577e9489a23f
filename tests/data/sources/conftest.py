from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[..., None]:
    """Write small images, each different, at paths relative to the data set's root."""
    rng = np.random.default_rng(0)

    def write(*paths: str) -> None:
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)

    return write


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str, str | bytes], None]:
    """Write a list or table at a path relative to the data set's root."""

    def write(path: str, content: str | bytes) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write
