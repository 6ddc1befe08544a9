"""How far a series of jobs is, how long it took, and how long it will take: one line that a terminal redraws."""

import shutil
import threading
import time
from typing import TextIO

EVERY = 30.0  # seconds between two lines where the output is no terminal
WIDTH = 20  # characters of the bar
SURE = 30.0  # seconds of belief in the expected times


class SeriesProgress:
    """Time left = sum over the jobs to come of (expected seconds) * pace, less what the present job has used.

    `expected` gives each job's seconds on some machine. The pace is how much longer the finished jobs took here than
    expected, so that the estimate follows this machine from the first finished job on.
    """

    def __init__(self, expected: dict[str, float], stream: TextIO, clock=time.monotonic):
        self.expected, self.stream, self.clock = expected, stream, clock
        self.terminal = stream.isatty()
        self.start = clock()
        self.finished: dict[str, float] = {}  # seconds of the jobs done here
        self.skipped: set[str] = set()
        self.job, self.job_start, self.done, self.steps, self.line = "", self.start, 0, 0, ""
        self._said = 0.0
        self._stop, self._lock = threading.Event(), threading.RLock()
        self._ticker = threading.Thread(target=self._tick, daemon=True)  # time passes while a cell prints nothing

    def __enter__(self):
        self._ticker.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._ticker.join()
        self._clear()

    def skip(self, job: str) -> None:
        """A job that was finished before."""
        self.skipped.add(job)
        self.say(f"{job}: finished before")

    def begin(self, job: str) -> None:
        with self._lock:
            self.job, self.job_start, self.done, self.steps, self.line = job, self.clock(), 0, 0, ""
            self._show(force=True)

    def step(self, done: int, steps: int, line: str = "") -> None:
        """`done` of the job's `steps` are over; `line` is the last thing that it printed."""
        with self._lock:
            self.done, self.steps, self.line = done, steps, line or self.line
            self._show()

    def end(self, words: str = "finished") -> float:
        """The present job is over; returns its seconds."""
        with self._lock:
            seconds = self.clock() - self.job_start
            self.finished[self.job] = seconds
            self.say(f"{self.job}: {words} after {clock_time(seconds)}")
            self.job = ""
        return seconds

    def say(self, line: str) -> None:
        """A line that stays."""
        with self._lock:
            self._clear()
            print(line, file=self.stream, flush=True)

    def left(self) -> float:
        """Estimated seconds to the end."""
        # As if one more job of SURE seconds had gone as expected: a short first job must not decide alone.
        known = sum(self.expected[job] for job in self.finished) + SURE
        pace = (sum(self.finished.values()) + SURE) / known
        waiting = [job for job in self.expected if job not in self.finished and job not in self.skipped]
        total = sum(pace * self.expected[job] for job in waiting)
        if self.job in waiting:
            # A job that overruns its expectation is not given a negative rest.
            total -= min(self.clock() - self.job_start, pace * self.expected[self.job])
        return total

    def share(self) -> float:
        """Finished part of the whole by expected time, 0 to 1; the present job counts by its steps."""
        total = sum(self.expected.values())
        over = sum(self.expected[job] for job in {*self.finished, *self.skipped})
        now = self.expected[self.job] * self.done / max(self.steps, 1) if self.job else 0.0
        return (over + now) / total if total else 1.0

    def text(self) -> str:
        number = list(self.expected).index(self.job) + 1 if self.job else len(self.expected)
        where = f"cell {min(self.done + 1, self.steps)} of {self.steps}" if self.steps else "starting"
        return (
            f"{self.job} ({number} of {len(self.expected)}), {where}, "
            f"{clock_time(self.clock() - self.start)} so far, about {clock_time(self.left())} left"
        )

    def _tick(self) -> None:
        while not self._stop.wait(0.5):
            with self._lock:
                if self.job:
                    self._show()

    def _show(self, force: bool = False) -> None:
        if self.terminal:
            full = round(WIDTH * self.share())
            words = f"[{'#' * full}{'.' * (WIDTH - full)}] {self.text()}" + (f" | {self.line}" if self.line else "")
            print(f"\r\x1b[2K{words[:_columns()]}", end="", file=self.stream, flush=True)
        elif force or self.clock() - self._said >= EVERY:
            self._said = self.clock()
            print(self.text() + (f" | {self.line}" if self.line else ""), file=self.stream, flush=True)

    def _clear(self) -> None:
        if self.terminal:
            print("\r\x1b[2K", end="", file=self.stream, flush=True)


def clock_time(seconds: float) -> str:
    """75 -> 1:15, 3675 -> 1:01:15."""
    minutes, seconds = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _columns() -> int:
    return shutil.get_terminal_size().columns - 1
