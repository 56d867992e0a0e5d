"""What mean-field theory predicts: how far a signal reaches, what the gradient loses, what would be critical."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from ..style import NO, YES, number, plural
from .diagnosis import LEAST, STRIP
from .pen import Blocks, Pen

Document = Mapping[str, Any]

ENDS = {
    "vanishing": "the gradient has vanished",
    "exploding": "the gradient has exploded",
    "chaotic": "chaos has made all samples equally different",
}


def blocks(document: Document, pen: Pen) -> Blocks:
    """The sentence first, then the numbers it rests on."""
    yield _headline(document, pen)
    yield pen.pairs(_numbers(document))
    yield from _strip(document["gradient"]["layers"], pen)
    for note in document["notes"]:
        yield ""
        yield pen.indented(pen.text(note, "yellow"))
    yield ""
    yield pen.text("Theory of wide networks at initialisation; `unstick diagnose` measures yours.", "dim")


def _headline(document: Document, pen: Pen) -> RenderableType:
    reach, depth = document["reach"], document["network"]["depth"]
    enough = reach["layers"] is None or reach["layers"] >= depth
    name = (_title(document), "bold")
    return pen.labelled(YES if enough else NO, name, f": {_survival(reach)}. This network has {depth}.")


def _survival(reach: Document) -> str:
    if reach["layers"] is None:
        return "signals survive any number of layers"
    count = number(reach["layers"]) if reach["layers"] < 2.0 else round(reach["layers"])
    far = f"about {count} layers" if reach["layers"] >= 1.0 else "less than one layer"
    return f"signals survive {far}, then {ENDS.get(reach['reason'], reach['reason'])}"


def _title(document: Document) -> str:
    """ "sigmoid, default weights, batchnorm before it"."""
    network = document["network"]
    norm = f", {network['norm']} {network['side']} it" if network["norm"] else ""
    return f"{document['activation']}, {document['weights']['name']} weights{norm}"


def _numbers(document: Document) -> Iterator[tuple[str, str]]:
    yield "weights", _variances(document["weights"], document["network"])
    yield from _gradient(document)
    forward = document["forward"]
    differs = f"{round(100.0 * forward['between'], 1):g} % of it differs between samples"
    yield "last layer", f"second moment {_endless(forward['q'])}, {differs}"
    if document["rest"]:
        yield from _rest(document["rest"])
    edge, critical = document["edge"], document["critical"]
    biases = f"with biases of {number(document['weights']['bias_variance'])}"
    yield "edge of chaos", f"σ_w² {number(edge['weight_variance'])} {biases}" if edge else f"none {biases}"
    yield "critical", _variances(critical, document["network"]) if critical else "no weights are"


def _gradient(document: Document) -> Iterator[tuple[str, str]]:
    gradient, depth = document["gradient"], document["network"]["depth"]
    if gradient["layers"]:
        yield "gradient", f"{_decades(gradient['decades'])} over {plural(depth, 'layer')}"
        last = "" if gradient["layers"][-1] is None else f", {number(10.0 ** gradient['layers'][-1])} in the last"
        yield "in a layer", f"× {_endless(gradient['gain'])} on average{last}"


def _decades(decades: float | None) -> str:
    if decades is None:
        return "beyond any number"
    return f"{abs(decades):.1f} decades (factors of ten) {'lost' if decades < 0 else 'gained'}"


def _rest(rest: Document) -> Iterator[tuple[str, str]]:
    yield "at rest", f"variance {_endless(rest['q'])}, correlation {number(rest['c'])}"
    yield "χ", f"{_endless(rest['chi'])}: {rest['phase']}; the gradient × {_endless(rest['gain'])} in each layer"
    scales = (("variance", "xi_q"), ("correlation", "xi_c"), ("gradient", "xi_gradient"))
    yield "depth scales ξ", ", ".join(f"{name} {_endless(rest[key])}" for name, key in scales) + " (layers)"


def _variances(of: Document, network: Document) -> str:
    text = f"σ_w² {number(of['weight_variance'])}, σ_b² {number(of['bias_variance'])}"
    if of["weight_std"] is None:
        return text
    return f"{text}: weights of standard deviation {number(of['weight_std'])} at width {network['width']}"


def _strip(layers: list[float | None], pen: Pen) -> Iterator[RenderableType]:
    """The gradient's norm at each layer, first to last, as in a diagnosis."""
    if len(layers) < 2 or None in layers:
        return
    norms, decades = [0.0], (each for each in reversed(layers) if each is not None)
    for each in decades:
        norms.insert(0, norms[0] + each)
    yield ""
    yield pen.heading("Gradient norm, from the first layer to the last")
    yield pen.indented(pen.strip(norms, min(STRIP, pen.width - 4), LEAST))


def _endless(value: float | None) -> str:
    return "infinite" if value is None else number(value)
