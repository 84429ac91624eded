from __future__ import annotations

import pytest

from nns.backends.ofa import OfaBackend
from nns.backends.timm import TimmBackend
from nns.testing import BackendContract


class TestOfaBackend(BackendContract):
    @pytest.fixture
    def backend(self):
        return OfaBackend(width=0.25)


class TestTimmBackend(BackendContract):
    pattern = "mobilenetv3_small_050"

    @pytest.fixture
    def backend(self):
        return TimmBackend()
