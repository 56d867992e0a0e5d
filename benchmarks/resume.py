"""Trials that are killed at random moments and go on: python benchmarks/resume.py

Twenty times, `unstick try --resume` is killed with SIGKILL, at some moment between its first result and its end, and
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
ROOT = Path(__file__).parents[1]
CASE = f"{ROOT / 'examples' / 'own_network.py'}:case"
SCRIPT = str(ROOT / "examples" / "scripts" / "same_batch.py")
REMEDIES = ("relu", "tanh", "lr(x0.1)", "layernorm")
MODES = {
    "a case, 2 workers": (CASE, *REMEDIES, "--steps", "200", "--seeds", "3", "--workers", "2"),
    "a case, 1 worker": (CASE, *REMEDIES, "--steps", "200", "--seeds", "3", "--workers", "1"),
    "a script, 2 workers": (SCRIPT, "tanh", "--steps", "20", "--seeds", "2", "--workers", "2"),
}


def main() -> int:
    draw = random.Random(0)
    wrong = 0
    print(f"{'what':20} {'killed after':>12} {'kept':>5} {'half a line':>11} {'same report':>11} {'each once':>9}")
    with tempfile.TemporaryDirectory(prefix="unstick-resume-") as place:
        whole = {name: alone(Path(place), arguments) for name, arguments in MODES.items()}
        for kill in range(KILLS):
            name = list(MODES)[kill % len(MODES)]
            report, seconds = whole[name]
            folder = Path(place, "run")
            moment = draw.uniform(0.0, seconds)
            kept, torn = killed(folder, MODES[name], moment)
            same = finished(folder, MODES[name]) == report
            once = max(Counter(keys(folder)).values()) == 1
            wrong += not (same and once)
            print(f"{name:20} {moment:10.1f} s {kept:5} {yes(torn):>11} {yes(same):>11} {yes(once):>9}", flush=True)
            shutil.rmtree(folder)
    print(f"{KILLS - wrong} of {KILLS} killed runs went on to the same report")
    return int(wrong > 0)


def alone(place: Path, arguments: tuple[str, ...]) -> tuple[dict[str, Any], float]:
    """The report, and the seconds from when it began to work to its last result."""
    folder = place / "alone"
    report = finished(folder, arguments)
    seconds = (folder / "results.jsonl").stat().st_mtime - (folder / "run.json").stat().st_mtime
    shutil.rmtree(folder)
    return report, seconds


def command(folder: Path, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "unstick", "try", *arguments, "--resume", str(folder), "--quiet", "--json", "-"]


def killed(folder: Path, arguments: tuple[str, ...], moment: float) -> tuple[int, bool]:
    """How many whole lines it left, and whether half a line follows."""
    with subprocess.Popen(command(folder, arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        file = folder / "results.jsonl"
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.01)
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
