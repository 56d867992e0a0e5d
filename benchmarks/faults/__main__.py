from __future__ import annotations

import argparse
from pathlib import Path

from . import run
from .catalogue import CASES, chosen
from .page import fault_table, healthy_table, page
from .score import survives

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=run.__doc__)
    parser.add_argument("--only", nargs="*", default=(), metavar="WORD", help="cases whose id or family contains it")
    parser.add_argument("--half", choices=("tune", "held"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--steps", type=int, help="of each run; the tool's own number unless given")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for the trials of one case")
    parser.add_argument("--no-try", action="store_true", help="diagnoses only")
    parser.add_argument("--fresh", action="store_true", help="compute everything again")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} from what is there, and stop")
    args = parser.parse_args()
    if args.page:
        PAGE.write_text(page(run.read()))
        return
    cases = [c for c in chosen(tuple(args.only)) if args.half in (None, c.half)]
    options = run.Options(args.seeds, args.steps, args.budget, not args.no_try, args.fresh)
    results = run.study_all(cases, options, args.jobs)
    pairs = [(c, results[c.id]) for c in CASES if c.id in results]
    print(fault_table([(c, r) for c, r in pairs if survives(c, r)]), healthy_table(pairs), sep="\n\n")


if __name__ == "__main__":
    main()
