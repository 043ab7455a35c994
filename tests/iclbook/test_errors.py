"""The small checks that raise InputError: what passes, what is refused, and in which words."""

import math

import pytest
import torch

from iclbook.errors import (
    InputError,
    require,
    require_nonnegative,
    require_shape,
    require_sizes,
)


@pytest.mark.parametrize("size", [0, -1, 1.0, 2.5, True, "3", None, math.nan])
def test_a_size_is_a_whole_number_of_at_least_one(size):
    require_sizes(N=1, K=10**6)
    with pytest.raises(InputError, match="N must be a whole number of at least 1, got "):
        require_sizes(K=3, N=size)


@pytest.mark.parametrize("number", [-1e-300, -1, math.inf, math.nan])
def test_a_strength_is_finite_and_not_negative(number):
    require_nonnegative(alpha=0.0, beta=1e300)
    with pytest.raises(InputError, match="beta must be finite and at least 0, got "):
        require_nonnegative(alpha=1, beta=number)


def test_a_shape_has_every_length_and_the_same_number_of_axes():
    x = torch.ones(2, 3)
    for shape in ((2, 3), (None, 3), (2, None), (None, None)):
        require_shape("x", x, shape)
    for shape in ((3, 2), (2,), (2, 3, 1), (None, 2), ()):
        with pytest.raises(InputError, match=r"x must have shape .*, got \(2, 3\)"):
            require_shape("x", x, shape)
    with pytest.raises(InputError, match=r"shape \(any, 4\)"):
        require_shape("x", x, (None, 4))
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="x holds NaN or infinity"):
            require_shape("x", torch.tensor([[1.0, bad]]), (1, 2))


def test_a_refusal_is_one_line():
    require(True, "never said")
    with pytest.raises(InputError, match=r"^why$"):
        require(False, "why")
