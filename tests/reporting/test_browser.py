"""The page in a real browser: it lays out, nothing spills, nothing is asked of a network."""

import re
import shutil
import subprocess

import pytest

from medtransfer.reporting.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.mark.chromium
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_lays_out_in_a_browser_and_only_tables_scroll(content, tmp_path):
    write_report(tmp_path / "report", content)
    page = tmp_path / "report" / "index.html"
    probe = "<script>document.title = document.documentElement.scrollWidth + '/' + window.innerWidth</script></body>"
    copy = tmp_path / "page.html"
    # The page forbids scripts; the copy that measures itself may run one.
    text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
    copy.write_text(text.replace("</body>", probe), encoding="utf-8")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,1200"]
    done = subprocess.run(
        [*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    width, window = map(int, done.stdout.split("<title>")[1].split("</title>")[0].split("/"))
    assert width <= window
    assert done.stdout.count("<svg") >= 2
    assert "Table 4" in done.stdout
