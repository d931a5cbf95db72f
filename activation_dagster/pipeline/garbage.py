"""How seldom Python looks for cycles of objects while rows come by the hundred thousand."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

OBJECTS_A_COLLECTION = 200_000
"""How many more objects there must be before the garbage collector looks at them."""


@contextmanager
def seldom_collected() -> Generator[None]:
    """Let the garbage collector run after many new objects, not after some hundred.

    None of many rows is part of a cycle: looking for cycles took a tenth of a batch's time, and a quarter of a plan's.
    """
    usual = gc.get_threshold()
    gc.set_threshold(OBJECTS_A_COLLECTION, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
