"""Which networks really train: the points of the trainability map.

    python benchmarks/theory/points.py [FILE]

About ten minutes on one core. Writes FILE (src/unstick/theory/trained.json) after every batch of networks; started
again, it goes on with what is missing. Four families over weight scale x depth with Kaylee's standard normal biases,
and three of them over weight scale x bias scale at one depth (batch normalisation takes biases away again).
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import sklearn
import torch
from training import FAMILIES, Family, Outcome, Point, train

ROOT = Path(__file__).parents[2]
FILE = ROOT / "src/unstick/theory/trained.json"

SIGMAS = tuple(round(2 ** (k / 2), 4) for k in range(-2, 13))  # 0.5 ... 64
DEPTHS = (2, 3, 5, 7, 10, 14, 20, 28, 40, 56)
BIASES = tuple(2.0**k for k in range(-4, 3))  # 1/16 ... 4
PLANE_DEPTH = 20
SEEDS = (0, 1)
STEPS, WIDTH, RATE = 300, 64, 1e-3

COLUMNS = ("family", "sigma_w", "sigma_b", "depth", "seed", "loss", "accuracy", "learns")


def batches() -> Iterator[tuple[Family, list[Point]]]:
    """What is trained side by side: all weight scales of one family, depth, bias scale and seed."""
    rows = [(family, 1.0, depth) for family, depth in product(FAMILIES, DEPTHS)]
    plane = [(f, b, PLANE_DEPTH) for f, b in product(FAMILIES, BIASES) if not f.normalised and b != 1.0]
    for seed, (family, sigma_b, depth) in product(SEEDS, rows + plane):
        yield family, [Point(family.name, sigma_w, sigma_b, depth, seed) for sigma_w in SIGMAS]


def adam(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=RATE)


def row(point: Point, outcome: Outcome) -> list[Any]:
    """A loss that overflowed is null: JSON has no infinity."""
    loss = float(f"{outcome.loss:.4g}") if outcome.loss != float("inf") else None
    place = [point.family, point.sigma_w, point.sigma_b, point.depth, point.seed]
    return [*place, loss, round(outcome.accuracy, 3), outcome.learns]


def document(points: list[list[Any]], constant: float) -> dict[str, Any]:
    return {
        "schema": "unstick/trained/1",
        "made": {
            "command": "python benchmarks/theory/points.py",
            "date": datetime.date.today().isoformat(),
            "versions": {"torch": torch.__version__, "scikit-learn": sklearn.__version__},
        },
        "settings": {
            "data": "scikit-learn's digits, each pixel standardised",
            "hidden layers": f"{WIDTH} units, weights N(0, sigma_w^2 / inputs), biases N(0, sigma_b^2)",
            "output layer": "weights N(0, 1 / inputs), no bias at the start",
            "training": f"Adam, learning rate {RATE}, {STEPS} steps, batches of 64",
            "learns": "cross-entropy below the best constant output's on 16 batches drawn apart from the training's, "
            "by 1 % or more and with 99 % confidence, as in unstick.observe",
            "constant_loss": round(constant, 4),
        },
        "columns": COLUMNS,
        "points": points,
    }


def save(file: Path, contents: dict[str, Any]) -> None:
    """One point a line, so that a change of the file can be read."""
    head = {key: value for key, value in contents.items() if key != "points"}
    lines = ",\n  ".join(json.dumps(point) for point in contents["points"])
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    file.write_text(f'{text},\n "points": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def main() -> int:
    torch.set_num_threads(1)
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    points: list[list[Any]] = json.loads(file.read_text(encoding="utf-8"))["points"] if file.exists() else []
    done = {tuple(point[:5]) for point in points}
    for family, wanted in batches():
        if all(tuple(row(p, Outcome(0, 0, 0, False))[:5]) in done for p in wanted):
            continue
        outcomes = train(family, wanted, adam, STEPS, WIDTH)
        points += [row(p, outcome) for p, outcome in zip(wanted, outcomes, strict=True)]
        save(file, document(points, outcomes[0].constant))
        learned = sum(outcome.learns for outcome in outcomes)
        print(f"{wanted[0].family}, sigma_b {wanted[0].sigma_b}, depth {wanted[0].depth}, seed {wanted[0].seed}: "
              f"{learned} of {len(wanted)} learn", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
