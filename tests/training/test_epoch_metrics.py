"""How large weights are: counted as a notebook would count them, in pieces, for a run alone and in a stack."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.training.epoch_metrics import NEAR_ZERO, PIECE, kernels_of, weight_size


def test_sizes_are_those_of_numpy():
    chance = np.random.default_rng(0)
    kernels = [chance.normal(0, 0.01, (700, 600)).astype(np.float32), chance.normal(0, 1, (600, 1)).astype(np.float32)]
    assert kernels[0].size > PIECE  # more than one piece
    found = weight_size(kernels)
    flat = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]).astype(np.float64))
    assert found["weights"] == pytest.approx(flat.sum(), rel=1e-6)
    assert found["zeros"] == (flat < np.float32(NEAR_ZERO)).mean()


def test_a_network_of_zeros_is_all_zeros_and_none_is_none():
    assert weight_size([np.zeros((3, 2))]) == {"weights": 0.0, "zeros": 1.0}
    assert weight_size([]) == {"weights": 0.0, "zeros": 0.0}


def test_only_the_networks_kernels_are_taken():
    kernel, bias, slot = np.ones((2, 2)), np.ones(2), np.ones((2, 2))
    assert [one is kernel for one in kernels_of([kernel, bias, slot], 2)] == [True]
