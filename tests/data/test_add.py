import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.add import add_dataset, require_repository, scan_to_manifest, write_pointer
from medtransfer.data.hashing import perceptual_hash, pixel_sha, sha256_file, to_hex
from medtransfer.data.images import read_image
from medtransfer.data.sources import CsvSource, ImageFolderSource
from medtransfer.errors import ConfigError, DataError


@pytest.fixture
def source(tmp_path):
    """Three good images of two patients, one truncated and one absent file, one mask."""
    rng = np.random.default_rng(0)
    root = tmp_path / "raw"
    for name in ("images/a.png", "images/b.png", "images/c.png", "images/cut.png", "masks/a.png", "other.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8)).save(root / name)
    whole = (root / "images/cut.png").read_bytes()
    (root / "images/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "labels.csv").write_text(
        "image,patient_id,label,split,mask\nimages/a.png,p1,covid,train,masks/a.png\nimages/b.png,p1,covid,train,\n"
        "images/c.png,p2,normal,test,\nimages/cut.png,p3,normal,test,\nimages/gone.png,p4,normal,test,\n"
    )
    return CsvSource(root=root, licence="CC0", citation="Nobody 2020")


def test_a_manifest_has_names_in_the_data_set_and_three_hashes(source):
    manifest, _ = scan_to_manifest(source, "ward")
    assert manifest["image_id"].tolist() == ["ward/images/a.png", "ward/images/b.png", "ward/images/c.png"]
    assert manifest["patient_id"].tolist() == ["ward:p1", "ward:p1", "ward:p2"]
    assert set(manifest["dataset"]) == {"ward"}
    file = source.root / "images/b.png"
    image = read_image(file, channels=1)
    row = manifest.iloc[1]
    assert (row.sha256, row.pixel_sha, row.phash) == (
        sha256_file(file),
        pixel_sha(image),
        to_hex(perceptual_hash(image)),
    )
    assert manifest["mask"].tolist() == ["masks/a.png", "", ""]


def test_images_that_cannot_be_read_are_counted_with_their_reason(source):
    _, skipped = scan_to_manifest(source, "ward")
    assert [(each.file, each.row) for each in skipped] == [("images/gone.png", 6), ("images/cut.png", None)]
    assert skipped[1].reason.startswith("damaged image")
    assert str(source.root) not in skipped[1].reason


def test_what_keeps_an_image_is_given_its_content_and_may_refuse_it(source):
    kept = {}

    def keep(path, image):
        if path.endswith("b.png"):
            raise DataError(f"{source.root / path}: too odd")
        kept[path] = image.array(1)

    manifest, skipped = scan_to_manifest(source, "ward", keep=keep)
    assert sorted(kept) == ["images/a.png", "images/c.png"] == manifest["path"].tolist()
    assert all(np.array_equal(image, read_image(source.root / path, channels=1)) for path, image in kept.items())
    assert "too odd" in {each.file: each.reason for each in skipped}["images/b.png"]


def test_a_label_outside_the_declared_classes_is_refused(source):
    narrow = source.model_copy(update={"classes": ("normal",)})
    with pytest.raises(DataError, match=r"column label: 2 rows .*'covid'.*expected one of normal"):
        scan_to_manifest(narrow, "ward")


def test_a_data_set_of_damaged_images_only_is_an_error(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").touch()
    with pytest.raises(DataError, match="none of 1 images can be read; first: the image file is empty"):
        scan_to_manifest(ImageFolderSource(root=tmp_path), "cats")


def test_adding_copies_what_the_scan_refers_to_and_no_more(source, tmp_path):
    add_dataset(source, "ward", copy_to=tmp_path / "datasets")
    target = tmp_path / "datasets/ward"
    copied = {file.relative_to(target).as_posix() for file in target.rglob("*") if file.is_file()}
    images = {f"images/{name}.png" for name in ("a", "b", "c", "cut")}
    assert copied == images | {"masks/a.png", "labels.csv"}
    assert all((target / file).read_bytes() == (source.root / file).read_bytes() for file in copied)


def test_the_copy_reads_like_the_original(source, tmp_path):
    add_dataset(source, "ward", copy_to=tmp_path / "datasets")
    copy = source.model_copy(update={"root": tmp_path / "datasets/ward"})
    assert scan_to_manifest(copy, "ward")[0].equals(scan_to_manifest(source, "ward")[0])


def test_the_report_says_what_was_read_what_was_not_and_whom_to_cite(source, tmp_path):
    report = add_dataset(source, "ward", copy_to=tmp_path / "datasets")
    assert (report.images, report.patients) == (3, 2)
    assert report.labels == {"test": {"normal": 1}, "train": {"covid": 2}}
    text = report.to_text()
    assert "ward: 3 images of 2 patients" in text
    assert "left out 3" in text
    assert "1 files in no list: ./" in text
    assert "note     1 of 5 listed files (20%) are not below" in text
    assert "1  file is absent: images/gone.png (row 6)" in text
    assert "damaged image" in text
    assert "flaws    those of the table" in text
    assert "CC0" in text
    assert "Nobody 2020" in text
    assert json.loads((tmp_path / "datasets/ward.report.json").read_text()) == report.to_json()


def test_the_report_says_where_patients_are_not_known(source, tmp_path):
    blank = source.model_copy(update={"ignore": (*source.ignore, "patient_id")})
    report = add_dataset(blank, "ward", copy_to=tmp_path / "datasets")
    assert not report.patients_known
    assert "ward: 3 images without patient ids" in report.to_text()


def test_a_target_that_holds_files_is_refused_and_left_alone(source, tmp_path):
    target = tmp_path / "datasets/ward"
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="ward: exists already, expected a new folder"):
        add_dataset(source, "ward", copy_to=tmp_path / "datasets")
    assert [file.name for file in target.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "two words"])
def test_a_name_that_is_no_plain_folder_is_refused(source, tmp_path, name):
    with pytest.raises(ConfigError, match="not a plain name, expected letters"):
        add_dataset(source, name, copy_to=tmp_path / "datasets")


def test_a_copy_that_breaks_off_leaves_nothing_behind(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medtransfer.data.add.shutil.copyfile", full)
    with pytest.raises(DataError, match=r"No space left on device.*make room"):
        add_dataset(source, "ward", copy_to=tmp_path / "datasets")
    assert list((tmp_path / "datasets").iterdir()) == []


@pytest.mark.slow
def test_the_pointer_versions_the_folder(tmp_path):
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "datasets/ward").mkdir(parents=True)
    (tmp_path / "datasets/ward/a.txt").write_text("a")
    pointer = write_pointer(tmp_path / "datasets/ward", workspace=tmp_path)
    assert pointer == tmp_path / "datasets/ward.dvc"
    assert "path: ward" in pointer.read_text()


@pytest.mark.slow
def test_without_a_repository_the_refusal_is_one_sentence(tmp_path):
    (tmp_path / "ward").mkdir()
    with pytest.raises(DataError, match=r"ward: DVC could not version the data set .*not inside of a DVC repository"):
        write_pointer(tmp_path / "ward", workspace=tmp_path)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((), r"no DVC repository, expected a checkout; git clone the project, or run dvc init"),
        ((".dvc",), r"no git checkout, which DVC needs; git clone the project instead of .* or run git init here"),
        ((".dvc", ".git"), ""),
    ],
)
def test_what_dvc_needs_is_asked_for_before_anything_is_copied(tmp_path, made, said):
    for folder in made:
        (tmp_path / folder).mkdir()
    (tmp_path / "inner").mkdir()
    if not said:
        require_repository(tmp_path / "inner")
        return
    with pytest.raises(DataError, match=said):
        require_repository(tmp_path / "inner")


def test_a_dvc_repository_may_be_without_git(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    require_repository(tmp_path)
