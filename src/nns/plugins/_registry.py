"""Names and factories that plugins registered; what a factory makes is made at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nns.errors import MissingZooError, NnsError, PluginError, UnknownNameError

if TYPE_CHECKING:
    from nns.backends import Backend
    from nns.plugins._loading import LoadedPlugin, PluginFailure

T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """Everything that the loaded plugins registered.

    Attributes:
        plugins: The plugins that loaded, with what each registered.
        failures: The plugins that did not, with the reason.
    """

    plugins: tuple[LoadedPlugin, ...]
    failures: tuple[PluginFailure, ...]
    _backends: Mapping[str, Callable[[], Any]]
    _methods: Mapping[str, Callable[..., Any]]
    _zoos: Mapping[str, Callable[[], Path]]
    _made: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def backend_names(self) -> tuple[str, ...]:
        """Names of the registered backends, sorted."""
        return tuple(sorted(self._backends))

    @property
    def method_names(self) -> tuple[str, ...]:
        """Names of the registered space methods, sorted."""
        return tuple(sorted(self._methods))

    def backend(self, name: str) -> Backend:
        """Make, once, and give the backend of that name.

        Raises:
            UnknownNameError: If no plugin registered it.
            PluginError: If its factory fails or gives something else.
        """
        from nns.backends import Backend

        if name not in self._made:
            made = _make("backend", name, self._backends)
            if not isinstance(made, Backend):
                raise PluginError(f"backend {name!r} is a {type(made).__name__}, not an nns.backends.Backend")
            if getattr(made, "name", None) != name:
                raise PluginError(
                    f"the backend registered as {name!r} calls itself {getattr(made, 'name', None)!r}; "
                    "work items and networks carry its name, so the two must be equal"
                )
            self._made[name] = made
        backend: Backend = self._made[name]
        return backend

    def method(self, name: str, **settings: Any) -> Any:
        """Make a space method with these settings.

        Raises:
            UnknownNameError: If no plugin registered it.
            UsageError: If the method refuses the settings so.
            PluginError: If its factory fails otherwise.
        """
        return _make("method", name, self._methods, **settings)

    def default_zoo(self) -> Path:
        """Return the path of the zoo that an installed plugin provides.

        Raises:
            MissingZooError: If none does.
            PluginError: If its factory fails or gives something else.
        """
        for name in sorted(self._zoos):
            path = _make("zoo", name, self._zoos)
            if not isinstance(path, str | Path):
                raise PluginError(f"zoo {name!r} is a {type(path).__name__}, not a path")
            return Path(path)
        raise MissingZooError(
            "no zoo named: give --zoo FILE, set NNS_ZOO, or make one with `nns zoo build` (or try `nns demo`)"
        )


def _make(kind: str, name: str, factories: Mapping[str, Callable[..., T]], **settings: Any) -> T:
    factory = factories.get(name)
    if factory is None:
        raise UnknownNameError.among(kind, name, factories)
    try:
        return factory(**settings)
    except ImportError as error:
        raise PluginError(f"{kind} {name!r} needs a package that is not installed: {error}") from error
    except NnsError:
        raise
    except Exception as error:  # a factory of a plugin may raise anything
        raise PluginError(f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}") from error
