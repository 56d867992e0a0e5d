"""How long a report takes to become a page, and how large it is: python benchmarks/pages.py

Documents as tests make them, of networks and of sets of trials of several sizes. The median of twenty pages; the first
of all, which loads the templates and the libraries, is told apart. Exits with 1 above 0.5 s or 1.5 MB.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

from unstick.report.page import page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from report.measured import diagnosed, told, tried

SECONDS, MEGABYTES = 0.5, 1.5
PAGES = 20

DOCUMENTS = {
    "10 operations": diagnosed(10),
    "100 operations": diagnosed(100),
    "300 operations": diagnosed(300),
    "1,000 operations": diagnosed(1000),
    "60 trials of 8 seeds": tried(60),
    "300 operations and 60 trials of 8 seeds": told(300, 60),
}


def main() -> int:
    started = time.perf_counter()
    page(next(iter(DOCUMENTS.values())))
    print(f"the first page: {time.perf_counter() - started:.3f} s")
    large = 0
    for name, document in DOCUMENTS.items():
        seconds = []
        for _ in range(PAGES):
            started = time.perf_counter()
            size = len(page(document).encode()) / 1e6
            seconds.append(time.perf_counter() - started)
        large += median(seconds) > SECONDS or size > MEGABYTES
        print(f"{name:40} {median(seconds):.3f} s  {size:.2f} MB")
    return int(large > 0)


if __name__ == "__main__":
    sys.exit(main())
