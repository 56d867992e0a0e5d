"""A real cluster of three nodes on this machine, one of which is killed. What is sent there are closures, since its
processes cannot import the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from unstick import Case
from unstick.errors import CaseError, UnstickError
from unstick.trials import try_remedies
from unstick.trials.engines import Lost, ray_address

pytest.importorskip("ray", reason="Ray is not installed: pip install 'unstick[ray]'")

from ray.cluster_utils import Cluster

from unstick.trials.ray import RayEngine


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that runs nothing, and two nodes, one of which has a GPU in name."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.add_node(num_cpus=1, num_gpus=1)
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def test_jobs_go_to_the_nodes_and_come_back(cluster):
    offset = 10

    def task(job):
        if job == -1:
            os._exit(1)
        if job == -2:
            raise CaseError("it cannot be trained")
        import ray

        return job + offset, ray.get_runtime_context().get_node_id()

    engine = RayEngine(task, cluster.address)
    try:
        results = dict(engine.run([1, -1, *range(2, 30)]))
        assert {index: result[0] for index, result in results.items() if index != 1} == {
            0: 11,
            **{i: i + 10 for i in range(2, 30)},
        }
        assert isinstance(results[1], Lost)
        assert "each of the 3 times" in results[1].reason
        with pytest.raises(CaseError, match=r"^it cannot be trained$"):
            list(engine.run([-2]))
    finally:
        engine.close()
        engine.close()


def test_a_share_of_a_gpu(cluster):
    def task(job):
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    engine = RayEngine(task, cluster.address, gpus=0.5)
    assert dict(engine.run([0, 1])) == {0: "0", 1: "0"}
    engine.close()
    with pytest.raises(UnstickError, match="gpus=4"):
        RayEngine(task, cluster.address, gpus=4)


def case() -> Case:
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return Case(lambda: nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2)), (x, y), nn.CrossEntropyLoss())


def test_a_node_that_dies_loses_nothing_and_changes_no_digit(cluster):
    remedies = ["relu", "lr(x30)", "match-shape"]
    local = try_remedies(case(), remedies, steps=20, seeds=3, workers=1).to_dict()
    node = cluster.add_node(num_cpus=1)

    def kill(_, done, __):
        if done == 3:
            cluster.remove_node(node, allow_graceful=False)

    seen = try_remedies(case(), remedies, steps=20, seeds=3, engine=f"ray:{cluster.address}", progress=kill).to_dict()
    assert {**seen, "seconds": 0} == {**local, "seconds": 0}


def test_addresses():
    assert [ray_address(name) for name in ("ray", "ray:head:6379", "ray://head:10001")] == [
        None,
        "head:6379",
        "ray://head:10001",
    ]
    for name in ("dask", "ray:", "rays"):
        with pytest.raises(UnstickError, match="choose local, ray"):
            ray_address(name)


@pytest.mark.parametrize("options", [{"gpus": 0.5}, {"engine": "ray", "workers": 2}, {"engine": "dask"}])
def test_options_that_do_not_go_together(options):
    with pytest.raises(UnstickError):
        try_remedies(case(), ["relu"], **options)


def test_what_cannot_be_sent_is_said_before_anything_starts():
    import threading

    lock = threading.Lock()
    with pytest.raises(UnstickError, match="cannot be sent"):
        RayEngine(lambda job: lock)
