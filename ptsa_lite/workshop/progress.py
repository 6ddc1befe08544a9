"""How far a series of notebooks is, and how long it will take: tqdm's bar, counted in the seconds expected of each."""

import io
import time
from typing import TextIO

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines where the output is no terminal, which cannot draw a line anew


class Progress:
    """A bar in a terminal, else a line now and then.

    seconds: what each notebook took on some machine. tqdm learns from what is done how much longer they take here.
    """

    def __init__(self, seconds: dict[str, float], stream: TextIO):
        self.seconds, self.stream, self.terminal = seconds, stream, stream.isatty()
        self.bar = tqdm(
            total=sum(seconds.values()), file=stream if self.terminal else io.StringIO(), leave=False, smoothing=0,
            dynamic_ncols=True, bar_format="{percentage:3.0f}% {bar:20} {elapsed} so far, {remaining} left; {desc}",
        )  # fmt: skip
        self.name, self.before, self.start, self.said = "", 0.0, 0.0, 0.0

    def say(self, line: str) -> None:
        """A line that stays."""
        tqdm.write(line, file=self.stream)
        self.stream.flush()

    def skip(self, name: str) -> None:
        """A notebook that was finished before; it says nothing of the pace."""
        self.before += self.seconds[name]
        self.bar.initial = self.before
        self.say(f"{name}: finished before")

    def begin(self, name: str) -> None:
        self.name, self.start, self.said = name, time.monotonic(), 0.0
        self._show(self.before, f"{name} starts")

    def step(self, done: int, cells: int, line: str = "") -> None:
        """`done` of a notebook's cells are over; `line` is the last thing that it printed."""
        words = f"{self.name}, cell {min(done + 1, cells)} of {cells}" + f" | {line}" * bool(line)
        self._show(self.before + self.seconds[self.name] * done / max(cells, 1), words)

    def _show(self, seconds: float, words: str) -> None:
        self.bar.n = seconds
        self.bar.set_description_str(words, refresh=self.terminal)
        if not self.terminal and time.monotonic() - self.said >= EVERY:
            self.said = time.monotonic()
            print(self.bar, file=self.stream, flush=True)

    def end(self) -> float:
        """The present notebook is over; returns its seconds."""
        self.before += self.seconds[self.name]
        seconds = time.monotonic() - self.start
        self.say(f"{self.name}: finished after {tqdm.format_interval(seconds)}")
        return seconds
