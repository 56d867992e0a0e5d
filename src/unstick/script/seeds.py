"""The seeds that a script gives, made others: a trial is repeated with several, and scripts seed themselves.

Left as they are, on purpose or for want of a clean way: `numpy.random.RandomState(n)` and what scikit-learn makes of
`random_state=n`, `torch.Generator().manual_seed(n)` and `random.Random(n)`. These are mostly how a script makes or
splits its data, and the data should be the same in all repetitions. Whatever else is random then differs: the weights,
dropout, the order of batches unless a generator of the script's own draws it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import operator
import random
from collections.abc import Callable
from typing import Any

import numpy
import torch

from unstick.script.everywhere import replace_everywhere
from unstick.state import seed_everything

_Function = Callable[..., Any]

_DEVICES = (torch.cuda, torch.mps, torch.xpu, torch.mtia)
_STREAMS = (numpy.random.BitGenerator, numpy.random.Generator, numpy.random.SeedSequence, numpy.random.RandomState)


def mixed(seed: object, offset: int) -> int:
    """A seed in 0..2**32-1, which all generators take, that is another for each pair of a seed and an offset.

    Pairs share one as often as chance has it: two of a thousand pairs do, once in about 9,000 times. Not `seed +
    offset`: 0 and 1 would become the same seed at offsets 1 and 0. Integers of all types are alike.
    """
    with contextlib.suppress(TypeError):
        seed = operator.index(seed)  # type: ignore[arg-type]
    return int.from_bytes(hashlib.blake2b(repr((offset, seed)).encode(), digest_size=4).digest())


def shift_seeds(offset: int) -> None:
    """From now until the process ends, seeds given to Python, NumPy and torch are `mixed` with `offset`; 0: they stay.

    All generators are seeded, for a script that does not. Where a script asks for a seed from the system
    (`random.seed()`, `default_rng()`, `torch.seed()`), it gets one that depends on `offset`, on how often it asked, and
    on torch's seed, which tells the workers of a `DataLoader` apart. On an accelerator, a seed given to
    `torch.manual_seed` is mixed twice. To be called before the script and what it imports are loaded.
    """
    asked = itertools.count()

    def another(seed: Any) -> Any:
        if seed is None:
            return mixed((torch.initial_seed(), next(asked)), offset)
        return seed if offset == 0 or isinstance(seed, _STREAMS) else mixed(seed, offset)

    def shifted(function: _Function, keyword: str) -> _Function:
        @functools.wraps(function)
        def seeded(*args: Any, **kwargs: Any) -> Any:
            seed = args[0] if args else kwargs.pop(keyword, None)
            return function(another(seed), *args[1:], **kwargs)

        return seeded

    def shifted_torch(function: _Function) -> _Function:
        @functools.wraps(function)
        def manual_seed(seed: Any) -> Any:
            return function(another(int(seed)))

        return manual_seed

    seed_torch = torch.manual_seed

    @functools.wraps(torch.seed)
    def seed() -> int:
        return int(seed_torch(another(None)).initial_seed())

    functions: dict[_Function, _Function] = {
        random.seed: shifted(random.seed, "a"),
        numpy.random.seed: shifted(numpy.random.seed, "seed"),
        numpy.random.default_rng: shifted(numpy.random.default_rng, "seed"),
        torch.manual_seed: shifted_torch(torch.manual_seed),
        torch.seed: seed,
    }
    for device in _DEVICES:
        for name in ("manual_seed", "manual_seed_all"):
            if function := getattr(device, name, None):
                functions[function] = shifted_torch(function)
    replace_everywhere(functions)
    seed_everything(0)
