"""The campaigns of tests/campaigns, each in small: a few kills and some hundred bad inputs."""

import multiprocessing

import pytest
from campaigns import bad_inputs, files
from campaigns.cases import Case, outcome

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="cannot fork a process")


def test_some_bad_inputs_of_each_kind_are_refused_clearly_or_handled():
    said = []
    found = bad_inputs.run(220, seed=7, say=said.append)
    assert said == []
    assert all(counts["refused"] + counts["handled"] == counts["inputs"] == 20 for counts in found.values())
    assert all(counts["refused"] > 5 for counts in found.values())


def test_some_files_as_other_people_hold_them_are_read_as_what_they_are_or_refused_clearly():
    said = []
    found = bad_inputs.run(80, seed=7, say=said.append, families=(files.pictures, files.weights))
    assert said == []
    assert all(counts["handled"] > 5 for counts in found.values())


def test_an_input_that_is_taken_wrongly_or_refused_unclearly_would_be_told():
    def case(act, holds=lambda result: True):
        return outcome(Case(act, "x.yaml", holds))[0]

    def refuse(error):
        raise error

    assert case(lambda: refuse(ValueError("x.yaml holds no settings"))) == "refused"
    assert case(lambda: refuse(ValueError("it holds no settings"))) == "unclear"
    assert case(lambda: refuse(ValueError("x.yaml holds\nno settings"))) == "unclear"
    assert case(lambda: refuse(KeyError("x.yaml"))) == "wrong kind"
    assert case(lambda: 1) == "handled" and case(lambda: 1, lambda result: result == 2) == "silent"


@needs_fork
def test_a_few_kills_lose_nothing():
    """In a process of its own, because the campaign changes the module that it kills."""
    from campaigns import kill

    kinds = ("checkpoint", "prepare")  # the others are killed in test_train, test_queue and test_interrupts
    answers = multiprocessing.get_context("fork").Queue()
    process = multiprocessing.get_context("fork").Process(target=lambda: answers.put(kill.run(4, 7, kinds)))
    process.start()
    found = answers.get(timeout=240)
    process.join()
    assert set(found) == set(kinds)
    assert all(counts["losses"] == 0 and counts["kills"] == 2 for counts in found.values())
