"""The page in a real browser: it lays out, nothing spills, nothing is asked of a network."""

import pytest


@pytest.mark.chromium
@pytest.mark.slow
def test_the_page_lays_out_in_a_browser_and_only_tables_scroll(content, lay_out):
    shown = lay_out(content)
    width, window = map(int, shown.split("<title>")[1].split("</title>")[0].split("/"))
    assert width <= window
    assert shown.count("<svg") >= 2
    assert "Table 4" in shown
