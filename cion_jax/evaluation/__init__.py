"""Retrieval measured: Market-1501 ranking, k-reciprocal re-ranking, feature extraction, pictures."""

from cion_jax.evaluation.ranking import rank, rank_distances
from cion_jax.evaluation.reranking import rerank

__all__ = ["rank", "rank_distances", "rerank"]
