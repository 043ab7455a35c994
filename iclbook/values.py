"""What the value of a setting may be."""

from typing import get_args, get_origin

LARGEST = 1e15  # of a setting; whole numbers up to here are exact as floats


def tuples(value):
    """Lists as tuples, at any depth."""
    return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value


def fault_of(value, kind, least: float | None, empty: bool = False) -> str:
    """What keeps a value from being of a kind; "" where nothing does."""
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if not isinstance(value, tuple):
            return "must hold lists"
        if kinds[-1] is ...:
            if not value and not empty:
                return "must not be empty"
            kinds = kinds[:1] * len(value)
        if len(kinds) != len(value):
            return f"must hold {len(kinds)} values each"
        return next(filter(None, (fault_of(*pair, least) for pair in zip(value, kinds))), "")
    if type(value) is not kind and (kind, type(value)) != (float, int):
        return f"must be of type {kind.__name__}"
    if kind in (int, float):
        least = int(kind is int) if least is None else max(least, -LARGEST)
        if not least <= value <= LARGEST:
            return f"must be from {least:g} to {LARGEST:g}"
    return ""
