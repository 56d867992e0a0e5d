"""The command line: arguments, one library call, an exit status.

torch is imported inside the commands, so that `--help` and wrong calls answer at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from click.core import ParameterSource

from .. import __version__
from .guard import BROKEN, FOUND, INTERRUPTED, OK, WRONG, command, run
from .output import Output

__all__ = ["BROKEN", "FOUND", "INTERRUPTED", "OK", "WRONG", "cli", "main"]


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
    unstick diagnose model.py:case        what is wrong with yours
    unstick try model.py:case             what helps it
    unstick theory tanh --init xavier     what to expect of such a network
    unstick COMMAND --help                more about one command

    A TARGET is file.py:name or package.module:name, where the name belongs to an unstick.Case, or to a function
    without arguments that returns one.

    \b
    Exit status: 0 nothing wrong; 1 diagnose found an error; 2 the call or its
    input is wrong; 130 interrupted.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    return run(cli, arguments)


@command(
    cli, "ask", "json", "html", "steps", "seeds", "seed", "budget", "workers", "device", html_file="unstick-demo.html"
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


@command(cli, "json", "html", "steps", "seed", "budget", "device")
@click.argument("target")
def diagnose(output: Output, target: str, **options: Any) -> int:
    """Say what keeps TARGET from learning, where, and why.

    Watches a copy of the network train for a short while. TARGET is file.py:name or package.module:name, and names an
    unstick.Case or a function that returns one. The exit status is 1 where something keeps the network from learning.

    \b
    unstick diagnose model.py:case
    unstick diagnose package.module:make_case --steps 300
    unstick diagnose model.py:case --json report.json --html report.html
    """
    with output.working(options) as working:
        from ..diagnose import diagnose as look
        from ..target import load

        report = look(load(target), **working)
    status = output.show(report)
    return status or (OK if report.healthy else FOUND)


@command(cli, "json", "html", "steps", "seeds", "seed", "budget", "workers", "device", name="try")
@click.argument("target")
@click.argument("remedies", nargs=-1, metavar="[REMEDY]...")
def try_(output: Output, target: str, remedies: tuple[str, ...], **options: Any) -> int:
    """Train TARGET with and without each REMEDY, and compare.

    Both start from the same seeds and see the same batches. Without a REMEDY, those that the findings suggest are
    tried. `unstick remedies` lists them; several joined by + are one change. TARGET is as for `unstick diagnose`.

    \b
    The verdict on a remedy:
      fixes it        the network learns, did not before, and the cause is gone
      helps           the loss falls, and the network learns
      no effect       the loss stays, or falls in a network that still does not learn
      harms           the loss rises, or the training diverges
      inconclusive    these runs cannot tell
      not applicable  the remedy does not fit the network

    \b
    unstick try model.py:case
    unstick try model.py:case relu "relu+init(he)" batchnorm
    unstick try model.py:case "adam(eps=1e-16)" --seeds 5 --budget 120
    """
    with output.working(options) as working:
        from ..target import load
        from ..trials import try_remedies

        report = try_remedies(load(target), remedies or None, **working)
    return output.show(report)


@command(cli, "target", "ask", "json", "html", "steps", "seeds", "seed", "budget", "workers", "device")
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
