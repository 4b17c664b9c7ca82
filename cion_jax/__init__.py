"""Person re-identification pre-training in JAX/Flax: correlate, pre-train, use (CION, NeurIPS 2024)."""

__version__ = "0.1.0"
