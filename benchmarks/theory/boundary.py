"""How often the map is right: the share of really trained networks that theory puts on the right side.

    python benchmarks/theory/boundary.py

Theory knows how many decades the gradient loses or gains on its way through a network. How many of them the training
bridges are two numbers, the same for all families, chosen on the networks of seed 0 with every second depth (2, 5, 10,
20, 40) and standard normal biases. Counted are the depths between and the other bias scales, with both seeds.
The column "at the boundary" counts those alone that have a neighbour, one weight scale away, that turned out otherwise.
"""

from __future__ import annotations

import functools
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from unstick.theory.trainability import FAMILIES, GROWN, LOST, decades, trains
from unstick.theory.trained import Trained, trained

CHOOSING_DEPTHS = (2, 5, 10, 20, 40)
CANDIDATES = [k / 4 for k in range(1, 61)]  # decades: 0.25 ... 15

_FAMILIES = {family.name: family for family in FAMILIES}


def for_choosing(point: Trained) -> bool:
    return point.seed == 0 and point.sigma_b == 1.0 and point.depth in CHOOSING_DEPTHS


def for_counting(point: Trained) -> bool:
    """Not chosen on, nor with another seed what was chosen on: those two are nearly one."""
    return not for_choosing(point) and not (point.sigma_b == 1.0 and point.depth in CHOOSING_DEPTHS)


@functools.cache
def change(family: str, sigma_w: float, sigma_b: float, depth: int) -> float:
    return decades(_FAMILIES[family], sigma_w, sigma_b, depth)[-1]


def share(points: Iterable[Trained], lost: float = LOST, grown: float = GROWN) -> float:
    """Of the points on the right side."""
    return statistics.fmean(trains(_change(p), lost, grown) == p.learns for p in points)


def _change(point: Trained) -> float:
    return change(point.family, point.sigma_w, point.sigma_b, point.depth)


def choose(points: Sequence[Trained]) -> list[tuple[float, float]]:
    """All pairs of limits, lost and gained, that put as many of the points on the right side as any pair does."""
    found = {pair: round(share(points, *pair), 9) for pair in product(CANDIDATES, CANDIDATES[:24])}
    return [pair for pair, right in found.items() if right == max(found.values())]


def near(points: Sequence[Trained]) -> list[Trained]:
    """Those with a neighbour, one weight scale away, that turned out otherwise: where the boundary really is."""
    rows: dict[tuple[object, ...], list[Trained]] = {}
    for p in points:
        rows.setdefault((p.family, p.sigma_b, p.depth, p.seed), []).append(p)
    found = []
    for row in rows.values():
        row.sort(key=lambda p: p.sigma_w)
        for i, p in enumerate(row):
            if any(q.learns != p.learns for q in row[max(i - 1, 0) : i + 2]):
                found.append(p)
    return found


def misses(points: Iterable[Trained]) -> dict[str, int]:
    """What went otherwise than predicted, by kind."""
    kinds: dict[str, Callable[[Trained], bool]] = {
        "learns although too much should be lost": lambda p: p.learns and _change(p) < -LOST,
        "learns although too much should be gained": lambda p: p.learns and _change(p) > GROWN,
        "does not learn although it should": lambda p: not p.learns and trains(_change(p)),
    }
    listed = list(points)
    return {kind: sum(map(holds, listed)) for kind, holds in kinds.items()}


def line(name: str, points: Sequence[Trained]) -> str:
    edge = near(points)
    at_edge = f"{share(edge):6.1%} of {len(edge):3}" if edge else "     none   "
    constant = max(statistics.fmean(p.learns for p in points), statistics.fmean(not p.learns for p in points))
    kinds = ", ".join(f"{count} {kind}" for kind, count in misses(points).items() if count)
    return f"{name:20} {share(points):6.1%} of {len(points):4}   {at_edge}   {constant:6.1%}   {kinds}"


def main() -> int:
    points = trained().points
    choosing = [p for p in points if for_choosing(p)]
    counted = [p for p in points if for_counting(p)]
    best = choose(choosing)
    lost, grown = zip(*best, strict=True)
    print(f"{len(best)} pairs of limits are equally good on the {len(choosing)} networks to choose on: "
          f"{min(lost)} to {max(lost)} decades lost with {min(grown)} to {max(grown)} gained.\nThe package has {LOST} "
          f"and {GROWN}, which {'is' if (LOST, GROWN) in best else 'is NOT'} one of them.\n")  # fmt: skip
    print(f"{'counted':20} {'right':14}   {'at the boundary':13}   one answer for all   misses")
    for family in FAMILIES:
        mine = [p for p in counted if p.family == family.name]
        print(line(family.name, [p for p in mine if p.sigma_b == 1.0]))
        if any(p.sigma_b != 1.0 for p in mine):
            print(line("  other biases", [p for p in mine if p.sigma_b != 1.0]))
    print(line("all", counted))
    print(line("all, not normalised", [p for p in counted if not _FAMILIES[p.family].normalised]))
    if "--list" in sys.argv:
        for p in counted:
            if trains(_change(p)) != p.learns:
                print(f"{p.family} sigma_w {p.sigma_w} sigma_b {p.sigma_b} depth {p.depth} seed {p.seed}: "
                      f"{_change(p):+.1f} decades, loss {p.loss}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
