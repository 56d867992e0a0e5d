"""All architectures, by name, and how they are put into one of two conditions."""

from __future__ import annotations

import importlib
from dataclasses import replace

import torch
from benchmarks.zoo.collection import Architecture, Collection
from benchmarks.zoo.health import train, training

from unstick import Case

# The last four need packages of the extra `zoo`.
MODULES = (
    "activations", "mlps", "objectives", "imperfect", "optimisers", "parameters", "execution", "convnets", "vision",
    "recurrent", "temporal", "attention", "generative", "metric", "structures",
    "huggingface", "huggingface_tasks", "xtransformers", "graphs",
)  # fmt: skip
CONDITIONS = ("fresh", "trained")
TRAINED_STEPS = 50


def collections() -> tuple[list[Collection], dict[str, str]]:
    """What can be imported, and why the rest cannot."""
    found, missing = [], {}
    for name in MODULES:
        try:
            found.append(importlib.import_module(f"benchmarks.zoo.{name}").ZOO)
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def architectures() -> dict[str, Architecture]:
    found: dict[str, Architecture] = {}
    for collection in collections()[0]:
        if twice := found.keys() & collection.members.keys():
            raise ValueError(f"in two files: {twice}")
        found |= collection.members
    return found


def in_condition(architecture: Architecture, condition: str) -> Case:
    """The case with a name; where `condition` is "trained", its model is an object after 50 plain steps."""
    case = replace(architecture.build(), name=f"{architecture.name}, {condition}")
    if condition == "fresh":
        return case
    torch.manual_seed(100)
    model = case.model()
    train(training(case, model, seed=100), TRAINED_STEPS + 1)
    return replace(case, model=model)
