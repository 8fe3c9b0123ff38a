"""Sparse codes, compared with a pursuit that solves least squares for one signal at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusion_core.methods.jsr import cosine_dictionary
from fusion_core.methods.sparse_coding import (
    JointDictionary,
    PlainDictionary,
    learn_dictionary,
    sparse_codes,
)

Matrix = NDArray[np.float64]


def pursue(signal: Matrix, matrix: Matrix, count: int) -> Matrix:
    """Return the code of one signal with an entry for each atom."""
    chosen: list[int] = []
    residual, solution = signal, np.zeros(0)
    for _ in range(count):
        correlations = np.abs(matrix.T @ residual)
        best = int(np.flatnonzero(correlations >= correlations.max() - 1e-12)[0])
        if correlations[best] ** 2 < 1e-14 or best in chosen:
            break
        atoms = matrix[:, [*chosen, best]]
        if np.linalg.matrix_rank(atoms, tol=1e-7) < len(chosen) + 1:
            break
        chosen.append(best)
        solution = np.linalg.lstsq(atoms, signal, rcond=None)[0]
        residual = signal - atoms @ solution
    code = np.zeros(matrix.shape[1])
    code[chosen] = solution
    return code


def dense(columns: torch.Tensor, codes: torch.Tensor, atoms: int) -> Matrix:
    return torch.zeros(len(codes), atoms, dtype=codes.dtype).scatter_add_(1, columns, codes).numpy()


def signals(count: int, length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, length, generator=generator, dtype=torch.float64)


def test_plain_codes_are_those_of_the_textbook() -> None:
    matrix, given = cosine_dictionary(), signals(30, 49)
    given[3] = 0.0
    given[4] = 2.5 * matrix[:, 17]
    given[5] = matrix[:, 3] - 0.5 * matrix[:, 200]
    found = dense(*sparse_codes(given, PlainDictionary(matrix), 16), 256)
    expected = np.stack([pursue(signal, matrix.numpy(), 16) for signal in given.numpy()])
    assert np.allclose(found, expected, atol=1e-10)
    assert not found[3].any()
    assert np.flatnonzero(found[4]).tolist() == [17]


def test_joint_codes_are_those_of_the_joint_matrix() -> None:
    matrix, given = cosine_dictionary().numpy(), signals(30, 98, seed=1)
    given[:5, 49:] = given[:5, :49]  # what is alike ties
    empty = np.zeros_like(matrix)
    joint = np.block([[matrix / np.sqrt(2), matrix, empty], [matrix / np.sqrt(2), empty, matrix]])
    codes = sparse_codes(given, JointDictionary(torch.from_numpy(matrix)), 16)
    expected = np.stack([pursue(signal, joint, 16) for signal in given.numpy()])
    assert np.allclose(dense(*codes, 768), expected, atol=1e-10)


def test_atoms_that_depend_on_each_other_end_a_pursuit() -> None:
    matrix = torch.eye(4, dtype=torch.float64)[:, [0, 0, 1, 1]]
    given = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    columns, codes = sparse_codes(given, PlainDictionary(matrix), 4)
    assert (columns[0, :2].tolist(), codes[0].tolist()) == ([0, 2], [3.0, 2.0, 0.0, 0.0])


def test_codes_do_not_depend_on_the_number_of_signals() -> None:
    given = signals(1100, 49)
    columns, codes = sparse_codes(given, PlainDictionary(cosine_dictionary()), 5)
    alone = sparse_codes(given[1050:1051], PlainDictionary(cosine_dictionary()), 5)
    assert torch.equal(columns[1050:1051], alone[0])
    assert torch.allclose(codes[1050:1051], alone[1], atol=1e-12)


def error(dictionary: torch.Tensor, given: torch.Tensor) -> float:
    columns, codes = sparse_codes(given, PlainDictionary(dictionary), 3)
    code = dense(columns, codes, dictionary.shape[1])
    return float(((given.numpy() - code @ dictionary.numpy().T) ** 2).mean())


def test_a_learned_dictionary_finds_the_atoms_of_which_signals_are_made() -> None:
    generator = torch.Generator().manual_seed(3)
    atoms = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    atoms /= atoms.norm(dim=0)
    choice = torch.stack([torch.randperm(20, generator=generator)[:3] for _ in range(800)])
    weights = torch.randn(800, 3, generator=generator, dtype=torch.float64)
    given = (atoms.T[choice] * weights.unsqueeze(2)).sum(dim=1)
    learned = learn_dictionary(given, 20, 3, 30, seed=0)
    assert torch.allclose(learned.norm(dim=0), torch.ones(20, dtype=torch.float64))
    found = (learned.T @ atoms).abs().amax(dim=0)
    assert (found > 0.99).sum() >= 12
    assert error(learned, given) < 0.5 * error(learn_dictionary(given, 20, 3, 1, seed=0), given)
    again, other = (learn_dictionary(given, 20, 3, 30, seed=seed) for seed in (0, 1))
    assert torch.equal(again, learned)
    assert not torch.equal(other, learned)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_dictionary_is_learned_from_signals_that_are_all_alike(value: float) -> None:
    given = torch.full((30, 9), value, dtype=torch.float64)
    learned = learn_dictionary(given, 16, 4, 3, seed=0)
    assert torch.isfinite(learned).all()
    assert torch.allclose(learned.norm(dim=0), torch.ones(16, dtype=torch.float64))
