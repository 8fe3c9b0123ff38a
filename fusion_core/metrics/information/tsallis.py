"""Mutual information with Tsallis entropy instead of Shannon's."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_core.metrics.base import Image, ScoredBatch, evaluate
from fusion_core.metrics.information.histograms import LEVELS, joint_shares, level_shares

_ORDER = 1.85


def tsallis_information(ir: Image, vis: Image, fused: Image) -> Tensor:
    """Compute the mutual information of both sources and the fused image after Tsallis (TE).

    TE is the sum over both sources X of (1 - sum p_XF**q / (p_X p_F)**(q - 1)) / (1 - q), q = 1.85,
    over all pairs of gray levels of X and F that occur (Cvejic, Canagarajah & Bull 2006,
    https://doi.org/10.1049/el:20060693). MEFB exchanges p_X and p_F, which leaves no meaning.

    Args:
        ir: Infrared image A, `(H, W)` or `(B, 1, H, W)` uint8.
        vis: Visible image B, likewise.
        fused: Fused image F, likewise.

    Returns:
        0 and above without a unit, float64: a scalar tensor, or `(B,)` for a batch. It is always
        defined.

    Example:
        >>> from fusion_core.images.synthetic import synthetic_pair
        >>> ir, vis = synthetic_pair(24, 32, seed=1, colour=False)
        >>> round(tsallis_information(ir, vis, fused=vis).item(), 4)
        95.6852
    """
    return evaluate(score_tsallis_information, ir, vis, fused)


def score_tsallis_information(batch: ScoredBatch) -> Tensor:
    """Compute TE of a batch, `(B,)`."""
    of_sources, of_fused = batch.sources.cached(level_shares), batch.fused.cached(level_shares)
    return _divergence(batch, of_sources.unsqueeze(3), of_fused.unsqueeze(1))


def score_tsallis_information_mefb(batch: ScoredBatch) -> Tensor:
    """Compute TE of a batch, `(B,)`, with the shares of X and F exchanged.

    Each level of X is then compared with the same level of F, after both are stretched to 0..255.
    """
    sources, fused = batch.sources.cached(level_shares), batch.fused.cached(level_shares)
    shares = torch.cat((sources.expand(2, *fused.shape), fused.unsqueeze(0)))
    stretched = _stretched_levels(shares)
    placed = torch.zeros_like(shares).scatter_add_(2, stretched, shares)
    of_fused = placed[2].expand_as(placed[:2]).gather(2, stretched[:2])
    of_sources = placed[:2].gather(2, stretched[2].expand_as(stretched[:2]))
    return _divergence(batch, of_fused.unsqueeze(3), of_sources.unsqueeze(2))


def _stretched_levels(shares: Tensor) -> Tensor:
    """Return what each gray level becomes when the levels that occur are stretched to 0..255."""
    levels = torch.arange(LEVELS, dtype=shares.dtype, device=shares.device).expand_as(shares)
    occurs = shares > 0.0
    low = torch.where(occurs, levels, torch.inf).amin(dim=2, keepdim=True)
    high = torch.where(occurs, levels, -torch.inf).amax(dim=2, keepdim=True)
    stretched = (levels - low) / (high - low).clamp_min_(1.0) * 255.0 + 0.5
    return stretched.floor_().clamp_(0.0, 255.0).long()


def _divergence(batch: ScoredBatch, first: Tensor, second: Tensor) -> Tensor:
    """Sum over both sources the divergence of joint shares from the products of two shares."""
    joint, products = batch.cached(joint_shares), first * second
    terms = (joint / products).pow_(_ORDER - 1.0).mul_(joint)
    total = terms.masked_fill_(products == 0.0, 0.0).sum(dim=(2, 3))
    return ((1.0 - total) / (1.0 - _ORDER)).sum(dim=0)
