"""Seeded generators and small dictionaries for part I."""

import torch

from iclbook.ridge.prompt import sample_dictionary


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dictionary(N=4, K=9, d=5, m=3, tau=0.3, seed=0, **kwargs):
    return sample_dictionary(N, K, d, m, tau, generator=generator(seed), **kwargs)
