"""Sparse codes over a dictionary: orthogonal matching pursuit and K-SVD, on batches of signals."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

_TIE = 1e-12
"""Correlations that differ by less are equal: of equal ones, the atom in the lowest column is
chosen, so that rounding does not decide."""
_LEAST_CORRELATION = 1e-7
_LEAST_DEPENDENCE = 1e-14
_CHUNK = 1024
"""Signals that are coded at the same time, so that their correlations stay in the cache."""


class Dictionary(Protocol):
    """Atoms of unit norm: the columns of a matrix `(M, K)`, which need not exist as a whole."""

    def correlate(self, signals: Tensor) -> list[Tensor]:
        """Return the inner products of signals `(N, M)` with all atoms, in blocks of columns."""
        ...

    def atoms(self, columns: Tensor) -> Tensor:
        """Return the atoms in columns `(N,)`, as `(N, M)`."""
        ...


class PlainDictionary:
    """A dictionary that is a matrix."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self._rows = matrix.T.contiguous()

    def correlate(self, signals: Tensor) -> list[Tensor]:
        """Return the inner products of signals `(N, M)` with all atoms."""
        return [signals @ self._matrix]

    def atoms(self, columns: Tensor) -> Tensor:
        """Return the atoms in columns `(N,)`, as `(N, M)`."""
        return self._rows[columns]


class JointDictionary:
    """The dictionary `[D D 0; D 0 D]` of two signals, whose first columns are divided by sqrt(2).

    The first K columns are the atoms that both signals have in common, the others are those of the
    first and of the second signal alone.
    """

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        rows, empty = matrix.T, torch.zeros_like(matrix.T)
        common = torch.cat((rows, rows), dim=1) * math.sqrt(0.5)
        own = torch.cat((torch.cat((rows, empty), 1), torch.cat((empty, rows), 1)))
        self._rows = torch.cat((common, own))

    def correlate(self, signals: Tensor) -> list[Tensor]:
        """Return the inner products with the common atoms, and with those of each signal."""
        length, columns = self._matrix.shape
        own = (signals.view(-1, length) @ self._matrix).view(-1, 2 * columns)
        common = (own[:, :columns] + own[:, columns:]).mul_(math.sqrt(0.5))
        return [common, own]

    def atoms(self, columns: Tensor) -> Tensor:
        """Return the atoms in columns `(N,)`, as `(N, 2 * M)`."""
        return self._rows[columns]


def sparse_codes(signals: Tensor, dictionary: Dictionary, count: int) -> tuple[Tensor, Tensor]:
    """Code signals by orthogonal matching pursuit with at most `count` atoms.

    Pati, Rezaiifar & Krishnaprasad, "Orthogonal matching pursuit", Asilomar Conference on Signals,
    Systems and Computers, 1993, https://doi.org/10.1109/ACSSC.1993.342465. The pursuit of a signal
    ends early if the next atom has been chosen already, is orthogonal to the residual, or depends
    on the atoms that were chosen.

    Args:
        signals: `(N, M)` float64.
        dictionary: The atoms.
        count: Number of atoms per signal.

    Returns:
        Columns `(N, count)` and coefficients `(N, count)`. Atoms that were not chosen have the
        coefficient 0 and the column 0.
    """
    parts = [_pursue(part, dictionary, count) for part in signals.split(_CHUNK)]
    return torch.cat([columns for columns, _ in parts]), torch.cat([codes for _, codes in parts])


def _pursue(signals: Tensor, dictionary: Dictionary, count: int) -> tuple[Tensor, Tensor]:
    number, length = signals.shape
    residual = signals.clone()
    basis = signals.new_zeros(number, count, length)
    triangle = torch.eye(count, dtype=signals.dtype, device=signals.device).repeat(number, 1, 1)
    products = signals.new_zeros(number, count)
    columns = torch.full((number, count), -1, device=signals.device)
    active = torch.ones(number, dtype=torch.bool, device=signals.device)
    for step in range(count):
        chosen, largest = _choose(dictionary.correlate(residual))
        active &= largest > _LEAST_CORRELATION
        active &= (columns[:, :step] != chosen.unsqueeze(1)).all(dim=1)
        atoms = dictionary.atoms(chosen)
        shares = torch.bmm(basis[:, :step], atoms.unsqueeze(2)).squeeze(2)
        rest = 1.0 - shares.square().sum(dim=1)
        active &= rest > _LEAST_DEPENDENCE
        norm = torch.where(active, rest, 1.0).sqrt().unsqueeze(1)
        direction = atoms - torch.bmm(shares.unsqueeze(1), basis[:, :step]).squeeze(1)
        direction = torch.where(active.unsqueeze(1), direction / norm, 0.0)
        product = (direction * residual).sum(dim=1)
        residual -= product.unsqueeze(1) * direction
        basis[:, step], products[:, step] = direction, product
        triangle[:, :step, step] = torch.where(active.unsqueeze(1), shares, 0.0)
        triangle[:, step, step] = norm.squeeze(1)
        columns[:, step] = torch.where(active, chosen, -1)
    solved = torch.linalg.solve_triangular(triangle, products.unsqueeze(2), upper=True).squeeze(2)
    return columns.clamp(min=0), torch.where(columns >= 0, solved, 0.0)


def _choose(blocks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the column of the largest magnitude of each row, and that magnitude."""
    magnitudes = [block.abs_() for block in blocks]
    largest = torch.stack([block.amax(dim=1) for block in magnitudes]).amax(dim=0)
    threshold = (largest - _TIE).unsqueeze(1)
    chosen = torch.full_like(largest, -1, dtype=torch.long)
    start = sum(block.shape[1] for block in magnitudes)
    for block in reversed(magnitudes):  # the first block with an equal magnitude counts
        start -= block.shape[1]
        equal, first = (block >= threshold).view(torch.uint8).max(dim=1)
        chosen = torch.where(equal > 0, first + start, chosen)
    return chosen, largest


def learn_dictionary(signals: Tensor, atoms: int, count: int, iterations: int, seed: int) -> Tensor:
    """Learn a dictionary by K-SVD.

    Aharon, Elad & Bruckstein, "K-SVD: An Algorithm for Designing Overcomplete Dictionaries for
    Sparse Representation", IEEE Transactions on Signal Processing, 2006,
    https://doi.org/10.1109/TSP.2006.881199. The first dictionary consists of signals that are drawn
    at random; an atom that no signal uses is replaced by the signal that is represented worst.

    Args:
        signals: `(N, M)` float64.
        atoms: Number of atoms.
        count: Number of atoms per signal.
        iterations: Number of iterations.
        seed: Seed of the first dictionary.

    Returns:
        `(M, atoms)`, columns of unit norm. The first entry of each column that is not 0 is
        positive.
    """
    dictionary = _draw(signals, atoms, seed)
    for _ in range(iterations):
        columns, codes = sparse_codes(signals, PlainDictionary(dictionary), count)
        _update(dictionary, signals, columns, codes)
    return dictionary


def _draw(signals: Tensor, atoms: int, seed: int) -> Tensor:
    """Draw different signals that are not 0, filled up with random directions."""
    generator = torch.Generator().manual_seed(seed)
    length = signals.shape[1]
    noise = torch.randn(atoms, length, generator=generator, dtype=signals.dtype)
    order = torch.randperm(len(signals), generator=generator).to(signals.device)
    usable = signals[order]
    usable = usable[usable.norm(dim=1) > _LEAST_CORRELATION][:atoms]
    drawn = torch.cat((usable, noise[len(usable) :].to(signals.device)))
    return _oriented((drawn / drawn.norm(dim=1, keepdim=True)).T.contiguous())


def _update(dictionary: Tensor, signals: Tensor, columns: Tensor, codes: Tensor) -> None:
    """Replace each atom and its coefficients by the best ones for the signals that use it."""
    residual = signals - _represent(dictionary, columns, codes)
    for atom in range(dictionary.shape[1]):
        rows, places = ((columns == atom) & (codes != 0.0)).nonzero(as_tuple=True)
        if not len(rows):
            worst = residual.square().sum(dim=1).argmax()
            norm = signals[worst].norm()
            if norm > _LEAST_CORRELATION:
                dictionary[:, atom] = signals[worst] / norm
            residual[worst] = 0.0  # not for another atom
            continue
        error = residual[rows] + codes[rows, places].unsqueeze(1) * dictionary[:, atom]
        _, directions = torch.linalg.eigh(error.T @ error)
        dictionary[:, atom] = _oriented(directions[:, -1:])[:, 0]
        coefficients = error @ dictionary[:, atom]
        codes[rows, places] = coefficients
        residual[rows] = error - coefficients.unsqueeze(1) * dictionary[:, atom]


def _represent(dictionary: Tensor, columns: Tensor, codes: Tensor) -> Tensor:
    """Return the signals `(N, M)` that codes stand for."""
    represented: Tensor = torch.nn.functional.embedding_bag(
        columns, dictionary.T.contiguous(), per_sample_weights=codes, mode="sum"
    )
    return represented


def _oriented(matrix: Tensor) -> Tensor:
    """Return the columns with the sign with which their largest entry is positive."""
    largest = matrix.abs().argmax(dim=0, keepdim=True)
    return matrix * torch.where(matrix.gather(0, largest) < 0.0, -1.0, 1.0)
