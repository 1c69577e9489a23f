"""The page of the truncated study in a real browser."""

import pytest


@pytest.mark.chromium
@pytest.mark.slow
def test_the_page_renders_in_a_browser_and_only_tables_scroll(content, lay_out):
    page = lay_out(content)
    width, window = map(int, page.split("<title>")[1].split("</title>")[0].split("/"))
    assert width <= window
    assert page.count("<svg") == len(content.figures)
    assert '<abbr title="transfer learning' in page
