"""Adapters from publishers' layouts to manifest rows: one file per layout, one line in the union."""

from typing import Annotated

from pydantic import Field

from medtransfer.data.sources.actualmed import ActualmedSource, Figure1Source
from medtransfer.data.sources.base import Scan, Skipped
from medtransfer.data.sources.brixia import BrixiaSource
from medtransfer.data.sources.chestxray14 import ChestXray14Source
from medtransfer.data.sources.chexpert import ChexpertSource
from medtransfer.data.sources.covid_collection import CovidCollectionSource
from medtransfer.data.sources.covid_ct import CovidCtSource
from medtransfer.data.sources.covidx import CovidxSource
from medtransfer.data.sources.covidx_like import CovidxLikeSource
from medtransfer.data.sources.dicom import DicomSource
from medtransfer.data.sources.imagefolder import ImageFolderSource
from medtransfer.data.sources.table import CsvSource

SourceConfig = Annotated[
    ImageFolderSource
    | CovidCtSource
    | CovidxSource
    | ChestXray14Source
    | ChexpertSource
    | CovidCollectionSource
    | CovidxLikeSource
    | BrixiaSource
    | ActualmedSource
    | Figure1Source
    | CsvSource
    | DicomSource,
    Field(discriminator="name"),
]

__all__ = [
    "ActualmedSource",
    "BrixiaSource",
    "ChestXray14Source",
    "ChexpertSource",
    "CovidCollectionSource",
    "CovidCtSource",
    "CovidxLikeSource",
    "CovidxSource",
    "CsvSource",
    "DicomSource",
    "Figure1Source",
    "ImageFolderSource",
    "Scan",
    "Skipped",
    "SourceConfig",
]
