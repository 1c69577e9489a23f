"""Layouts of Actualmed and Figure1, drawn after the published tables."""

from datetime import datetime

from medtransfer.data.sources import ActualmedSource, Figure1Source, Skipped


def test_actualmed_leaves_out_blank_findings_and_keeps_both_views(tmp_path, write_images, text):
    header = "patientid,offset,sex,age,finding,view,modality,date,location,imagename\n"
    rows = [
        "P1,,,,COVID-19,PA,X-ray,2020-03-04,,a.png\n",
        "P2,,,,No finding,AP,X-ray,,,b.png\n",
        "P3,,,,,PA,X-ray,,,c.png\n",
        "P4,,,,COVID-19,L,X-ray,,,d.png\n",
        "P5,,,,COVID-19,PA,X-ray,,,gone.png\n",
        ",,,,COVID-19,PA,X-ray,,,d.png\n",
    ]
    text("metadata.csv", header + "".join(rows))
    write_images(*(f"images/{name}.png" for name in "abcd"))
    scan = ActualmedSource(root=tmp_path).scan()
    assert [(r["path"], r["patient_id"], r["label"], r["view"], r["source"], r["date"]) for r in scan.rows] == [
        ("images/a.png", "P1", "covid", "PA", "actualmed", datetime(2020, 3, 4)),
        ("images/b.png", "P2", "normal", "AP", "actualmed", None),
    ]
    assert scan.skipped == [
        Skipped("images/c.png", 4, "finding not stated is none of the classes"),
        Skipped("images/d.png", 5, "view L is not one of PA, AP, AP Supine"),
        Skipped("images/gone.png", 6, "file is absent"),
        Skipped("images/d.png", 7, "patient is not stated"),
    ]


def test_figure1_finds_the_file_by_its_stem_and_keeps_blank_views(tmp_path, write_images, text):
    header = "patientid,offset,sex,age,finding,survival,view,modality\n"
    rows = ["COVID-1,,,,COVID-19,,PA,X-ray\n", "COVID-2,,,,Pneumonia,,,X-ray\n", "COVID-3,,,,COVID-19,,L,X-ray\n"]
    text("metadata.csv", header + "".join(rows))
    write_images("images/COVID-1.jpg", "images/COVID-2.png", "images/COVID-3.jpg")
    scan = Figure1Source(root=tmp_path).scan()
    assert [(row["path"], row["label"], row["view"]) for row in scan.rows] == [
        ("images/COVID-1.jpg", "covid", "PA"),
        ("images/COVID-2.png", "pneumonia", ""),
    ]
    assert scan.skipped == [Skipped("images/COVID-3.jpg", 4, "view L is not one of PA, AP, AP Supine, not stated")]
    assert len(Figure1Source(root=tmp_path, views=("PA",)).scan().rows) == 1
