"""Retrieval and labels measured: ranking, re-ranking, label quality, feature extraction, pictures, the report."""

from cion_jax.evaluation.label_quality import label_quality, removal_quality
from cion_jax.evaluation.ranking import rank, rank_distances
from cion_jax.evaluation.reranking import rerank

__all__ = ["label_quality", "rank", "rank_distances", "removal_quality", "rerank"]
