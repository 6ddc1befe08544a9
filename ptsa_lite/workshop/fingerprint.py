"""What a built notebook was made from, as one number: its text, its parameters, and the package's code behind it.

Of the package only those files count that the notebook imports, and those that they import: a change in a wing that a
notebook never enters leaves it up to date, and so does a comment on a line of its own. Scripts and styles count that
lie in a folder named like the file beside it, as those of `explore.py` do.
"""

import re
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from ptsa_lite.data import cache

PACKAGE = Path(__file__).resolve().parents[1]
COMMENT = re.compile(r"(?m)^\s*(#.*)?\n")


def fingerprint(source: Path, parameters: dict[str, Any]) -> str:
    """16 digits that change with anything that a notebook's run is made from; line ends do not count."""
    parts = [source.read_text(encoding="utf-8"), parameters]
    behind = code_behind(source)
    for path in sorted(behind | {file for code in behind for file in code.with_suffix("").glob("*.*s")}):
        parts += [path.relative_to(PACKAGE).as_posix(), COMMENT.sub("", path.read_text(encoding="utf-8"))]
    return cache.fingerprint(*parts)


def code_behind(source: Path) -> set[Path]:
    """The package's files that a source imports, at its top or within its functions, and all that they import."""
    finder = ModuleFinder([str(PACKAGE.parent)])  # nothing is found outside of it, and nothing executed
    with suppress(SyntaxError):  # which the cell that holds it will tell
        finder.run_script(str(source))
    files = [Path(module.__file__) for module in finder.modules.values() if module.__file__]
    return {file for file in files if PACKAGE in file.parents}
