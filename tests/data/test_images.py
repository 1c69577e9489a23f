import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import correlate1d

from medtransfer.data import images
from medtransfer.data.hashing import perceptual_hash, pixel_sha
from medtransfer.data.images import decode, equalize, image_size, read_image, resize, smooth, to_depth, window
from medtransfer.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    """A part of a PNG file, written by hand because Pillow does not write every kind of PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_grey_stays_grey_and_repeats_when_three_channels_are_asked(tmp_path):
    path = saved(tmp_path / "a.png", GREY)
    np.testing.assert_array_equal(read_image(path, channels=1), GREY[None])
    np.testing.assert_array_equal(read_image(path, channels=3), np.stack([GREY] * 3))


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("I;16", 1), ("LA", 3), ("P", 3), ("RGB", 3), ("RGBA", 3)]
)
def test_a_decoded_file_knows_whether_three_channels_say_more_than_one(tmp_path, mode, channels):
    array = RNG.integers(0, 65_536, (6, 9), dtype=np.uint16) if mode == "I;16" else COLOUR
    path = saved(tmp_path / "a.png", array, mode)
    decoded = decode(path)
    assert (decoded.channels, decoded.size) == (channels, (9, 6))
    for asked in (1, 3):
        np.testing.assert_array_equal(read_image(decoded, channels=asked), read_image(path, channels=asked))
    if channels == 1:
        assert (decoded.array(3) == decoded.array(1)).all()
        assert pixel_sha(decoded.array(3)) == pixel_sha(decoded.array(1))
        assert perceptual_hash(decoded.array(3)) == perceptual_hash(decoded.array(1))


def test_colour_is_channels_first_and_its_grey_is_luma(tmp_path):
    path = saved(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(read_image(path, channels=3), COLOUR.transpose(2, 0, 1))
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_image(path, channels=1)[0] - luma).max() <= 1


def test_sixteen_bit_grey_keeps_its_values(tmp_path):
    values = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        image = read_image(saved(tmp_path / name, values), channels=1)
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image[0], values)


def test_sixteen_bit_colour_keeps_the_upper_byte(tmp_path):
    values = RNG.integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(SIGNATURE + header + data)
    image = read_image(tmp_path / "a.png", channels=3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, (values >> 8).transpose(2, 0, 1))


def test_a_portable_grey_map_of_sixteen_bits_keeps_its_values(tmp_path):
    values = np.array([[0, 1, 4095], [256, 65535, 32768]], np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + values.astype(">u2").tobytes())
    image = read_image(tmp_path / "a.pgm", channels=3)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, np.stack([values] * 3))


def test_sixteen_bit_grey_turns_with_its_orientation(tmp_path):
    values = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 8
    path = saved(tmp_path / "a.png", values, exif=exif)
    np.testing.assert_array_equal(read_image(path, channels=1)[0], np.rot90(values))


def test_cmyk_becomes_rgb(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    image = read_image(saved(tmp_path / "a.jpg", red, "CMYK", quality=100), channels=3)
    assert image.shape == (3, 8, 8)
    assert image[0].min() > 240
    assert image[1:].max() < 20


def test_transparency_is_composited_on_black(tmp_path):
    layer = np.full((4, 4, 4), 200, np.uint8)
    layer[..., 3] = [[0, 0, 255, 255]] * 4
    image = read_image(saved(tmp_path / "a.png", layer), channels=3)
    assert (image[:, :, :2] == 0).all()
    assert (image[:, :, 2:] == 200).all()


def test_a_transparent_grey_value_is_black(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[10, 200]], np.uint8), transparency=200)
    np.testing.assert_array_equal(read_image(path, channels=1), [[[10, 0]]])


def test_a_palette_is_looked_up(tmp_path):
    flat = np.zeros((4, 4, 3), np.uint8)
    flat[:2] = [255, 0, 255]
    image = read_image(saved(tmp_path / "a.png", flat, "P"), channels=3)
    np.testing.assert_array_equal(image, flat.transpose(2, 0, 1))


def test_bilevel_becomes_black_and_white(tmp_path):
    path = saved(tmp_path / "a.png", np.array([[0, 255]], np.uint8), "1")
    np.testing.assert_array_equal(read_image(path, channels=1), [[[0, 255]]])


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after turning the stored image 90° clockwise
    path = saved(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_image(path, channels=1)[0], np.rot90(GREY, -1))


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (30, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif", channels=1) == 30).all()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_file_is_damaged(tmp_path, suffix):
    noise = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}: damaged image .*download it again"):
        read_image(path, channels=1)


def test_absent_empty_and_foreign_files_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "absent.png", channels=1)
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match="image file is empty"):
        read_image(tmp_path / "empty.png", channels=1)
    (tmp_path / "page.png").write_text("<html>not found</html>")
    with pytest.raises(DataError, match="not an image, expected one of PNG"):
        read_image(tmp_path / "page.png", channels=1)


def test_formats_that_run_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(DataError, match="not an image"):
        read_image(tmp_path / "a.png", channels=1)


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (9_000, 9_000)])
def test_an_absurd_size_is_refused_from_the_header(tmp_path, size, monkeypatch):
    Image.new("1", size).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match=f"{size[0]}×{size[1]} pixels are too many"):
        read_image(tmp_path / "a.png", channels=1)


def test_a_decompression_bomb_is_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(9)))
    with pytest.raises(DataError, match=r"decompression bomb.*make it smaller"):
        read_image(tmp_path / "a.png", channels=1)


def test_the_pixel_limit_counts_pixels(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", GREY)
    monkeypatch.setattr(images, "MAX_PIXELS", 54)
    assert read_image(path, channels=1).shape == (1, 6, 9)
    monkeypatch.setattr(images, "MAX_PIXELS", 53)
    with pytest.raises(DataError, match="expected at most 53"):
        read_image(path, channels=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((2, 2), 0.5, np.float32), "floating-point pixels"),
        (np.full((2, 2), -7, np.int32), "-7 to -7, expected 0 to"),
    ],
)
def test_pixels_without_a_window_are_refused(tmp_path, values, message):
    with pytest.raises(DataError, match=f"{message}.*set pack.window to their centre and width"):
        read_image(saved(tmp_path / "a.tif", values), channels=1)


def test_depth_goes_up_exactly_and_down_to_the_nearest():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(to_depth(to_depth(every, 16), 8), every)
    values = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    np.testing.assert_array_equal(to_depth(values, 8), np.rint(values / 257).astype(np.uint8))
    assert to_depth(every, 8) is every
    assert to_depth(values, 16) is values


def equalize_literally(channel):
    top = np.iinfo(channel.dtype).max
    lowest = (channel == channel.min()).sum()
    result = np.zeros_like(channel)
    for index, value in np.ndenumerate(channel):
        below = (channel <= value).sum()
        result[index] = round((below - lowest) / (channel.size - lowest) * top)
    return result


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_equalising_agrees_with_the_literal_formula(dtype):
    channel = (RNG.random((12, 11)) ** 3 * np.iinfo(dtype).max).astype(dtype)
    np.testing.assert_array_equal(equalize(channel[None])[0], equalize_literally(channel))


def test_a_constant_channel_is_not_equalised():
    constant = np.full((2, 3, 3), 77, np.uint8)
    np.testing.assert_array_equal(equalize(constant), constant)


def test_a_window_maps_its_ends_to_the_whole_range_and_clips():
    units = np.array([[[-2000, -1350, -600, 150, 3000]]], np.int16)
    np.testing.assert_array_equal(window(units, -600, 1500), [[[0, 0, 128, 255, 255]]])
    assert window(units, -600, 1500, bits=16).tolist() == [[[0, 0, 32768, 65535, 65535]]]


def test_windowing_before_quantising_keeps_more_levels_than_after():
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(1, 64, 64)
    before = window(ramp, 32768, 6554)
    after = window(to_depth(ramp, 8), 128, 25.5)
    assert len(np.unique(before)) > 5 * len(np.unique(after))


def test_a_window_needs_a_width():
    with pytest.raises(DataError, match="width 0 is not positive"):
        window(GREY[None], 40, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_halving_averages_instead_of_dropping_pixels(dtype):
    top = np.iinfo(dtype).max
    board = (np.indices((64, 64)).sum(0) % 2 * top).astype(dtype)
    small = resize(board[None], 32)
    assert small.dtype == dtype
    assert abs(int(small[0, 16, 16]) - top / 2) <= top * 0.01


def test_resizing_is_square_and_leaves_the_right_size_alone():
    image = RNG.integers(0, 256, (3, 10, 20), dtype=np.uint8)
    assert resize(image, 12).shape == (3, 12, 12)
    square = image[:, :, :10]
    assert resize(square, 10) is square


def test_both_depths_resize_alike():
    image = RNG.integers(0, 256, (1, 40, 30), dtype=np.uint8)
    fine = resize(image.astype(np.uint16) * 257, 16) / 257
    assert np.abs(fine - resize(image, 16)).max() <= 1


def test_smoothing_is_the_3x3_gaussian_with_mirrored_edges():
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 7), dtype=np.uint8)
    exact = image.astype(float)
    for axis in (1, 2):
        exact = correlate1d(exact, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
    smoothed = smooth(image)
    assert smoothed.dtype == np.uint8
    assert np.abs(smoothed - exact).max() <= 0.5
    wide = smooth(image.astype(np.uint16) * 257)
    assert wide.dtype == np.uint16
    assert smooth(np.full((1, 1, 1), 9, np.uint8)).tolist() == [[[9]]]


def test_size_is_read_from_the_header_and_turned_like_the_pixels(tmp_path):
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((4, 10), np.uint8)).save(file, exif=exif)
    height, width = read_image(file, channels=1).shape[1:]
    assert image_size(file) == (width, height) == (4, 10)
    file.write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        image_size(file)
    with pytest.raises(DataError, match="not a readable image"):
        image_size(tmp_path / "absent.png")


def test_lab_colours_are_refused_in_one_line(tmp_path):
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match="colours in the LAB space"):
        read_image(tmp_path / "lab.tif", channels=1)
