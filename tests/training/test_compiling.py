"""Whether compiled code pays is found out within a training, and said."""

import time

import pytest

from ptsa_lite.training.compiling import Trial


class Steps:
    """Steps that take as long as they are told to, by a clock of their own; the first compiled one takes a minute."""

    def __init__(self, monkeypatch, plain: float, compiled: float, error: Exception | None = None):
        self.seconds, self.error, self.now = {False: plain, True: compiled}, error, 0.0
        self.compiled, self.asked, self.trial, self.done = False, [], None, 0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def use(self, compiled: bool) -> None:
        self.asked.append(compiled)
        self.compiled, self.fresh = compiled, compiled

    def compute(self, batch):
        if self.compiled and self.error:
            raise self.error
        self.now += self.seconds[self.compiled] + (60 if self.compiled and self.fresh else 0)
        self.fresh = False
        self.done += 1
        return [float(batch)]

    def run(self, n: int, left: int) -> list[float]:
        self.trial = Trial(self, left)
        return [(self.trial(i) if self.trial else self.compute(i))[0] for i in range(n)]


def test_compiled_code_that_is_quicker_stays_and_says_what_it_took_and_saves(monkeypatch, capsys):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.06)
    assert steps.run(20, left=20_000) == [*range(20)] and steps.done == 20  # each once, in order
    assert steps.asked == [True] and steps.trial is None
    said = "compiled code took 01:00 to make; a step takes 60 ms, and plain 100: the training goes on with it\n"
    assert capsys.readouterr().out == said


def test_compiled_code_that_is_no_quicker_goes(monkeypatch, capsys):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.11)
    steps.run(20, left=20_000)
    assert steps.asked == [True, False] and steps.trial is None
    assert capsys.readouterr().out.endswith("a step takes 110 ms, and plain 100: the training goes on without it\n")


@pytest.mark.parametrize(("left", "tried"), [(9_007, False), (9_009, True)])
def test_it_is_tried_where_a_fifth_of_the_time_left_is_more_than_compiling_takes(monkeypatch, capsys, left, tried):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.06)
    steps.run(8, left=left)
    assert (0.2 * 0.1 * (left - 8) > 180) == tried
    assert steps.asked == [True] * tried and bool(steps.trial) == tried and not capsys.readouterr().out


def test_a_training_shorter_than_the_trial_ends_within_it(monkeypatch):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.06)
    assert steps.run(5, left=5) == [*range(5)] and not steps.asked


def test_compiled_code_that_fails_is_named_and_the_step_is_made_plain(monkeypatch, capsys):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.06, error=RuntimeError("no compiler\nfor this GPU"))
    assert steps.run(20, left=20_000) == [*range(20)] and steps.done == 20
    assert steps.asked == [True, False]
    said = "compiled code cannot be had here (RuntimeError): the training goes on without it\n"
    assert capsys.readouterr().out == said


def test_a_plain_step_that_fails_is_an_error_as_ever(monkeypatch):
    steps = Steps(monkeypatch, plain=0.1, compiled=0.06)
    steps.compute = lambda batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        steps.run(1, left=20_000)
