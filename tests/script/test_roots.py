"""Which modules of a running program are trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from script.loops import Wrapper, mlp
from unstick.script import roots
from unstick.script.roots import Together, alive, together, unwrapped


def outermost(parameters: Iterable[nn.Parameter]) -> list[nn.Module]:
    return roots.outermost(parameters, alive())


def paths_of(model: nn.Module) -> dict[int, str]:
    return roots.paths_of(model, alive())


def test_the_outermost_module_that_holds_a_parameter() -> None:
    model = nn.Sequential(mlp(nn.Tanh()), nn.ReLU())
    assert outermost(model[0][0].parameters()) == [model]
    assert outermost([model[0][2].bias]) == [model]


def test_several_are_put_together_by_the_names_of_their_classes() -> None:
    one, two, three = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)
    found = outermost([*one.parameters(), *two.parameters(), *three.parameters()])
    assert {id(m) for m in found} == {id(one), id(two), id(three)}
    whole = together([one, two, three])
    assert [name for name, _ in whole.named_children()] == ["sequential", "sequential_2", "linear"]
    assert outermost(one.parameters()) == [one]  # what we have put together is none of the script's
    assert isinstance(whole, Together)


def test_one_alone_is_itself() -> None:
    model = mlp()
    assert together([model]) is model


def test_wrappers_are_looked_through() -> None:
    model = mlp(nn.Tanh())
    parallel = nn.DataParallel(model)
    assert unwrapped(parallel) is model
    assert outermost(model.parameters()) == [model]
    assert paths_of(model)[id(parallel)] == ""
    compiled = torch.compile(model, backend="eager")
    assert unwrapped(compiled) is model  # type: ignore[arg-type]
    assert outermost(model.parameters()) == [model]


def test_wrappers_that_nobody_knows_are_models() -> None:
    model = mlp(nn.Tanh())
    wrapper = Wrapper(model)
    assert outermost(model.parameters()) == [wrapper]
    assert paths_of(wrapper)[id(model[0])] == "module.0"


def test_parameters_without_a_module() -> None:
    assert outermost([nn.Parameter(torch.zeros(2))]) == []


def test_modules_that_are_not_finished_are_no_holders() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            pass  # its base was never initialised

    half, model = Half(), mlp()
    assert outermost(model.parameters()) == [model]
    assert half.__dict__ == {}


def test_a_module_in_two_others_belongs_to_both() -> None:
    shared = nn.Linear(2, 2)
    one, two = nn.Sequential(shared, nn.Linear(2, 2)), nn.Sequential(shared)
    assert {id(m) for m in outermost(shared.parameters())} == {id(one), id(two)}
