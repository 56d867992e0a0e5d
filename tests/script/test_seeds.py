"""Seeds that a script gives are others for other offsets, the same for the same, and its own at offset 0."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unstick
from unstick.script.seeds import mixed

SEEDS = st.integers(-(2**63), 2**64 - 1)

# Each way of seeding is followed by draws, in forks of one process; `None`: the script as it is, nothing replaced.
SCRIPT = """
import json, os, random, sys, warnings
warnings.simplefilter("ignore")
os.environ["KERAS_BACKEND"] = "torch"
import numpy as np, torch
from torch.utils.data import DataLoader
if "frameworks" in sys.argv:
    import keras, pytorch_lightning, transformers, accelerate.utils

class Drawn(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, i): return random.random()

WAYS = {
    "torch": lambda: torch.manual_seed(1),
    "torch.random": lambda: torch.random.manual_seed(seed=1),
    "random": lambda: random.seed(1),
    "random, text": lambda: random.seed(a="one", version=2),
    "numpy": lambda: np.random.seed(1),
    "numpy, integer of its own": lambda: np.random.seed(np.int64(1)),
    "numpy, several": lambda: np.random.seed([1, 2]),
    "default_rng": lambda: np.random.default_rng(1).random(),
    "from the seed of torch": lambda: (torch.manual_seed(1), np.random.seed(torch.initial_seed())),
    "unseeded": lambda: None,
    "system, random": lambda: random.seed(),
    "system, numpy": lambda: np.random.seed(None),
    "system, torch": lambda: torch.seed(),
    "system, default_rng": lambda: [np.random.default_rng().random() for _ in range(2)],
    "workers": lambda: [float(x) for x in DataLoader(Drawn(), batch_size=1, num_workers=2,
                        multiprocessing_context="fork", worker_init_fn=lambda i: random.seed())],
    "kept": lambda: [np.random.RandomState(1).rand(), random.Random(1).random(),
                     np.random.default_rng(np.random.SeedSequence(1)).random(),
                     torch.rand(1, generator=torch.Generator().manual_seed(1)).item()],
}
if "frameworks" in sys.argv:
    WAYS = {
        "lightning": lambda: pytorch_lightning.seed_everything(1, verbose=False) and None,
        "transformers": lambda: transformers.set_seed(1),
        "accelerate": lambda: accelerate.utils.set_seed(1),
        "keras": lambda: (keras.utils.set_random_seed(1), keras.layers.Dense(1)(np.ones((1, 1))).item())[1],
    }

def drawn(way):
    made = WAYS[way]()
    made = made if isinstance(made, float | list) else None
    return [made, random.random(), np.random.rand(), torch.rand(1).item(), torch.nn.Linear(1, 1).weight.item()]

def forked(offset):
    from unstick.script.seeds import shift_seeds
    read, write = os.pipe()
    if not os.fork():
        if offset is not None:
            shift_seeds(offset)
        with open(write, "w") as file:
            json.dump({way: drawn(way) for way in WAYS}, file)
        os._exit(0)
    os.close(write)
    return json.load(open(read))

print(json.dumps([forked(offset) for offset in (None, 0, 0, 1, 1, 2)]))
"""


def draws(*arguments: str) -> list[dict[str, list]]:
    environment = os.environ | {"PYTHONPATH": str(Path(unstick.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# What each way of seeding seeds, as places in what is drawn; the rest goes on from the way before.
SEEDED = {
    "torch": {3, 4},
    "torch.random": {3, 4},
    "random": {1},
    "random, text": {1},
    "numpy": {2},
    "numpy, integer of its own": {2},
    "numpy, several": {2},
    "default_rng": {0},
    "from the seed of torch": {2, 3, 4},
}
ALL = {1, 2, 3, 4}
FRAMEWORKS = {"lightning": ALL, "transformers": ALL, "accelerate": ALL, "keras": {0, *ALL}}


@pytest.mark.parametrize(("arguments", "seeded"), [((), SEEDED), (("frameworks",), FRAMEWORKS)], ids=["own", "others"])
def test_draws_depend_on_the_offset_and_at_offset_0_on_the_script_alone(arguments, seeded):
    plain, zero, zero_again, one, one_again, two = draws(*arguments)
    assert zero == zero_again
    assert one == one_again
    for way, places in seeded.items():
        for place in places:
            assert zero[way][place] == plain[way][place], way
            assert len({shifted[way][place] for shifted in (zero, one, two)}) == 3, way
    if arguments:
        return
    for way in ("unseeded", "system, random", "system, numpy", "system, torch"):
        for place in ALL:
            assert len({shifted[way][place] for shifted in (zero, one, two)}) == 3, way
    for way in ("system, default_rng", "workers"):
        assert len({value for shifted in (zero, one, two) for value in shifted[way][0]}) == 6, way
    assert plain["kept"][0] == zero["kept"][0] == one["kept"][0] == two["kept"][0]
    assert zero["numpy"][2] == zero["numpy, integer of its own"][2]
    assert one["numpy"][2] == one["numpy, integer of its own"][2]


@given(SEEDS, st.integers(0, 2**31))
def test_a_mixed_seed_is_one_that_every_generator_takes(seed, offset):
    assert 0 <= mixed(seed, offset) < 2**32
    numpy.random.RandomState(mixed(seed, offset))


@given(st.lists(st.tuples(SEEDS, st.integers(0, 1000)), unique=True, min_size=2))
def test_pairs_of_seed_and_offset_get_seeds_of_their_own(pairs):
    assert len({mixed(*pair) for pair in pairs}) == len(pairs)


def test_usual_seeds_do_not_coincide_at_usual_offsets():
    seeds = [*range(100), 123, 1234, 1337, 2023, 2024, 2025, 3407, 12345]
    given = {mixed(seed, offset) for seed in seeds for offset in range(1, 20)}
    assert len(given | set(seeds)) == len(seeds) * 20  # at offset 0 the seeds are what they are
    assert mixed(7, 3) == mixed(numpy.int32(7), 3)


def test_the_mixing_is_the_same_in_every_process_and_version():
    assert [mixed(0, 1), mixed(42, 1), mixed("text", 2)] == [646476265, 3521251716, 3656433871]
