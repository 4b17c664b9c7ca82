"""Two runs on one target: the second begins while the first is in the middle of its work."""

from collections.abc import Callable
from typing import Any

import pytest

from cion_jax.core.errors import UserError


def try_during(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, second: Callable[[], Any]
) -> list[str]:
    """Calls `second` when the first run calls `owner`.`name`; gives the message that it was refused with."""
    original, begun, refusals = getattr(owner, name), [], []

    def during(*arguments, **options):
        if not begun:
            begun.append(True)
            with pytest.raises(UserError) as caught:
                second()
            refusals.append(str(caught.value))
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, during)
    return refusals
