"""`run_search.py`, whose first configurations are put in order without a set of images: as if it had never been seen.

python -m benchmarks.leave_one_out SET --data DIR ...
"""

from __future__ import annotations

import sys


def main() -> int:
    # Imported here: each worker process imports this module again.
    from benchmarks.full_runs import PACKED, load
    from benchmarks.portfolio import chosen
    from run_search import main as search
    from spaces import presets

    runs, (name, *options) = load(PACKED), sys.argv[1:]
    presets.KNOWN_GOOD = tuple(chosen(runs, without=name))
    return search(options)


if __name__ == "__main__":
    sys.exit(main())
