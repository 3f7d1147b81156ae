"""Thread counts, set before any numeric library is imported.

Spinning OpenMP threads made LightGBM ten times slower on two shared cores, and GNU OpenMP hangs in a
child made by fork after a parallel region; so waiting is passive and processes start by spawn.
"""

import os
import sys

_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
_NUMERIC = ("numpy", "torch", "faiss", "lightgbm", "polars")


def configure_threads(count: int) -> None:
    """Set `count` threads an operation and passive waiting: 1 for serving, the cores for jobs.

    Values the user has set in the environment stay. Raises RuntimeError when a numeric library was
    imported before, since it has read the environment already.
    """
    if early := [name for name in _NUMERIC if name in sys.modules]:
        raise RuntimeError(f"configure_threads must run before {', '.join(early)} is imported")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in _COUNTS:
        os.environ.setdefault(name, str(count))
