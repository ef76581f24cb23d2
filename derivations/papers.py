"""Titles of the papers that claims cite, by arXiv number."""

from __future__ import annotations

from gdn_core.rules import Source

TITLES: dict[str, str] = {
    "2006.16236": "Transformers are RNNs",
    "2102.11174": "Linear Transformers Are Secretly Fast Weight Programmers",
    "2111.00396": "Efficiently Modeling Long Sequences with Structured State Spaces",
    "2312.00752": "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
    "2405.21060": "Transformers are SSMs",
    "2406.06484": "Parallelizing Linear Transformers with the Delta Rule over Sequence Length",
    "2407.14207": "Longhorn: State Space Models are Amortized Online Learners",
    "2411.12537": "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues",
    "2412.06464": "Gated Delta Networks: Improving Mamba2 with Delta Rule",
    "2502.10297": "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
    "2506.05233": "MesaNet: Sequence Modeling by Locally Optimal Test-Time Training",
    "2505.18187": "Discretization of Linear Systems using the Matrix Exponential",
    "2510.26692": "Kimi Linear: An Expressive, Efficient Attention Architecture",
    "2512.12602": "Exact Flow Linear Attention",
    "2603.15569": "Mamba-3: Improved Sequence Modeling using State Space Principles",
    "2605.22791": "Gated DeltaNet-2",
}


def cite(paper: str, place: str) -> Source:
    """Cite a place in a paper.

    Args:
        paper: its arXiv number.
        place: the equation, section or table in it.
    """
    return Source(paper, place, TITLES[paper])


def ours(place: str) -> Source:
    """Say that a statement is derived in this project.

    Args:
        place: what it rests on.
    """
    return Source("derived in this project", place)
