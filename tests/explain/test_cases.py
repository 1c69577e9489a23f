"""Which images a gallery shows."""

import numpy as np

from medtransfer.explain.cases import EACH, choose_cases

COUNT = 40


def chosen(correct, positive, names=None, patients=None):
    names = names or [f"ct/{number:02}" for number in range(COUNT)]
    return choose_cases(correct, positive, names, patients or [f"p{number}" for number in range(COUNT)])


def test_as_many_correct_as_failed_cases_of_both_answers_the_first_by_name():
    number = np.arange(COUNT)
    correct, positive = number % 2 == 0, number % 4 < 2
    cases = chosen(correct, positive)
    assert [case.place for case in cases] == [0, 4, 2, 6, 1, 5, 3, 7]
    assert [case.correct for case in cases] == [True] * 4 + [False] * 4
    backwards = chosen(correct, positive, names=[f"ct/{COUNT - n:02}" for n in number])
    assert backwards[0].place == 36


def test_no_patient_is_shown_twice_and_unknown_patients_are_different_ones():
    every = np.ones(COUNT, bool)
    twins = [f"p{number // 10}" for number in range(COUNT)]
    assert [case.place for case in chosen(every, every, patients=twins)] == [0, 10]
    assert [case.place for case in chosen(every, every, patients=[""] * COUNT)] == [0, 1]


def test_a_kind_without_images_is_left_out():
    cases = chosen(np.ones(COUNT, bool), np.zeros(COUNT, bool))
    assert len(cases) == EACH
    assert all(case.correct for case in cases)
