"""Hand-made documents, one of each schema, with names that would be markup if they were not shown literally."""

from __future__ import annotations

from typing import Any

HOSTILE = "[red]evil[/red]<script>alert(1)</script>{brace}"


def diagnosis(**changes: Any) -> dict[str, Any]:
    document = {
        "schema": "unstick/diagnosis/1",
        "target": "model.py:case",
        "healthy": False,
        "learning": {
            "learns": False,
            "initial_loss": 2.69,
            "final_loss": 2.31,
            "constant_loss": 2.302,
            "below": [-0.01, 0.01],
            "steps": 100,
            "uses_input": False,
        },
        "findings": [
            {
                "rule": "vanishing-gradient",
                "severity": "error",
                "module": "net.0",
                "source": "model.py:12",
                "summary": "The gradient loses 15.7 decades on its way back.",
                "cause": "activation",
                "evidence": {"decades": 15.7, "stuck": 3, "uses_input": False, "parts": {"activation": 13.9}},
                "remedies": ["relu+init(he)", "batchnorm"],
                "since": 0,
                "reading": "Glorot and Bengio 2010",
            }
        ],
        "attenuation_decades": 15.7,
        "attribution": {"activation": 16.7, "weights": -1.0, "normalisation": 0.0, "other": 0.0},
        "path": [
            {"module": f"net.{i}", "op": "sigmoid", "kind": "activation", "source": "model.py:12", "decades": i - 16.0}
            for i in range(16)
        ],
        "layers": [],
        "uncovered": ["net.7: a custom autograd function"],
        "seconds": 1.25,
        "versions": {"unstick": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
    }
    return {**document, **changes}


def trial(remedy: str, verdict: str, **changes: Any) -> dict[str, Any]:
    document = {
        "remedy": remedy,
        "verdict": verdict,
        "explanation": f"What {remedy} did.",
        "changes": [f"{remedy} in 3 places"],
        "gradient": {"before": 15.7, "after": 0.2, "restored": True},
        "loss": {"before": 2.3, "after": 0.3, "difference": -2.0, "interval": [-2.5, -1.5]},
        "metric": None,
        "learns": True,
        "learned": 3,
        "diverged": 0,
        "seeds": 3,
        "steps": 300,
    }
    return {**document, **changes}


def trials(*tried: dict[str, Any], **changes: Any) -> dict[str, Any]:
    document = {
        "schema": "unstick/trials/1",
        "target": "model.py:case",
        "baseline": {
            "loss": 2.3,
            "learns": False,
            "learned": 0,
            "seeds": 3,
            "steps": 300,
            "diverged": 0,
            "metric": None,
            "attenuation_decades": 15.7,
            "findings": ["vanishing-gradient"],
        },
        "trials": list(tried),
        "recommended": "relu",
        "interrupted": False,
        "notes": [],
        "seconds": 12.0,
        "versions": {},
    }
    return {**document, **changes}


def statement(number: int, **changes: Any) -> dict[str, Any]:
    document = {
        "id": number,
        "text": f"Statement number {number}.",
        "remedies": ["relu"],
        "holds": True,
        "helps": True,
        "reason": "gradient-not-vanishing",
        "reason_holds": True,
        "verdict": "fixes",
        "explanation": f"Explanation of {number}.",
        "textbook": None,
        "reading": "He et al. 2015",
    }
    return {**document, **changes}


def answer(*statements: dict[str, Any], **changes: Any) -> dict[str, Any]:
    document = {
        "schema": "unstick/answer/1",
        "target": "kaylee",
        "question": {
            "title": "A network that is stuck",
            "intro": "",
            "claim": {"text": "It vanishes.", "rule": "vanishing-gradient", "holds": True, "explanation": "3 of 3."},
        },
        "answer": [s["id"] for s in statements if s["holds"]],
        "asked": None,
        "statements": list(statements),
        "trials": trials(),
        "interrupted": False,
    }
    return {**document, **changes}


def demo() -> dict[str, Any]:
    return {
        "schema": "unstick/demo/1",
        "diagnosis": diagnosis(),
        "trials": trials(trial("relu", "fixes")),
        "answer": answer(statement(1, holds=False), statement(2)),
    }


def rules() -> dict[str, Any]:
    return {
        "schema": "unstick/rules/1",
        "rules": [{"id": "dead-units", "title": "units are off", "reading": "Lu 2020"}],
    }


def remedies() -> dict[str, Any]:
    named = {"names": ["relu"], "title": "ReLU instead", "reading": ""}
    return {"schema": "unstick/remedies/1", "remedies": [named]}


def theory(**changes: Any) -> dict[str, Any]:
    variances = {"weight_variance": 0.333, "bias_variance": 0.0052, "weight_std": 0.0722, "bias_std": 0.0722}
    document = {
        "schema": "unstick/theory/1",
        "activation": "sigmoid",
        "network": {"depth": 4, "width": 64, "norm": None, "side": None, "batch": None},
        "weights": {"name": "default", **variances},
        "gradient": {"gain": 0.1414, "decades": -2.55, "layers": [-0.9, -0.8, -0.85]},
        "forward": {"q": 0.255, "between": 0.001},
        "reach": {"layers": 1.53, "reason": "vanishing"},
        "rest": {
            "q": 0.0864, "c": 1.0, "chi": 0.02, "gain": 0.1414, "xi_q": 0.253, "xi_c": 0.256, "xi_gradient": None,
            "phase": "ordered",
        },
        "edge": None,
        "critical": {**variances, "weight_variance": 103.0, "weight_std": 1.27, "bias_variance": 0.0, "q": 45.6},
        "notes": ["A note about it."],
    }  # fmt: skip
    return {**document, **changes}


def row(what: str, before: str, after: str, **changes: Any) -> dict[str, Any]:
    document = {
        "what": what,
        "part": "result",
        "before": before,
        "after": after,
        "shown": [before, after],
        "better": None,
        "became": None,
    }
    return {**document, **changes}


def comparison(**changes: Any) -> dict[str, Any]:
    document = {
        "schema": "unstick/comparison/1",
        "names": ["before.json", "after.json"],
        "sentence": "Better in after.json: learns.",
        "changed": [
            row("learns", "no", "yes", better=True),
            row("errors", "1", "2", better=False),
            row("loss before", "2.69", "2.31"),
        ],
        "findings": [
            row("vanishing-gradient", "error in net.0", "", better=True, became="gone"),
            row("dead-units", "", "error in net.1", better=False, became="new"),
            row("unscaled-inputs", "info", "info", became="still"),
        ],
        "same": [row("steps", "300", "300", part="run")],
        "before": diagnosis(),
        "after": diagnosis(),
        "versions": {},
    }
    return {**document, **changes}


def _trials() -> dict[str, Any]:
    return trials(trial("relu", "fixes"))


def _answer() -> dict[str, Any]:
    return answer(statement(1))


EVERY = (diagnosis, _trials, _answer, demo, rules, remedies, theory, comparison)
COMPARED = (diagnosis, _trials, _answer, demo)


def poisoned(value: Any) -> Any:
    """The document with every free text in it made hostile; words that programs rely on stay."""
    if isinstance(value, dict):
        return {k: v if k in ("schema", "severity", "verdict", "became") else poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return HOSTILE if isinstance(value, str) else value
