"""Trials that are killed at random moments and go on: python benchmarks/resume.py

Twenty times, `unstick try --resume` is killed with SIGKILL, at a random moment after a random one of its results, and
the same command is given again. Each must end with the report of a run that was left alone, timings aside, and with one
line for each run. A case with one and two workers, and a script. Exits with 1 where one does not.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

KILLS = 20
MOMENT = 0.5  # seconds, within which it is killed
ROOT = Path(__file__).parents[1]
CASE = f"{ROOT / 'examples' / 'own_network.py'}:case"
SCRIPT = str(ROOT / "examples" / "scripts" / "same_batch.py")
REMEDIES = ("relu", "tanh", "lr(x0.1)", "layernorm")
MODES = {
    "a case, 2 workers": (CASE, *REMEDIES, "--steps", "100", "--seeds", "3", "--workers", "2"),
    "a case, 1 worker": (CASE, *REMEDIES, "--steps", "100", "--seeds", "3", "--workers", "1"),
    "a script, 2 workers": (SCRIPT, "tanh", "--steps", "20", "--seeds", "2", "--workers", "2"),
}


def main() -> int:
    draw = random.Random(0)
    wrong = 0
    print(
        f"{'what':20} {'killed after result':>20} {'kept':>5} {'half a line':>11} {'same report':>11} {'each once':>9}"
    )
    with tempfile.TemporaryDirectory(prefix="unstick-resume-") as place:
        folder = Path(place, "run")
        whole = {}
        for name, arguments in MODES.items():
            whole[name] = finished(folder, arguments), len(keys(folder))
            shutil.rmtree(folder)
        for kill in range(KILLS):
            name = list(MODES)[kill % len(MODES)]
            report, runs = whole[name]
            result, moment = draw.randrange(1, runs), draw.uniform(0.0, MOMENT)
            kept, torn = killed(folder, MODES[name], result, moment)
            same = finished(folder, MODES[name]) == report
            once = max(Counter(keys(folder)).values()) == 1
            wrong += not (same and once)
            print(
                f"{name:20} {f'{result} + {moment:.2f} s':>20} {kept:5} {yes(torn):>11} {yes(same):>11} {yes(once):>9}",
                flush=True,
            )
            shutil.rmtree(folder)
    print(f"{KILLS - wrong} of {KILLS} killed runs went on to the same report")
    return int(wrong > 0)


def command(folder: Path, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "unstick", "try", *arguments, "--resume", str(folder), "--quiet", "--json", "-"]


def killed(folder: Path, arguments: tuple[str, ...], result: int, moment: float) -> tuple[int, bool]:
    """How many whole lines it left, and whether half a line follows. moment: seconds after so many results."""
    with subprocess.Popen(command(folder, arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        file = folder / "results.jsonl"
        while not file.exists() or file.read_bytes().count(b"\n") < result:
            time.sleep(0.005)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
    text = file.read_bytes()
    return text.count(b"\n"), bool(text) and not text.endswith(b"\n")


def finished(folder: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    done = subprocess.run(command(folder, arguments), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return {key: value for key, value in json.loads(done.stdout).items() if key not in ("seconds", "command")}


def keys(folder: Path) -> list[str]:
    lines = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return [f"{line.get('remedy')} {line.get('seed')}" for line in lines]


def yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.exit(main())
