"""What a campaign counted, printed and kept beside the others' in one file."""

import sys
from pathlib import Path

from ptsa_lite.disk import read_json, write_json
from ptsa_lite.run import versions


def record(name: str, counts: dict[str, dict], path: Path | None) -> None:
    """Prints the counts by kind, and writes them with the command that made them as `name` into a JSON file."""
    for kind, numbers in counts.items():
        print(f"{kind:>12}: " + ", ".join(f"{key} {value}" for key, value in numbers.items()))
    if path:
        total = {key: sum(numbers.get(key, 0) for numbers in counts.values()) for key in next(iter(counts.values()))}
        entry = {"command": " ".join(["python", f"tests/campaigns/{name}.py", *sys.argv[1:]]), "total": total}
        entry |= {"kinds": counts, "versions": versions()}
        write_json(path, (read_json(path) if path.is_file() else {}) | {name: entry})
