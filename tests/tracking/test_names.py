"""No name leaves its folder, its filter or its store."""

from pathlib import Path

import pytest

from medtransfer.errors import TrackingError
from medtransfer.tracking.names import artefact_name, artefact_path, check_key, check_model_name, check_run_key

ESCAPES = ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "%2e%2e/x", "%252e/x", "a\0b", "", "a//b", ".", "..", "a/"]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_could_leave_the_folder_is_refused(name):
    with pytest.raises(TrackingError, match="not a plain relative path"):
        artefact_name(name)


def test_plain_names_pass(tmp_path):
    assert artefact_path(tmp_path, "plots/roc curve.v2.png") == tmp_path / "plots" / "roc curve.v2.png"


def test_a_symbolic_link_that_leads_outside_is_refused(tmp_path):
    inside = tmp_path / "artifacts"
    inside.mkdir()
    (inside / "plots").symlink_to(Path("/"))
    with pytest.raises(TrackingError, match="through a symbolic link"):
        artefact_path(inside, "plots/x.png")


@pytest.mark.parametrize("key", ["a" * 251, "loss;drop", "../x", "/x", "", "a//b"])
def test_a_key_that_a_store_would_refuse_is_refused_at_once(key):
    with pytest.raises(TrackingError, match="cannot be tracked"):
        check_key(key)


def test_model_names_and_run_keys_are_plain():
    check_model_name("covid-ct")
    with pytest.raises(TrackingError, match="model name or alias"):
        check_model_name("../covid")
    with pytest.raises(TrackingError, match="not 32 hexadecimal digits"):
        check_run_key("x' or 1=1")
