"""Names and factories that plugins registered; what a factory makes is made at first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import MissingZooError, NnsError, PluginError, UnknownNameError
from nns.plugins._output import prints_to_stderr
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.backends import Backend
    from nns.plugins._loading import LoadedPlugin, PluginFailure


@dataclass(frozen=True)
class Registry:
    """Everything that the loaded plugins registered.

    Attributes:
        plugins: The plugins that loaded, with what each registered.
        failures: The plugins that did not, with the reason.
        factories: Kind of thing, as ``"backend"``, to name to what makes one.
    """

    plugins: tuple[LoadedPlugin, ...]
    failures: tuple[PluginFailure, ...]
    factories: Mapping[str, Mapping[str, Callable[..., Any]]] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict, compare=False)

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the sorted names of what was registered of a kind, e.g. ``"backend"`` or ``"method"``."""
        return tuple(sorted(self.factories.get(kind, ())))

    def origin(self, kind: str, name: str) -> str:
        """Return the distribution and version that registered a name, ``acme-nets==0.2``; empty if that is unknown."""
        for plugin in self.plugins:
            if (kind, name) in plugin.registered:
                return f"{plugin.distribution}=={plugin.version}"
        return ""

    def make(self, kind: str, name: str, **settings: Any) -> Any:
        """Call the factory that was registered under a name.

        Args:
            kind: What it makes: ``"backend"``, ``"method"``, ``"zoo"``, ``"extractor"``, ``"format"``, ``"probe"``.
            name: The name.
            **settings: Handed to the factory.

        Raises:
            UnknownNameError: If no plugin registered it.
            UsageError: If it refuses the settings so.
            PluginError: If the factory fails otherwise.
        """
        known = self.factories.get(kind, {})
        if name not in known:
            raise UnknownNameError(f"{UnknownNameError.among(kind, name, known)}{self.failed()}")
        try:
            return known[name](**settings)
        except ImportError as error:
            raise PluginError(f"{kind} {name!r} needs a package that is not installed: {error}") from error
        except NnsError:
            raise
        except Exception as error:  # a factory of a plugin may raise anything
            raise PluginError(f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}") from error

    def failed(self) -> str:
        """Say how many plugins failed to load, for behind what is missing; empty if none did."""
        count = len(self.failures)
        return f"; {counted(count, 'plugin')} failed to load, `nns plugins` says why" if count else ""

    def backend(self, name: str) -> Backend:
        """Make, once, and give the backend of that name.

        Raises:
            UnknownNameError: If no plugin registered it.
            PluginError: If its factory fails or gives something else.
        """
        from nns.backends import Backend

        if name not in self._made:
            made = self.make("backend", name)
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

    def try_factories(self, plugin: LoadedPlugin) -> Iterator[tuple[str, str, str]]:
        """Make everything that a plugin registered.

        Yields:
            Kind, name and reason of what cannot be made, or is no such thing.
        """
        for kind, name in plugin.registered:
            try:
                with prints_to_stderr():
                    made = self.backend(name) if kind == "backend" else self.make(kind, name)
                if kind == "zoo" and not Path(str(made)).is_file():
                    raise PluginError(f"there is no file {str(made)!r}")
            except Exception as error:  # noqa: BLE001 - of a plugin anything may come
                yield kind, name, str(error) or type(error).__name__

    def default_zoo(self) -> Path:
        """Return the path of the zoo that an installed plugin provides.

        Raises:
            MissingZooError: If none does.
            PluginError: If its factory fails or gives something else.
        """
        for name in self.names("zoo"):
            path = self.make("zoo", name)
            if not isinstance(path, str | Path):
                raise PluginError(f"zoo {name!r} is a {type(path).__name__}, not a path")
            return Path(path)
        raise MissingZooError(
            "no zoo named: give `zoo` FILE, set NNS_ZOO, or make one with `nns zoo build` (or try `nns demo`)"
        )
