"""Conformance suites and tiny data for whoever implements a part of nns; needs pytest.

Nothing of nns imports this package. See docs/plugins.md.
"""

import pytest

MODULES = ("backend", "extractor", "format", "pretrained", "probe", "space")
pytest.register_assert_rewrite(*(f"nns.testing._{name}" for name in MODULES))

from nns.testing._backend import BackendContract  # noqa: E402 - after pytest knows which modules to rewrite
from nns.testing._data import tiny_image_folder, tiny_split_arrays  # noqa: E402
from nns.testing._extractor import ExtractorContract  # noqa: E402
from nns.testing._format import FormatContract  # noqa: E402
from nns.testing._probe import ProbeContract  # noqa: E402
from nns.testing._space import SpaceMethodContract, planted_zoo  # noqa: E402

__all__ = [
    "BackendContract",
    "ExtractorContract",
    "FormatContract",
    "ProbeContract",
    "SpaceMethodContract",
    "planted_zoo",
    "tiny_image_folder",
    "tiny_split_arrays",
]
