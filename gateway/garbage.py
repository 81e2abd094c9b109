"""When Python's garbage collector runs.

By default a full pass, which walks every open stream, comes with each 70,000 objects or so: opening
15,000 streams took twice the CPU for it. What the gateway itself leaves behind needs no collector;
cycles come from errors and from libraries, slowly.
"""

import gc

_THRESHOLDS = (100_000, 50, 1000)
"""New objects before a pass over them, and passes before one over the older ones."""


def tune_gc() -> None:
    """Collect seldom from now on, and never again what was made before: it stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
