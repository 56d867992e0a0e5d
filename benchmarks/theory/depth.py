"""The depth that trains, predicted against found: under plain SGD, along two lines of weight scales.

    python benchmarks/theory/depth.py

Trains (about five minutes on one core; started again, it goes on with what is missing in depth.json beside it), prints
the depth at which half of the digits are still learned beside 6 xi_c, and draws docs/depth.png.
Schoenholz et al. 2017 (arXiv:1611.01232) is where the 6 is from: nothing here is fitted.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import torch
from training import Family, Point, train

from unstick.theory import mean_field, trainability

FILE = Path(__file__).with_name("depth.json")
PICTURE = Path(__file__).parents[2] / "docs/depth.png"
RATES = (0.01, 0.03, 0.1)  # of each network the best one counts
SEEDS = (0, 1)
SCALES = 6.0
Found = dict[str, float]
"""Accuracy by line, sigma_w^2, depth, learning rate, seed."""


@dataclass(frozen=True)
class Line:
    """Networks with one activation and one bias variance."""

    family: Family
    bias_variance: float
    weight_variances: tuple[float, ...]
    depths: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.family.name

    def predicted(self, weight_variance: float) -> float:
        return SCALES * mean_field(self.name, weight_variance, self.bias_variance).xi_c

    def change(self, weight_variance: float, depth: float) -> float:
        """Decades that the gradient changes by in so many layers, by the variances that these layers really have."""
        plain = trainability.Family(self.name, self.name)
        return trainability.decades(plain, weight_variance**0.5, self.bias_variance**0.5, round(depth))[-1]


LINES = (
    Line(Family("tanh", torch.tanh), 0.05, (1.0, 1.2, 1.4, 2.5, 3.0, 4.0), (12, 16, 22, 30, 40, 52, 66, 84, 104)),
    Line(
        Family("silu", torch.nn.functional.silu),
        0.1,
        (1.0, 1.4, 1.8, 2.0, 2.2, 2.5),
        (2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48),
    ),
)


def key(line: Line, weight_variance: float, depth: int, rate: float, seed: int) -> str:
    return f"{line.name} {weight_variance:g} {depth} {rate:g} {seed}"


def measure(found: Found) -> None:
    """Adds what is missing, and saves after each batch of networks."""
    for seed, line in product(SEEDS, LINES):
        for depth, rate in product(line.depths, RATES):
            keys = [key(line, w, depth, rate, seed) for w in line.weight_variances]
            if all(k in found for k in keys):
                continue
            points = [
                Point(line.name, math.sqrt(w), math.sqrt(line.bias_variance), depth, seed)
                for w in line.weight_variances
            ]
            outcomes = train(line.family, points, functools.partial(torch.optim.SGD, lr=rate))
            found |= {k: round(outcome.accuracy, 3) for k, outcome in zip(keys, outcomes, strict=True)}
            FILE.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
            print(keys[0], [found[k] for k in keys], flush=True)


def accuracies(found: Found, line: Line, weight_variance: float, seed: int) -> list[float]:
    """Of each depth, with the best learning rate."""
    return [max(found[key(line, weight_variance, d, rate, seed)] for rate in RATES) for d in line.depths]


def reached(depths: Sequence[int], values: Sequence[float], half: float = 0.5) -> float:
    """The greatest depth at which the accuracy is one half, on a straight line in log depth between two depths.

    Infinite where the deepest network still learns, and the first depth where even that does not.
    """
    if values[-1] >= half:
        return math.inf
    for (d, a), (e, b) in reversed(list(pairwise(zip(depths, values, strict=True)))):
        if a >= half > b:
            return d * (e / d) ** ((a - half) / (a - b))
    return depths[0]


def table(found: Found) -> str:
    rows = ["line      sigma_w^2   6 xi_c   depth found (seeds)     found / predicted   decades there"]
    for line in LINES:
        for w in line.weight_variances:
            depths = [reached(line.depths, accuracies(found, line, w, seed)) for seed in SEEDS]
            predicted, middle = line.predicted(w), statistics.fmean(depths)
            seeds = ", ".join(f"{d:.1f}" for d in depths)
            rows.append(f"{line.name:8} {w:8g} {predicted:10.1f} {middle:8.1f} ({seeds}) {middle / predicted:15.2f} "
                        f"{line.change(w, middle):15.1f}")  # fmt: skip
    return "\n".join(rows)


def draw(found: Found) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    figure.suptitle("The depth that plain SGD trains in 300 steps: predicted and found", size=17)
    for axes, line in zip(figure.subplots(1, len(LINES)), LINES, strict=True):
        panel(axes, line, found)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=12)
    figure.savefig(PICTURE, dpi=100)


def panel(axes, line: Line, found: Found) -> None:  # type: ignore[no-untyped-def]
    low, high = line.weight_variances[0], line.weight_variances[-1]
    across = [low + (high - low) * i / 120 for i in range(-6, 127)]
    axes.plot(across, [line.predicted(w) for w in across], color="black", label=r"predicted: 6 $\xi_c$")
    for w in line.weight_variances:
        by_seed = [accuracies(found, line, w, seed) for seed in SEEDS]
        mean = [statistics.fmean(values) for values in zip(*by_seed, strict=True)]
        shade = axes.scatter([w] * len(mean), line.depths, c=mean, s=70, marker="s", vmin=0, vmax=1, cmap="cividis")
        depths = [reached(line.depths, values) for values in by_seed]
        axes.plot([w] * len(depths), depths, "D-", color="#d55e00", markersize=9, markeredgecolor="white",
                  label="found: half are right, each seed" if w == low else None)  # fmt: skip
    axes.set_yscale("log", base=2)
    axes.tick_params(labelsize=12)
    axes.set_yticks(line.depths, [str(d) for d in line.depths])
    axes.set_ylim(line.depths[0] / 1.2, line.depths[-1] * 1.2)
    axes.minorticks_off()
    axes.set_title(rf"{'SiLU' if line.name == 'silu' else line.name}, $\sigma_b^2$ = {line.bias_variance:g}", size=14)
    axes.set_xlabel(r"weight variance $\sigma_w^2$", size=13)
    axes.set_ylabel("hidden layers", size=13)
    axes.figure.colorbar(shade, ax=axes, label="share of digits right (squares)")


def main() -> int:
    torch.set_num_threads(1)
    found: Found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    measure(found)
    print(table(found))
    draw(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
