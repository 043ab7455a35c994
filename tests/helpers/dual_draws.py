"""Random prompts for part II: any widths, norms from 0 to 20, zero vectors, one
demonstration."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = settings(max_examples=50, deadline=None)
SEEDS = st.integers(0, 2**31)
NORMS = st.one_of(st.just(0.0), st.just(20.0), st.floats(0.0, 20.0))


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(shape, norm, generator, dtype=torch.float64):
    """Vectors of exactly the given norm in random directions."""
    x = torch.randn(shape, generator=generator, dtype=dtype)
    return norm * x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


@st.composite
def prompts(draw, batches=((), (2,), (2, 3))):
    """Return keys (..., N + 1, d), values (..., N + 1, d_v), query (..., 1, d), generator; N in
    1..40."""
    g = gen(draw(SEEDS))
    batch, N = draw(st.sampled_from(batches)), draw(st.integers(1, 40))
    d, d_v = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    keys = vectors((*batch, N + 1, d), draw(NORMS), g)
    if draw(st.booleans()):  # a spread of norms, among them 0
        keys = keys * torch.rand(N + 1, 1, generator=g, dtype=torch.float64)
        keys[..., torch.randint(0, N + 1, (1,), generator=g), :] = 0
    query = vectors((*batch, 1, d), draw(NORMS), g)
    values = torch.randn(*batch, N + 1, d_v, generator=g, dtype=torch.float64)
    return keys, values, query, g


def gap(found, wanted, scale):
    """The largest difference relative to `scale`, itself bounded away from 0 by float64's
    smallest number."""
    return ((found - wanted).abs() / (scale + 1e-300)).max().item()
