from __future__ import annotations

import numpy as np
import pytest

from nns.backends.ofa import OfaBackend, space
from nns.errors import UnknownNameError, UsageError


def config(**changes):
    return {"width": 0.5, "ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, **changes}


def test_topology_is_that_of_tans():
    """DESIGN.md: 20 kernel sizes, 20 expansion ratios, 5 stage depths; 0 for layers beyond a stage's depth."""
    spec = space.subnet_spec(0.5, [3, 5, 7, 5] * 5, [3, 4, 6, 4] * 5, [2, 3, 4, 3, 2])
    vector = space.topology_vector(spec)
    kernels, ratios, depths = vector[:20], vector[20:40], vector[40:]
    assert len(vector) == space.TOPOLOGY_DIM == 45
    assert kernels == (3, 5, 0, 0, 3, 5, 7, 0, 3, 5, 7, 5, 3, 5, 7, 0, 3, 5, 0, 0)
    assert ratios == (3, 4, 0, 0, 3, 4, 6, 0, 3, 4, 6, 4, 3, 4, 6, 0, 3, 4, 0, 0)
    assert depths == (2, 3, 4, 3, 2)


def test_layers_beyond_the_depth_do_not_name_a_subnet():
    one = space.subnet_spec(0.5, [3, 3, 7, 7] * 5, [6] * 20, [2] * 5)
    other = space.subnet_spec(0.5, [3, 3, 5, 5] * 5, [6, 6, 3, 4] * 5, [2] * 5)
    assert one == other
    assert one.name != space.subnet_spec(0.5, [3, 3, 5, 5] * 5, [6] * 20, [2, 2, 2, 2, 3]).name


def test_sampled_subnets_are_of_the_space():
    rng = np.random.default_rng(0)
    names = set()
    for _ in range(50):
        spec = space.sample_spec(rng, 0.35)
        assert space.check_config(spec.config)[0] == 0.35
        names.add(spec.name)
    assert len(names) == 50


def test_good_configurations_pass():
    assert space.check_config(config()) == (0.5, [3] * 20, [4] * 20, [2] * 5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 0.6}, "width 0.6"),
        ({"width": "0.5"}, "width '0.5'"),
        ({"width": None}, "width None"),
        ({"ks": [3] * 19}, "'ks'"),
        ({"ks": [9] * 20}, "'ks'"),
        ({"ks": "3" * 20}, "'ks'"),
        ({"e": [5] * 20}, "'e'"),
        ({"e": None}, "'e'"),
        ({"d": [1] * 5}, "'d'"),
        ({"d": [2] * 4}, "'d'"),
    ],
)
def test_bad_configurations_are_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        space.check_config(config(**changes))


def test_patterns_choose_among_the_uniform_subnets():
    backend = OfaBackend()
    each = len(space.KERNEL_SIZES) * len(space.EXPAND_RATIOS) * len(space.DEPTHS)
    assert len(backend.offers()) == len(space.WIDTHS) * each
    assert len(backend.offers("mbv3-w0.5-*")) == each
    with pytest.raises(UnknownNameError, match="mbv3-w"):
        backend.offers("mbv3-w9*")


def test_one_supernet_yields_all_networks_of_a_plan():
    (item,) = OfaBackend().plan(7, 64, seed=3)
    assert len(item.specs) == 7
    assert item.image_size == 32
    assert {spec.config["width"] for spec in item.specs} == {0.5}
