"""One error for everything a caller can mend, and the small checks that raise it."""

import math


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, and how to mend it."""


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_sizes(**sizes: int) -> None:
    """Raise `InputError` unless every named size is a whole number of at least 1."""
    for name, size in sizes.items():
        is_whole = isinstance(size, int) and not isinstance(size, bool)
        require(
            is_whole and size >= 1, f"{name} must be a whole number of at least 1, got {size!r}"
        )


def require_nonnegative(**numbers: float) -> None:
    """Raise `InputError` unless every named number is finite and at least 0."""
    for name, number in numbers.items():
        require(
            math.isfinite(number) and number >= 0,
            f"{name} must be finite and at least 0, got {number!r}",
        )


def require_shape(name: str, tensor, shape: tuple) -> None:
    """Raise `InputError` unless `tensor` is finite and has `shape`; None in `shape` stands for
    any length."""
    got = tuple(tensor.shape)
    fits = len(got) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, got)
    )
    wanted = "(" + ", ".join("any" if want is None else str(want) for want in shape) + ")"
    require(fits, f"{name} must have shape {wanted}, got {got}")
    require(
        bool(tensor.isfinite().all()),
        f"{name} holds NaN or infinity; remove the entries that are not finite",
    )
