"""Wrong things by the thousand: values that nobody meant, structures with something wrong, bytes gone bad."""

import copy
import math
import random

NAMES = ("semseg", "depth", "normals", "edge", "saliency", "human_parts", "semsg", "", "a", "../x", "é", "x" * 300)


def value(rng: random.Random, depth: int = 2):
    """Any value that YAML or JSON can hold."""
    kinds = ("number", "whole", "text", "odd") + (("list", "map") if depth else ())
    kind = rng.choice(kinds)
    if kind == "number":
        return rng.choice([0.0, -1.0, 0.5, 1e-30, 1e30, math.nan, math.inf, rng.uniform(-5, 5)])
    if kind == "whole":
        return rng.choice([0, 1, 2, 4, -1, 255, 10**6, 2**63, 10**400, rng.randrange(-9, 99)])
    if kind == "text":
        return rng.choice([*NAMES, "5e-4", "1", "true", "null", "scenes", "ptsa", "random", "1,2", "a > b", "{}", "\n"])
    if kind == "odd":
        return rng.choice([None, True, False, [], {}, ""])
    if kind == "list":
        return [value(rng, depth - 1) for _ in range(rng.randrange(5))]
    return {rng.choice(NAMES): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def spoilt(rng: random.Random, good):
    """A deep copy of nested maps and lists with one to three things wrong."""
    spoilt = copy.deepcopy(good)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _spoil(rng, spoilt)
    return spoilt


def _spoil(rng: random.Random, there) -> None:
    inner = [one for one in (there.values() if isinstance(there, dict) else there) if isinstance(one, dict | list)]
    if inner and rng.random() < 0.5:
        return _spoil(rng, rng.choice(inner))
    keys = list(there) if isinstance(there, dict) else list(range(len(there)))
    what = rng.choice(("value", "value", "leave out", "add", "twice"))
    if what == "value" and keys:
        there[rng.choice(keys)] = value(rng)
    elif what == "leave out" and keys:
        del there[rng.choice(keys)]
    elif isinstance(there, list):
        there.append(rng.choice(there) if what == "twice" and there else value(rng))
    elif keys and what == "twice":
        name = str(rng.choice(keys)) or "a"
        there[name[: rng.randrange(1, len(name) + 1)] + rng.choice(("s", "_", "X"))] = value(rng)
    else:
        there[rng.choice(NAMES)] = value(rng)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """A file's bytes, cut short, overwritten, doubled, or not a file of this kind at all."""
    what, n = rng.choice(("cut", "flip", "flip", "zeros", "middle", "foreign", "more")), max(len(content), 1)
    if what == "cut":
        return content[: rng.randrange(n)]
    if what == "foreign":
        return rng.choice([b"", b"\x00" * 64, b"PK\x03\x04" + rng.randbytes(60), rng.randbytes(200), b"<html>no</html>",
                           b"\x80\x04\x95" + rng.randbytes(20), b"\x93NUMPY\x01\x00" + rng.randbytes(40)])  # fmt: skip
    if what == "more":
        return content + rng.randbytes(20)
    if what == "middle":
        start, stop = sorted((rng.randrange(n), rng.randrange(n)))
        return content[:start] + content[stop:]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 3, 30))):
        start = rng.randrange(min(n, rng.choice((n, 200))))  # often in the header
        if what == "zeros":
            changed[start : start + 8] = bytes(len(changed[start : start + 8]))
        else:
            changed[start] ^= 1 << rng.randrange(8)
    return bytes(changed)
