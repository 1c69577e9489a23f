import pytest
from pydantic import TypeAdapter, ValidationError

from medtransfer.data.sources import CovidCtSource, SourceConfig

SOURCES = TypeAdapter(SourceConfig)
XRAYS = ["chestxray14", "chexpert", "covid_collection", "covidx_like", "brixia", "actualmed", "figure1"]
NAMES = ["imagefolder", "covid_ct", "covidx", *XRAYS, "csv", "dicom"]


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_built_from_its_name_and_says_whom_to_cite(name):
    source = SOURCES.validate_python({"name": name, "root": "somewhere"})
    assert source.name == name
    assert source.citation
    assert source.licence
    assert source.flaws
    assert SOURCES.validate_python(source.model_dump(mode="json")) == source


def test_every_member_of_the_union_is_tested_here():
    assert sorted(SOURCES.json_schema()["discriminator"]["mapping"]) == sorted(NAMES)


def test_an_unknown_source_or_option_is_refused():
    with pytest.raises(ValidationError, match=r"'covid_ctt' .*does not match any of the expected tags: 'imagefolder'"):
        SOURCES.validate_python({"name": "covid_ctt", "root": "."})
    with pytest.raises(ValidationError, match="size"):
        CovidCtSource(root=".", size=224)
