"""The border between the package and a terminal: every error as one sentence, and no print that can fail a run."""

import textwrap
from contextlib import suppress

import click


class Words:
    """A text stream that nothing printed can fail on.

    What its encoding lacks becomes a question mark; where nobody reads any more, or the disk behind it is full, words
    are lost and the work goes on.
    """

    def __init__(self, stream):
        self.stream = stream
        if getattr(stream, "errors", "") == "strict":
            stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):  # AttributeError: a program without a terminal has None
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self.stream.flush()

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


def sentence(error: Exception) -> str:
    """What an error says, in one line. One that is not ours is cut where it grows long, and named by its kind."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "python -m ptsa_lite"
        return f"{error.format_message().rstrip('.')}; see `{command} --help`"
    words = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:  # the system's own
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError | OSError | FloatingPointError) or type(error).__module__.startswith("ptsa_lite"):
        return words
    words = textwrap.shorten(words, 400, placeholder=" ...")
    return f"{words or 'it stopped'} ({type(error).__name__}; --traceback shows where it comes from)"


def status(error: Exception) -> int:
    """The exit status by whose fault it is: 2 for what was asked, 1 for the machine or what we did not foresee."""
    return 2 if isinstance(error, ValueError | FileNotFoundError | click.UsageError) else 1
