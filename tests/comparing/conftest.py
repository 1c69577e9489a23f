"""Own images as a user brings them: grey squares whose brightness is the answer, two images per patient."""

import csv

import numpy as np
import pytest
from PIL import Image

PATIENTS = 40


def draw(path, bright, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(90, 30, (40, 40))
    pixels[12:28, 12:28] += bright
    for _ in range(6):  # structure of its own, so that no two images are near-duplicates
        y, x = rng.integers(0, 34, 2)
        pixels[y : y + 6, x : x + 6] += rng.normal(0, 60)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with images and ``my.csv``: a column for every kind of target."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for patient in range(PATIENTS):
        for number in range(2):
            image = f"images/{patient}-{number}.png"
            draw(folder / image, 25 * (patient % 4), [patient, number])
            rows.append(
                {
                    "image": image,
                    "patient_id": f"p{patient}",
                    "diagnosis": ("ill", "well")[patient % 2],
                    "stage": "abcd"[patient % 4],
                    "y_bright": patient % 4 // 2,
                    "y_odd": patient % 2,
                    "age": 20 + patient + 0.5 * number,
                }
            )
    write_table(folder / "my.csv", rows)
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder in which the command line runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path
