from medtransfer.reporting.page import write_report


def test_a_report_is_written(tmp_path, content):
    write_report(tmp_path, content)
    assert (tmp_path / "index.html").stat().st_size > 10_000
