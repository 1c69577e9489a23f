from io import BytesIO

import numpy as np
from PIL import Image

from medtransfer.explain.panels import REGION_COLOURS, HeatRow, RegionCase, heat_panel, region_sheet, write_panel

GREY = np.full((2, 16, 16), 128, dtype=np.uint8)


def drawn(figure):
    target = BytesIO()
    figure.savefig(target, format="png", dpi=100)
    return np.asarray(Image.open(target).convert("RGB")).astype(int)


def coloured(image):
    return np.ptp(image, axis=2) > 40


def hot(place):
    heat = np.zeros((2, 16, 16))
    heat[:, place] = 1
    return heat


def test_heat_is_drawn_where_it_is_and_the_image_stays_grey_elsewhere():
    figure = heat_panel(GREY, ["a", "b"], [HeatRow("row", hot(slice(0, 8)), ["", ""])])
    column = figure.axes[2]  # the first image of the second line
    drawn(figure)
    box = column.get_window_extent().transformed(figure.transFigure.inverted())
    image = drawn(figure)
    height, width = image.shape[:2]
    rows, columns = (
        ((1 - np.array([box.y1, box.y0])) * height).astype(int),
        (np.array([box.x0, box.x1]) * width).astype(int),
    )
    inside = coloured(image[rows[0] + 2 : rows[1] - 2, columns[0] + 2 : columns[1] - 2])
    half = len(inside) // 2
    assert inside[: half - 2].all()
    assert not inside[half + 2 :].any()


def test_titles_labels_captions_and_absent_heat_are_written():
    row = HeatRow("resnet18\nGrad-CAM", np.stack([hot(slice(0, 2))[0], np.zeros((16, 16))]), ["p = 0.20", "p = 0.10"])
    figure = heat_panel(GREY, ["covid", "non-covid"], [row, HeatRow("attention", np.zeros((2, 16, 16)), ["", ""])])
    first = figure.axes
    assert [axis.get_title() for axis in first[:2]] == ["covid", "non-covid"]
    assert [axis.get_ylabel() for axis in first[:6:2]] == ["slice", "resnet18\nGrad-CAM", "attention"]
    assert [axis.get_xlabel() for axis in first[2:6]] == ["p = 0.20", "p = 0.10, no heat", "no heat", "no heat"]


def test_known_lesions_are_outlined_in_every_row():
    lesions = np.zeros(GREY.shape, dtype=bool)
    lesions[0, 4:9, 4:9] = True
    figure = heat_panel(GREY, ["a", "b"], [HeatRow("row", hot(slice(0, 2)), ["", ""])], lesions=lesions)
    outlined = [any(len(c.get_paths()) for c in axis.collections) for axis in figure.axes[:4]]
    assert outlined == [True, False, True, False]


def region_case(title=""):
    boxes = np.array([[0, 0, 8, 4], [0, 3, 8, 6], [0, 5, 8, 16], [8, 0, 16, 9], [8, 7, 16, 16]], dtype=np.float32)
    return RegionCase(title, GREY[0], boxes, GREY[0] == 0, np.ones((5, 8, 8)))


def test_a_sheet_shows_each_slice_with_its_boxes_and_its_five_named_crops():
    names = ("ru", "rm", "rl", "lu", "ll")
    figure = region_sheet([region_case("first"), region_case(), region_case("no lungs found")], names)
    drawn(figure)
    shown = [axis for axis in figure.axes if axis.axison]
    assert len(shown) == 3 * 6
    assert [axis.get_title() for axis in shown[:6]] == ["first", *names]
    assert shown[12].get_title() == "no lungs found"
    assert [patch.get_bbox().bounds for patch in shown[0].patches][3] == (7.5, -0.5, 8, 9)
    assert len({patch.get_edgecolor() for patch in shown[0].patches}) == len(REGION_COLOURS) == len(names)


def test_the_same_panel_is_written_as_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_panel(heat_panel(GREY, ["a", "b"], [HeatRow("row", hot(slice(0, 8)), ["", ""])]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").format == "PNG"
