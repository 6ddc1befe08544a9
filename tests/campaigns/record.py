"""What a campaign counted, printed and kept beside the others' in one file."""

import sys
from pathlib import Path

from ptsa_lite.data.disk import read_json, write_json
from ptsa_lite.experiments.run import versions


def record(name: str, counts: dict[str, dict], path: Path | None, seed: int = 0) -> None:
    """Prints the counts by kind, and writes each with the command that made it under `name` into a JSON file.

    Kinds that the file has and this campaign did not try stay as they are; a campaign of another seed stands by itself.
    """
    for kind, numbers in counts.items():
        print(f"{kind:>12}: " + ", ".join(f"{key} {value}" for key, value in numbers.items()))
    if path:
        words = ["python", f"tests/campaigns/{name}.py", *sys.argv[1:]]
        command = " ".join(words).replace(str(path.absolute()), path.name)  # names no folder of this machine
        about = {"command": command, "versions": versions()}
        name += f", seed {seed}" if seed else ""
        kept = read_json(path) if path.is_file() else {}
        kinds = kept.get(name, {}).get("kinds", {}) | {kind: numbers | about for kind, numbers in counts.items()}
        keys = next(iter(counts.values()))
        total = {key: sum(numbers.get(key, 0) for numbers in kinds.values()) for key in keys}
        write_json(path, kept | {name: {"total": total, "kinds": kinds}})
