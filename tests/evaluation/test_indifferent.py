"""A fit that gives every image the same score is named."""

import pandas as pd

from medtransfer.evaluation.indifferent import indifferent, same_score


def rows(variant, scores, **more):
    names = {"variant": variant, "condition": "none", "seed": 0, "output": "covid", "intervention": ""}
    return pd.DataFrame({"image_id": [f"x/{n}" for n in range(len(scores))], "score": scores}).assign(**names | more)


def test_a_fit_whose_scores_are_all_the_same_is_named_and_others_are_not():
    table = pd.concat([rows("dead", [0.504386, 0.5043861, 0.504386]), rows("alive", [0.5, 0.5, 0.6])])
    said = indifferent(table, [("dead", "none"), ("alive", "none")])
    assert said == ["dead · none · seed 0 tells no images apart: for covid, each of 3 images has the score 0.504."]


def test_floors_and_interventions_are_not_asked():
    off = rows("net", [0.5, 0.5], intervention="inserted_off")
    table = pd.concat([rows("constant", [0.4, 0.4]), rows("net", [0.1, 0.9]), off])
    assert indifferent(table, [("net", "none")]) == []


def test_every_output_and_seed_is_asked_on_its_own():
    table = pd.concat(
        [rows("net", [0.1, 0.1]), rows("net", [0.1, 0.9], output="other"), rows("net", [0.2, 0.2], seed=1)]
    )
    assert [line.split(" tells")[0] for line in indifferent(table, [("net", "none")])] == [
        "net · none · seed 0",
        "net · none · seed 1",
    ]


def test_one_image_shows_nothing():
    assert same_score(rows("net", [0.5])) == ""
