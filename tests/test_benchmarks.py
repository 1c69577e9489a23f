"""Every script of ``benchmarks/`` is imported and runs one tiny round, so that none rots; its numbers do not matter.

A new script needs an entry: in ``ROUNDS`` by ``tiny``, or in ``ELSEWHERE``, the test file that runs a small version.
"""

import importlib
import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
NAMES = sorted(file.stem for file in BENCHMARKS.glob("*.py"))
ELSEWHERE = {
    "bench_frozen": "training/test_bench_frozen.py",
    "bench_serving": "serving/test_bench_serving.py",
    "bench_shift": "stages/test_bench_shift.py",
    "marker_maps": "explain/test_marker_maps.py",
    "simulate_audit": "audit/test_benchmark.py",
    "simulate_coverage": "evaluation/test_coverage.py",
}
"""Rounds of ``kill_campaign`` and the workspace of ``bench_tuning`` are also in test_kills and test_bench_tuning."""
ROUNDS = {}


def tiny(name, *, slow=False, **constants):
    """Register a tiny round of a script; its constants are replaced first."""

    def register(run):
        ROUNDS[name] = pytest.param(run, name, constants, id=name, marks=[pytest.mark.slow] if slow else [])
        return run

    return register


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a script; results go to a temporary folder, and everything is timed once."""
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    harness = importlib.import_module("harness")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tests run side by side

    def once(slow, fast, **_):
        return whole(slow, fast, rounds=1, warmup=0)

    def loaded(name):
        module = importlib.import_module(name)
        if vars(module).get("interleave") is whole:
            monkeypatch.setattr(module, "interleave", once)
        return module

    whole = harness.interleave
    yield loaded
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Place:
    """What a tiny round may use."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture

    def arguments(self, *words):
        self.monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, words)])


def test_every_script_has_a_tiny_round():
    covered = {*ROUNDS, *ELSEWHERE, "harness"}
    assert set(NAMES) == covered
    for name, file in ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_results_name_the_commit_and_the_machine(load, tmp_path):
    harness = load("harness")
    written = json.loads(harness.record("x", [{"ratio": 1.0}], goal="g").read_text(encoding="utf-8"))
    assert written["rows"] == [{"ratio": 1.0}]
    assert written["commit"] == harness.commit()
    assert {"cpu", "cores", "torch", "gpu"} <= set(written["machine"])
    assert (tmp_path / "results" / "x.json").exists()


def test_results_of_another_cpu_are_left_as_they_are(load, monkeypatch):
    harness, cpu = load("harness"), {"cpu": "A(R) CPU @ 2 GHz"}
    first = harness.record("x", [{"ratio": 1.0}], goal="g")
    monkeypatch.setattr(harness, "machine", lambda: cpu)
    other = harness.record("x", [{"ratio": 2.0}], goal="g")
    assert (first.name, other.name) == ("x.json", "x_a_cpu_2_ghz.json")
    assert json.loads(first.read_text(encoding="utf-8"))["rows"] == [{"ratio": 1.0}]


def positive(row, *names):
    assert all(row[name] > 0 for name in names or ("ratio",))


@tiny("bench_attention", SECONDS=0.0, ROUNDS=1)
def attention(bench, place):
    positive(bench.compare(16, 8, 2, bench.torch.float32), "ratio", "ours_ms")


@tiny("bench_audit", slow=True, IMAGES=60, PATIENTS=40, SIDE=56)
def audit(bench, place):
    bench.main()


@tiny("bench_depthwise", BATCH=2)
def depthwise(bench, place):
    positive(bench.compare("mobilenetv3_small_100", 32))


@tiny("bench_finetune")
def finetune_images(bench, place):
    bench.draw(place.folder, {"train": 3, "val": 2})
    assert len((place.folder / "labels.csv").read_text(encoding="utf-8").splitlines()) == 6
    sides = [Image.open(file).size for file in place.folder.rglob("*.png")]
    assert len(sides) == 5
    assert all(bench.SMALLEST <= side <= bench.LARGEST for size in sides for side in size)
    parts = bench.Parts()
    parts.timed("training", parts.timed("saving", lambda: None))()
    assert parts.seconds["training"] > 0 < parts.seconds["saving"]
    assert bench.timm_row()["why"]


@pytest.mark.slow
def test_all_contenders_of_a_whole_fit_run(load, tmp_path, monkeypatch):
    bench = load("bench_finetune")
    monkeypatch.setattr(bench, "TOLERANCE", 9.0)
    bench.main(["--networks", "resnet18", "--images", "32", "16", "--epochs", "1", "--crop", "32"])
    rows = json.loads((tmp_path / "results" / "finetune.json").read_text(encoding="utf-8"))["rows"]
    assert [row["contender"] for row in rows] == ["ours", "plain", "tuned", "timm's train.py"]
    assert all(row["loading_s"] > 0 < row["training_s"] and row["validation_s"] > 0 for row in rows[:3])
    assert rows[0]["tracking_s"] > 0 < rows[0]["saving_s"]


@tiny("finetune_script")
def finetune_script(bench, place):
    with bench.part("training"):
        assert list(bench.waited([1, 2])) == [1, 2]
    assert bench.seconds["training"] >= bench.seconds["loading"] > 0


@tiny("bench_gate", slow=True, SIZES=(200,))
def gate(bench, place):
    place.arguments("--rows", 200)
    bench.main()


@tiny("bench_gradcam", IMAGES=2, ROUNDS=1)
def gradcam(bench, place):
    row = bench.compare("resnet18", bench.NETWORKS["resnet18"][0], 32, "trunk.layer4")
    positive(row, "last map, ratio", "trunk.layer4, ratio")


@tiny("bench_hardware", BATCH=2, SIDE=32, NETWORKS=("resnet18",), SETTINGS={"bf16": {"precision": "bf16"}})
def hardware(bench, place):
    place.arguments(1)
    bench.main()
    assert f"resnet18 32px batch 2 {bench.DEVICE} bf16" in place.capsys.readouterr().out
    fast, slow = {"first_s": 21.0, "step_s": 1.0}, {"first_s": 1.0, "step_s": 1.5}
    assert (bench.break_even(slow, fast), bench.break_even(fast, slow)) == (40, None)


@tiny("bench_inference", SIDE=48, PACKED=36, CROP=32)
def inference(bench, place):
    bench.draw(place.folder / "images", "jpg", 80)
    bench.multiply(place.folder / "images", place.folder / "more", 2)
    assert len(list((place.folder / "more").rglob("*.jpg"))) == 160
    bench.store_model(place.folder, place.folder / "images", "resnet18")
    row = bench.measure(place.folder / "model", place.folder / "images", 1)
    positive(row, "evaluate_ratio", "predict_ratio", "evaluate_processor_ratio", "predict_processor_ratio")
    assert bench.memory(place.folder / "model", place.folder / "more")["images"] == 160


@tiny("bench_lightly", ROUNDS=1, STEPS=1, BATCH=4, CROP=32, SIDE=40, QUEUE=8)
def lightly(bench, place):
    """Without lightly it says so; with it, its losses need whole batches."""
    bench.main()


@tiny("bench_loader", IMAGES=4, BATCH=2, PACKED=40, CROP=32)
def loader(bench, place):
    positive(bench.compare(48))


@tiny("bench_logging", slow=True, ROUNDS=1, STEPS=1, BATCH=2, SIDE=32)
def logging(bench, place):
    positive(bench.measure(place.folder, bench.training_step(), 1), "share", "delivery_s")


@tiny("bench_memory", STEPS=1, BATCH=2)
def memory(bench, place):
    positive(bench.steps("resnet18", 32), "seconds", "peak_mb")


@tiny("bench_multitask", slow=True, SIDE=64, SMALL=64, ROUNDS=1)
def multitask(bench, place):
    positive(bench.forward())
    positive(bench.memory(), "peak_gb")
    positive(bench.loaders(), "efficiency")


@tiny("bench_prefetch", BATCH=2, STEPS=1)
def prefetch(bench, place):
    importlib.import_module("bench_loader").write_pictures(place.folder / "images", 32)
    positive(bench.compare(place.folder / "images", "resnet18", 32))


@tiny("bench_pyfunc", slow=True, BATCHES={1: 1})
def pyfunc(bench, place):
    rows = bench.measured("resnet18_to_layer2", place.folder)
    assert [row["input"] for row in rows] == ["files", "uint8 arrays", "float32 arrays"]
    for row in rows:
        positive(row)


@tiny("bench_regions", SIZE=24, GOAL=0)
def regions(bench, place):
    bench.main()


@tiny("bench_scale", POINTS=1)
def scale(bench, place):
    rows = [row for count in (40, 80) for row in bench.measure("rows", count, place.folder)]
    rows += bench.measure("runs", 2, place.folder)
    rows[-1]["processor_s"] = 1.0
    rows.append(rows[-1] | {"n": 4, "processor_s": 4.0})
    found = bench.with_growth(rows)
    assert found[-1]["growth"] == pytest.approx(1)  # 4 s for 4·log 4, four times 2·log 2
    assert [row["n"] for row in found if row["step"] == bench.SCORED] == [40, 80]


@tiny("bench_start", slow=True, IMAGES=48)
def start(bench, place):
    place.arguments(1)
    bench.main()


@tiny("bench_statistics", CALLS=1, DRAWS=20)
def statistics(bench, place):
    positive(bench.delong_row("x", bench.psi, None))
    positive(bench.bootstrap_row("auroc"))


@tiny("bench_steps", slow=True, ROUNDS=1)
def steps(bench, place):
    data = bench.noise_data(place.folder, side=72, count=2 * bench.BATCH)
    for name in (None, "moco_v1"):
        method = bench.methods()[name] if name else None
        positive(bench.measure(str(name), method, 0, data=data, root=place.folder), "efficiency")


@tiny("bench_transferability", IMAGES=400, LABELS=8, WIDTH=8)
def transferability(bench, place):
    positive(bench.leep_row())
    positive(bench.logme_row())


@tiny("bench_truncation", slow=True, ROUNDS=1)
def truncation(bench, place):
    for row in bench.compare(32, 2):
        positive(row)


@tiny("bench_tuning", TRIALS=2, WORKERS=2)
def tuning(bench, place):
    bench.storage()
    assert "4 trials, 0 lost, 0 double" in place.capsys.readouterr().out


@tiny("coverage_table")
def coverage_table(bench, place):
    place.monkeypatch.setattr(bench, "RESULTS", place.folder)
    key = (1, 20, 0.9, "auroc", "one network", "in use")
    for _ in range(2):
        bench.write({key: (50, 48, 5.0)}, "about")
    assert bench.read() == {key: (100, 96, 10.0)}
    assert "| 1 : 1 | 20 | 0.9 | 100 |" in (place.folder / "coverage.md").read_text(encoding="utf-8")


@tiny("covid_ct_patients")
def covid_ct_patients(bench, place):
    covid_ct(
        place.folder, other=[f"{n}.png" for n in (*range(1, 6), *range(200, 206))] + ["7%0.jpg", "7%1.jpg", "150.jpg"]
    )
    place.monkeypatch.setattr(bench, "RESULT", place.folder / "table.md")
    bench.main(place.folder)
    assert "| non-covid | all | 14 | 13 | 4 |" in (place.folder / "table.md").read_text(encoding="utf-8")


@tiny("gate_recall", COPIED=2)
def gate_recall(bench, place):
    covid_ct(place.folder / "ct", other=[f"{n}.png" for n in range(1, 7)])
    for number in range(4):
        image(place.folder / "rays" / f"{number}.png", 500 + number)
    (place.folder / "results").mkdir()
    place.monkeypatch.setattr(bench, "RESULTS", place.folder / "results")
    place.arguments("--covid-ct", place.folder / "ct", "--xray", place.folder / "rays")
    bench.main()
    assert "2 copies of each kind among 12 slices" in (place.folder / "results" / "gate_recall.md").read_text()


@tiny("kill_campaign")
def kill_campaign(bench, place):
    class Campaign:
        def __init__(self, *_):
            pass

        def prepare(self):
            pass

        def round(self, number, seed):
            return {"round": number, "verb": "fit", "after": 0.5, "code": -9, "differs": []}

    parts = {
        "kill_rounds": type("M", (), {"Campaign": Campaign}),
        "conftest": bench._load(ROOT / "tests/stages/conftest.py"),
    }
    place.monkeypatch.setattr(bench, "_load", lambda path: parts[path.stem])
    place.monkeypatch.setattr(bench, "RESULTS", place.folder / "kills.md")
    place.monkeypatch.setattr(bench, "ROUNDS", place.folder / "kills.csv")
    place.arguments("--rounds", 2)
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert not ended.value.code
    assert "| fit | 2 | 2 | 0 |" in (place.folder / "kills.md").read_text(encoding="utf-8")
    assert {row["commit"] for row in bench.read_rounds(0)} == {bench.commit()}


@tiny("full_disk")
def full_disk(bench, place):
    def campaign(folder, source):
        kept = [folder / "kept" / name for name in ("prepare", "gate")]
        for size, each in enumerate(kept):
            each.mkdir(parents=True)
            (each / "file").write_bytes(bytes(size << 20))
        started = SimpleNamespace(communicate=lambda: (b"", b"medtransfer: out: no room left\n"), returncode=2)
        return SimpleNamespace(
            verbs=("prepare", "gate"),
            kept=folder / "kept",
            whole={"prepare": {"a": 1}, "gate": {"a": 2}},
            prepare=lambda: None,
            start=lambda words, stderr: started,
            run=lambda words: None,
            state=lambda: {"a": 1},
        )

    parts = {
        "kill_rounds": SimpleNamespace(Campaign=campaign, VERBS={"prepare": [], "gate": []}),
        "conftest": SimpleNamespace(Toy=lambda work: SimpleNamespace(write_params=list, draw=lambda counts: None)),
    }
    with pytest.raises(SystemExit, match="no folder on a file system of its own"):
        bench.require_own_file_system(place.folder)
    place.monkeypatch.setattr(bench, "require_own_file_system", lambda folder: None)
    place.monkeypatch.setattr(bench, "write_ballast", lambda path, left: path.touch())
    place.monkeypatch.setattr(bench, "_load", lambda path: parts[path.stem])
    place.monkeypatch.setattr(bench, "RESULTS", place.folder / "full_disk.md")
    place.monkeypatch.setenv("TMPDIR", str(place.folder))
    place.arguments(place.folder, "--rounds", 2)
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code
    table = (place.folder / "full_disk.md").read_text(encoding="utf-8")
    assert "| prepare | 1 | 1 | 0 |" in table
    assert "| gate | 1 | 1 | 1 |" in table


@tiny("served_equals_evaluate")
def served_equals_evaluate(bench, place):
    image(place.folder / "a.png", 0)

    def evaluate(words, **_):
        out = Path(words[-1])
        out.mkdir(parents=True)
        out.joinpath("predictions.csv").write_text("file,probability_covid,unlike_training\na.png,0.25,\n")

    reply = {"answer": {"probability_covid": 0.5}, "version": 1, "sha256": "0" * 64, "flags": [], "unlike_training": []}
    place.monkeypatch.setattr(bench.subprocess, "run", evaluate)
    place.monkeypatch.setattr(bench, "served", lambda model: nullcontext("address"))
    place.monkeypatch.setattr(bench, "ask", lambda *_: reply)
    bench.main("m@champion", place.folder)
    assert "largest difference 2.5e-01" in place.capsys.readouterr().out


@tiny("simulate_seeds")
def simulate_seeds(bench, place):
    place.monkeypatch.setattr(bench, "RESULTS", place.folder)
    bench.write(list(bench.simulate(0.02, 0.05, 3)))
    assert (place.folder / "seeds.md").exists()


def image(file, seed):
    """Write a smooth noise image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(file)


def covid_ct(root, *, other):
    """Write noise in the published layout of COVID-CT."""
    for kind, names in (("COVID", [f"2020.03.13.2003521{n}-p23-152.png" for n in range(6)]), ("NonCOVID", other)):
        for place, split in enumerate(("train", "val", "test")):
            lists = root / "Data-split" / kind / f"{split}CT_{kind}.txt"
            lists.parent.mkdir(parents=True, exist_ok=True)
            lists.write_text("\n".join(names[place::3]) + "\n", encoding="utf-8")
        for number, name in enumerate(names):
            image(root / "Images-processed" / f"CT_{kind}" / name, len(names) * 100 + number)


@pytest.mark.parametrize(("run", "name", "constants"), ROUNDS.values())
def test_a_tiny_round(run, name, constants, load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bench = load(name)
    for constant, value in constants.items():
        assert hasattr(bench, constant)
        monkeypatch.setattr(bench, constant, value)
    run(bench, Place(tmp_path, monkeypatch, capsys))
