"""A Ray cluster of two nodes on this machine, started once for all tests of this folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[Any]:
    """A cluster whose head computes nothing; it has no other nodes yet. Nothing is reported to anyone."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'asr[cluster]'")
    from ray.cluster_utils import Cluster as RayCluster

    nodes: Any = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="package")
def address(ray_cluster: Any) -> str:
    """The address of a cluster of two nodes with one CPU each."""
    for name in ("first", "second"):
        ray_cluster.add_node(num_cpus=1, node_name=name)
    ray_cluster.wait_for_nodes()
    return str(ray_cluster.address)


@pytest.fixture(scope="package")
def model(trained: Path) -> Path:
    return trained / "best.safetensors"
