from __future__ import annotations

from dataclasses import replace

import pytest

from nns.data.extractors import (
    DEFAULT_EXTRACTOR,
    RESNET18_EXTRACTOR,
    EfficientNetLite0Extractor,
    ResNet18Extractor,
    extractor_of,
    make_extractor,
)
from nns.errors import UsageError
from nns.plugins import load_plugins
from nns.testing._store import sample_dataset


def datasets(*extractors):
    return [replace(sample_dataset(f"d{i}", i), extractor=name) for i, name in enumerate(extractors)]


def test_the_datasets_say_which():
    assert isinstance(extractor_of(datasets(RESNET18_EXTRACTOR, RESNET18_EXTRACTOR)), ResNet18Extractor)
    assert isinstance(extractor_of(datasets(DEFAULT_EXTRACTOR)), EfficientNetLite0Extractor)


def test_without_datasets_it_is_the_default():
    assert extractor_of([]).name == DEFAULT_EXTRACTOR


def test_of_a_name_that_nobody_knows_it_is_the_default():
    assert extractor_of(datasets("resnet18@225")).name == DEFAULT_EXTRACTOR
    assert extractor_of(datasets("resnet18@225", RESNET18_EXTRACTOR)).name == RESNET18_EXTRACTOR


def test_features_of_several_cannot_be_compared():
    with pytest.raises(UsageError, match=rf"{DEFAULT_EXTRACTOR}, {RESNET18_EXTRACTOR}.*cannot be compared"):
        extractor_of(datasets(RESNET18_EXTRACTOR, DEFAULT_EXTRACTOR))


@pytest.mark.parametrize("name", load_plugins().names("extractor"))
def test_each_is_listed_under_its_own_name(name):
    assert make_extractor(name).name == name
