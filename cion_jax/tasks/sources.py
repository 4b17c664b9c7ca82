"""The data of a run: what the configuration names, prepared if need be, or synthetic people."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from cion_jax.core.errors import UserError
from cion_jax.data import cache, records
from cion_jax.data.synthetic import SyntheticSpec


class EvaluationData(NamedTuple):
    """Query and gallery of a retrieval evaluation, and a name for headings."""

    query: records.RecordSet
    gallery: records.RecordSet
    name: str


def open_data(
    config: ConfigDict, say: Callable[[str], None]
) -> tuple[records.RecordSet, EvaluationData | None]:
    """Training records, and query and gallery if there are any.

    Raises:
      UserError: a path that is missing or holds nothing usable.
    """
    train = prepared(config, config.data.train, say)
    evaluation = prepared(config, config.data.eval, say) if config.data.eval else train
    if "train" not in records.splits(train):
        raise UserError(f"{config.data.train or train} has no training images; it has {_listed(train)}")
    return records.open_split(train, "train", config.data.threads), _evaluation(config, evaluation, say)


def prepared(config: ConfigDict, source: str, say: Callable[[str], None]) -> Path:
    """The folder of records of a source; an empty one means synthetic people."""
    folder = Path(config.data.cache_dir) if config.data.cache_dir else cache.default_cache_dir()
    if source:
        return cache.resolve(source, folder, on_bad_image=config.data.on_bad_image)
    height = config.synthetic.height or config.crops.global_size[0]
    width = config.synthetic.width or config.crops.global_size[1]
    say(
        f"no --config.data.train given: training on {config.synthetic.identities} synthetic people, drawn here "
        f"({height}x{width}, seed {config.synthetic.seed})"
    )
    spec = SyntheticSpec(
        seed=config.synthetic.seed,
        identities=config.synthetic.identities,
        eval_identities=config.synthetic.eval_identities,
        height=height,
        width=width,
    )
    return cache.resolve(spec, folder)


def _evaluation(config: ConfigDict, folder: Path, say: Callable[[str], None]) -> EvaluationData | None:
    if {"query", "gallery"} <= records.splits(folder).keys():
        name = config.data.eval or config.data.train or "synthetic people, held out"
        query, gallery = (
            records.open_split(folder, part, config.data.threads) for part in ("query", "gallery")
        )
        return EvaluationData(query, gallery, name)
    if config.data.eval:
        raise UserError(
            f"data.eval={config.data.eval} has no query and gallery images; it has {_listed(folder)}"
        )
    say("the data has no query and gallery images: no retrieval evaluation (--config.data.eval names some)")
    return None


def _listed(folder: Path) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in records.splits(folder).items()) or "none"
