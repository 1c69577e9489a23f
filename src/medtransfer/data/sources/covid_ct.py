"""COVID-CT (Zhao et al. 2020): 349 COVID-19 and 397 other CT slices cut from papers, with official split lists.

Layout: ``Images-processed/CT_{COVID,NonCOVID}/`` and ``Data-split/{COVID,NonCOVID}/{train,val,test}CT_….txt``, one
file name per line. The data set names no patients; what its file names say of them:

| name | patient |
|---|---|
| ``2020.03.13.20035212-p23-152.png`` | preprint and token of the patient or page; the rest is the figure |
| ``14%0.jpg``, ``14%1.jpg`` | parts of one figure, one patient |
| ``114.png``, ``115.png``, ``116.png`` (non-COVID) | numbers without a gap, in whatever split lists: one patient |
| any other | the image |

That numbered ``.png`` neighbours are of one patient and numbered ``.jpg`` neighbours are not was measured on the images
(``benchmarks/covid_ct_patients.py``, table in docs/datasets.md).

Known flaws: slices of one patient are in different official splits; sizes from 102×61 up; borders, tables and burnt-in
text; the classes come from different kinds of publication.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Scan, Source, is_image, read_lines, shared_patients

FOLDERS = {"NonCOVID": "non-covid", "COVID": "covid"}


class CovidCtSource(Source):
    """COVID-CT with its official splits; COVID is class 1."""

    name: Literal["covid_ct"] = "covid_ct"
    citation: ClassVar[str] = "Zhao et al. 2020, COVID-CT-Dataset, arXiv 2003.13865"
    licence: ClassVar[str] = "research use; the images belong to the authors and publishers of the source papers"
    flaws: ClassVar[str] = "slices of one patient are in different official splits; tables, borders and burnt-in text"

    def scan(self) -> Scan:
        """List the images of the six split lists."""
        listing = Listing(self.root)
        metadata: list[str] = []
        for folder, label in FOLDERS.items():
            lists = {split: f"Data-split/{folder}/{split}CT_{folder}.txt" for split in ("train", "val", "test")}
            entries = [(split, *line) for split, names in lists.items() for line in read_lines(self.root / names)]
            runs = runs_of(file for _, _, file in entries)
            for split, row, file in entries:
                patient = f"{label}/{runs.get(file) or patient_of(file)}"
                fields = {"patient_id": patient, "label": label, "split": split}
                path = f"Images-processed/CT_{folder}/{file}"
                listing.add(path, row=row, source="covid-ct", modality="CT", **fields)
            self._report_unlisted(listing, folder)
            metadata += lists.values()
        overlaps = shared_patients(listing.rows)
        return listing.scan(
            tuple(FOLDERS.values()), official_splits=True, known_overlaps=overlaps, metadata=tuple(metadata)
        )

    def _report_unlisted(self, listing: Listing, folder: str) -> None:
        listed = {row["path"] for row in listing.rows}
        for file in sorted((self.root / "Images-processed" / f"CT_{folder}").glob("*")):
            path = file.relative_to(self.root).as_posix()
            if is_image(file) and path not in listed:
                listing.skip(path, None, "in no split list")


def patient_of(file: str) -> str:
    """Return the patient that a COVID-CT file name stands for: document and patient token, figure, or the file itself.

    >>> patient_of("2020.03.13.20035212-p23-152.png"), patient_of("14%2.jpg"), patient_of("14.png")
    ('2020.03.13.20035212-p23', '14.jpg', '14.png')
    """
    token = re.fullmatch(r"(.+-p\d+)-.+", file)
    return token[1] if token else re.sub(r"%\d+(?=\.\w+$)", "", file)


def runs_of(files: Iterable[str]) -> dict[str, str]:
    """Return the patient of every file named ``<number>.png``: the run of numbers without a gap that it belongs to.

    Files of all splits are given together, also those that are absent from the folder: a run does not depend on them.

    >>> runs_of(["115.png", "114.png", "117.png", "116%0.jpg"])
    {'114.png': '114-115.png', '115.png': '114-115.png', '117.png': '117.png'}
    """
    numbers = sorted({int(file[:-4]) for file in files if re.fullmatch(r"\d+\.png", file)})
    runs: list[list[int]] = [[number] for number in numbers[:1]]
    for before, number in pairwise(numbers):
        if number == before + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return {f"{n}.png": f"{run[0]}-{run[-1]}.png" if len(run) > 1 else f"{n}.png" for run in runs for n in run}
