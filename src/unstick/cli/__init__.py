"""The command line: arguments, one library call, an exit status.

torch is imported inside the commands, so that `--help` and wrong calls answer at once.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .. import __version__
from .guard import BROKEN, FOUND, INTERRUPTED, OK, WRONG, command, run
from .output import Given, Output

if TYPE_CHECKING:
    from ..script.spec import Script

__all__ = ["BROKEN", "FOUND", "INTERRUPTED", "OK", "WRONG", "cli", "main"]


FILES = ("json", "html", "png", "svg")


class _InOrder(click.Group):
    """Lists its commands in the order in which a newcomer needs them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, invoke_without_command=True)
@click.version_option(__version__, prog_name="unstick")
@click.pass_context
def cli(context: click.Context) -> None:
    """Why is your PyTorch network not learning, and what gets it unstuck? Answered by measurement.

    \b
    unstick demo                          the whole story on a network that is stuck
    unstick diagnose train.py             what is wrong with yours
    unstick try train.py                  what helps it
    unstick theory tanh --init xavier     what to expect of such a network
    unstick COMMAND --help                more about one command

    A TARGET is a training script, file.py, with its own arguments after --; or file.py:name or package.module:name,
    where the name belongs to an unstick.Case, or to a function without arguments that returns one.

    \b
    Exit status: 0 nothing wrong; 1 diagnose found an error; 2 the call or its
    input is wrong; 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status. Of those that run a script, what follows -- is the script's."""
    given = sys.argv[1:] if arguments is None else arguments
    takes = given[:1] in ([diagnose.name], [try_.name])
    end = given.index("--") if takes and "--" in given else len(given)
    return run(cli, Given(tuple(given[:end]), tuple(given[end + 1 :])))


@command(
    cli, "ask", *FILES, "steps", "seeds", "seed", "budget", "workers", "device", "resume", html_file="unstick-demo.html"
)
def demo(output: Output, ask: bool, **options: Any) -> int:
    """Tell the whole story on a network that does not learn.

    The network is deep and made of sigmoids. Finds what is wrong with it, tries four proposals beside the unchanged
    network, and says which of them hold: about a minute in all. Also writes an HTML report: unstick-demo.html, unless
    --html says otherwise.

    \b
    unstick demo
    unstick demo --ask                    guess first, then measure
    unstick demo --json - | jq .answer.answer
    """
    from ..demo import demo as tell
    from ..questions import load
    from .ask import ask as ask_reader

    asked = ask_reader(load("kaylee"), output) if ask else None
    with output.working(options) as working:
        report = tell(asked=asked, **working)
    return output.show(report)


@command(cli, "module", "keep-going", *FILES, "steps", "seed", "budget", "device")
@click.argument("target")
def diagnose(output: Output, target: str, module: bool, keep_going: bool, **options: Any) -> int:
    """Say what keeps TARGET from learning, where, and why.

    TARGET is a training script, which is run as it stands, with the ARGS after -- as its own; it is ended when enough
    was seen of its training. Or it is file.py:name or package.module:name, which names an unstick.Case or a function
    that returns one; then a copy is trained for a short while. The exit status is 1 where something keeps the network
    from learning; a script that fails by itself keeps its own.

    \b
    unstick diagnose train.py
    unstick diagnose train.py --keep-going -- --epochs 3
    unstick diagnose -m package.train
    unstick diagnose model.py:case --json report.json --html report.html
    """
    script = _script(output, target, module)
    with output.working(options, bars=script is None) as working:
        from ..diagnose import diagnose as look
        from ..script.spec import leads
        from ..target import load

        if script is None and keep_going:
            raise click.UsageError("--keep-going is for scripts", click.get_current_context())
        report = look(script or load(target), keep_going=keep_going, **working)
    own = report.outcome.status if report.outcome else OK
    if not leads():
        return own
    return output.show(report) or own or (OK if report.healthy else FOUND)


def _script(output: Output, target: str, module: bool) -> Script | None:
    """The script that is meant, if one is; the person at the terminal is told that it runs."""
    from ..script.spec import leads
    from ..target import script

    found = script(target, Given.now().rest, module)
    if found is not None:
        found.check()
    if found is not None and not output.quiet and leads():
        output.note(f"unstick: running {found.title}; what follows is its own output")
    return found


@command(
    cli,
    "module",
    "write",
    *FILES,
    "steps",
    "seeds",
    "seed",
    "budget",
    "workers",
    "device",
    "resume",
    "engine",
    "gpus",
    name="try",
)
@click.argument("target")
@click.argument("remedies", nargs=-1, metavar="[REMEDY]... [-- ARGS...]")
def try_(output: Output, target: str, remedies: tuple[str, ...], module: bool, **options: Any) -> int:
    """Train TARGET with and without each REMEDY, and compare.

    Both start from the same seeds and see the same batches. Without a REMEDY, those that the findings suggest are
    tried. `unstick remedies` lists them; several joined by + are one change. TARGET is as for `unstick diagnose`. A
    script is run as it stands, each time in a process of its own, where what it writes goes to a place of its own.

    \b
    The verdict on a remedy:
      fixes it        the network learns, did not before, and the cause is gone
      helps           the loss falls, and the network learns
      no effect       the loss stays, or falls in a network that still does not learn
      harms           the loss rises, or the training diverges
      inconclusive    these runs cannot tell
      not applicable  the remedy does not fit the network

    \b
    unstick try train.py
    unstick try train.py relu "relu+init(he)" batchnorm -- --epochs 3
    unstick try train.py --write better.patch
    unstick try train.py --resume runs/first     # killed? the same again goes on
    unstick try model.py:case --engine ray       # on the cores of a cluster
    unstick try model.py:case "adam(eps=1e-16)" --seeds 5 --budget 120
    """
    with output.working(options) as working:
        from ..target import load, script
        from ..trials import try_remedies

        found = script(target, Given.now().rest, module)
        if output.patch_file is not None and found is None:
            raise click.UsageError("--write is for scripts", click.get_current_context())
        report = try_remedies(found or load(target), remedies or None, **working)
        if output.patch_file is not None and found is not None and report.best is not None:
            from ..script.patched import patched

            made = patched(found, report, budget=options["budget"], workers=options["workers"])
            report = replace(report, patch=output.patch(made))
    return output.show(report)


@command(
    cli, "target", "ask", *FILES, "steps", "seeds", "seed", "budget", "workers", "device", "resume", "engine", "gpus"
)
@click.argument("question", default="kaylee")
def check(output: Output, question: str, target: str | None, ask: bool, **options: Any) -> int:
    """Say which statements of QUESTION hold, by measurement.

    QUESTION is a TOML file, or kaylee (the default), which comes with the package. Each statement names a change, and
    may give a reason for it. It holds where the change helps and the reason is true as measured; the last line names
    those that hold.

    \b
    unstick check
    unstick check kaylee --ask            answer first, then measure
    unstick check mine.toml --target model.py:case
    unstick check --resume runs/kaylee    # killed? the same again goes on
    """
    from .ask import ask as ask_reader

    with output.working(options) as working:
        from ..questions import check as judge
        from ..questions import load as load_question
        from ..target import load

        loaded = load_question(question)
        case = load(target) if target else None
        asked = ask_reader(loaded, output) if ask else None
        report = replace(judge(loaded, case, **working), asked=asked)
    return output.show(report)


@command(cli, "json", "html")
@click.argument("before")
@click.argument("after")
def compare(output: Output, before: str, after: str) -> int:
    """Show two reports side by side: what changed from BEFORE to AFTER.

    Both are JSON files that diagnose, try, check or demo wrote with --json, and of one kind; one of them may be -,
    which is standard input. Better and worse name a direction; whether it is chance is not tested. Where target, steps
    or seed differ, losses are neither.

    \b
    unstick diagnose train.py --json before.json
    unstick diagnose train.py --json after.json       # once it was changed
    unstick compare before.json after.json
    unstick compare before.json after.json --html comparison.html
    unstick diagnose train.py --json - | unstick compare before.json -
    """
    from ..compare import compare as side_by_side
    from ..report.read import STANDARD_INPUT, read, title

    if before == after == STANDARD_INPUT:
        raise click.UsageError("only one of the two can be standard input", click.get_current_context())
    return output.show(side_by_side(read(before), read(after), names=(title(before), title(after))))


@command(cli, "init", "std", "depth", "width", "norm", "side", "batch", "map", "json")
@click.argument("activation", required=False)
def theory(output: Output, activation: str | None, map_file: str | None, **options: Any) -> int:
    """Say what mean-field theory predicts for a network of equal layers.

    ACTIVATION is a name such as sigmoid, tanh, relu or gelu. The answer is about wide networks with random weights,
    before training: what the gradient loses in each layer, and how many layers a signal survives. With --map, draws
    which networks should train, and which did: four families over weight scale, depth and bias scale.

    \b
    unstick theory sigmoid
    unstick theory tanh --init he --depth 40 --width 64
    unstick theory sigmoid --depth 40 --norm batchnorm --batch 64
    unstick theory relu --init normal --std 0.1 --width 256 --json -
    unstick theory --map map.png
    """
    if map_file is not None:
        return _draw_map(output, map_file)
    if activation is None:
        raise click.UsageError("name an ACTIVATION, or give --map FILE", click.get_current_context())
    from ..theory.summary import summary

    if options["batch"] and options["norm"] != "batchnorm":
        raise click.UsageError("--batch goes with --norm batchnorm", click.get_current_context())
    return output.show_document(summary(activation, **options))


def _draw_map(output: Output, name: str) -> int:
    context = click.get_current_context()
    given = [key for key in context.params if context.get_parameter_source(key) is ParameterSource.COMMANDLINE]
    if unused := sorted(set(given) - {"map_file", "quiet", "no_color", "debug"}):
        words = "ACTIVATION" if "activation" in unused else "--" + unused[0].removesuffix("_file")
        raise click.UsageError(f"--map draws four families of its own; leave out {words}", context)
    from ..report.map import check, draw
    from ..theory.trainability import trainability_map

    check("--map", name)
    draw("--map", name, trainability_map())
    if not output.quiet:
        output.note(f"written: {name}")
    return OK


@command(cli, "json")
def rules(output: Output) -> int:
    """List the rules: what `diagnose` looks for.

    \b
    unstick rules
    unstick rules --json - | jq -r '.rules[].id'
    """
    from ..rules import RULES

    listed = [{"id": rule.id, "title": rule.title, "reading": rule.reading} for rule in RULES]
    return output.show_document({"schema": "unstick/rules/1", "rules": listed})


@command(cli, "json")
def remedies(output: Output) -> int:
    """List the remedies: what `try` takes.

    \b
    unstick remedies
    unstick remedies --json - | jq -r '.remedies[].names[0]'
    """
    from ..remedies import REMEDIES

    listed = [{"names": list(r.names), "title": r.title, "reading": r.reading} for r in REMEDIES]
    return output.show_document({"schema": "unstick/remedies/1", "remedies": listed})
