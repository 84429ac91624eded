"""The built-in methods, registered through the same hook as a plugin's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nns.hookspecs import Register, hookimpl

if TYPE_CHECKING:
    from nns.space._base import SpaceMethod


def make_tans(**settings: Any) -> SpaceMethod:
    """Make the method of the paper, see :class:`nns.space.tans.Tans`."""
    from nns.space.tans import Tans

    return Tans(**settings)


def make_mixed(**settings: Any) -> SpaceMethod:
    """Make the default method for zoos of several backends, see :class:`nns.space.mixed.Mixed`."""
    from nns.space.mixed import Mixed

    return Mixed(**settings)


def builtin_methods() -> dict[str, Callable[..., SpaceMethod]]:
    """List the built-in methods as light factories; the heavy imports happen when one is called."""
    return {"mixed": make_mixed, "tans": make_tans}


@hookimpl
def nns_register_methods(register: Register) -> None:
    """Register the built-in methods."""
    for name, factory in builtin_methods().items():
        register(name, factory)
