"""Tiles and sheets: what is grey stays grey, heat is drawn on one scale from dark to light."""

import numpy as np
from PIL import Image

from medtransfer.explain.panels import write_panel
from medtransfer.explain.sheets import SheetRow, case_sheet
from medtransfer.explain.tiles import bar_colours, map_tile, overlay_tile, write_tile

IMAGE = np.full((8, 8), 100, np.uint8)


def test_an_overlay_is_the_grey_image_where_there_is_no_heat():
    heat = np.zeros((8, 8), np.float32)
    heat[0, 0] = 1
    tile = overlay_tile(IMAGE, heat)
    assert (tile[1:] == 100).all()
    assert (tile[0, 0] != 100).any()


def test_the_lightness_of_the_map_grows_with_the_heat():
    tile = map_tile(np.linspace(0, 1, 64, dtype=np.float32)[None])[0].astype(float)
    light = tile @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(light) > 0).all()
    assert bar_colours()[0] == "#" + bytes(tile[0].astype(np.uint8)).hex()
    assert bar_colours()[-1] == "#" + bytes(tile[-1].astype(np.uint8)).hex()


def test_files_hold_what_was_drawn(tmp_path):
    heat = np.random.default_rng(0).random((8, 8), np.float32)
    write_tile(map_tile(heat), tmp_path / "a" / "map.png")
    assert (np.asarray(Image.open(tmp_path / "a" / "map.png")) == map_tile(heat)).all()
    rows = [SheetRow("ct/1\ntruth: covid", IMAGE, [heat, heat]), SheetRow("ct/2", IMAGE, [heat, heat])]
    sheet = case_sheet("resnet18 · failed cases", ["Grad-CAM", "saliency"], rows)
    assert [axis.get_title() for axis in sheet.axes[:5]] == [
        "image",
        "Grad-CAM",
        "over image",
        "saliency",
        "over image",
    ]
    assert sheet.axes[0].get_ylabel() == "ct/1\ntruth: covid"
    write_panel(sheet, tmp_path / "sheet.png")
    assert np.ptp(np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))) > 100
