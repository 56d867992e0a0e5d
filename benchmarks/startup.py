"""How long `unstick --help` takes, and that it does not import torch: python benchmarks/startup.py

The median of eleven processes. Exits with 1 above 0.3 s, or where torch was imported.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

LIMIT = 0.3  # seconds


def main() -> int:
    command = [sys.executable, "-m", "unstick", "--help"]
    seconds = []
    for _ in range(11):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    probe = "import sys, unstick.cli; unstick.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    imports_torch = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode != 0
    print(f"unstick --help: {median(seconds):.3f} s (limit {LIMIT}); imports torch: {'yes' if imports_torch else 'no'}")
    return int(median(seconds) > LIMIT or imports_torch)


if __name__ == "__main__":
    sys.exit(main())
