"""Which distribution a plugin came from: written beside what it made, so that who lacks it knows what to install."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]{0,63}")


def is_origin(origin: object) -> bool:
    """Tell whether that is a distribution and a version: files of strangers may say anything."""
    return isinstance(origin, str) and _ORIGIN.fullmatch(origin) is not None


def install_hint(origin: object) -> str:
    """Say what to install: ``": pip install acme-nets==0.2"``; nothing of what is no distribution and version."""
    return f": pip install {origin}" if is_origin(origin) else ""
