"""Long runs say how busy the machine was; short ones are not bothered."""

import os
import time

import pytest

from medtransfer.tracking import open_run, system
from medtransfer.tracking.journal import EVENTS, points, read_events
from medtransfer.tracking.system import SystemMetrics

KEYS = {"cpu_utilization_percentage", "system_memory_usage_megabytes", "process_memory_megabytes"}


def recorded(folder):
    found = points(read_events(folder / EVENTS)[0])
    return [(key.removeprefix("system/"), step, value) for key, step, value in found if key.startswith("system/")]


def test_a_sample_is_due_after_the_interval_and_at_a_later_step():
    now = [0.0]
    metrics = SystemMetrics(clock=lambda: now[0])
    seen = []
    for now[0], step in ((1, 0), (29, 1), (31, 2), (60, 3), (62, 4), (99, 0), (99, 5)):
        if metrics.sample(step):
            seen.append((now[0], step))
    assert seen == [(31, 2), (62, 4), (99, 5)]


@pytest.mark.parametrize(("every", "steps"), [(30.0, set()), (0.0, {0, 1, 2})])
def test_a_run_records_samples_at_its_own_steps_when_it_is_long_enough(here, spec, monkeypatch, every, steps):
    monkeypatch.setattr(system, "EVERY_SECONDS", every)
    with open_run(spec, here / "scratch") as tracker:
        for step in range(3):
            time.sleep(0.03)  # the kernel counts CPU time in hundredths of a second
            tracker.metrics({"train/loss": 1.0}, step)
    found = recorded(here / "scratch")
    assert {step for _, step, _ in found} == steps
    assert {key for key, _, _ in found} >= (KEYS if steps else set())
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    for key, _, value in found:
        assert 0 <= value <= (100 if key.endswith("percentage") else total)


def test_where_the_system_says_nothing_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "_PROC", tmp_path)
    monkeypatch.setattr(system, "EVERY_SECONDS", 0.0)
    assert SystemMetrics().sample(0) == {}
