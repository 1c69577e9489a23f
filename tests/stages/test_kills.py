"""A handful of the rounds of the fault-injection campaign; ``benchmarks/kill_campaign.py`` runs hundreds."""

import pytest

from kill_rounds import VERBS, Campaign

SEED = 20


@pytest.mark.slow
def test_a_verb_that_was_killed_and_repeated_leaves_what_a_whole_run_leaves(toy, tmp_path_factory, checkout):
    toy.draw(counts=(8, 8, 8))
    folder = tmp_path_factory.mktemp("campaign")
    toy.folder.rename(folder / "work")
    campaign = Campaign(folder, checkout / "src")
    campaign.prepare()
    results = [campaign.round(number, SEED) for number in range(len(VERBS))]
    assert [each for each in results if each["differs"]] == []
    assert {each["verb"] for each in results} == set(VERBS)
