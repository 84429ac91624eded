"""``nns plugins``."""

from __future__ import annotations

from dataclasses import asdict

from nns.cli import options


def plugins(json: options.JsonFlag = False) -> None:
    """List what is installed, what it registers, and what failed to load.

    Example: nns plugins
    """
    from nns.cli.output import note, print_json, print_table

    registry = options.load_registry()
    if json:
        print_json(
            {
                "plugins": [
                    {**asdict(p), "registered": [{"kind": kind, "name": name} for kind, name in p.registered]}
                    for p in registry.plugins
                ],
                "failures": [asdict(failure) for failure in registry.failures],
            }
        )
        return
    rows = [
        [
            f"{plugin.distribution}:{plugin.name}",
            plugin.version,
            "built in" if plugin.builtin else "installed",
            ", ".join(f"{kind} {name}" for kind, name in plugin.registered) or "nothing",
        ]
        for plugin in registry.plugins
    ]
    columns = [("plugin", "left"), ("version", "left"), ("from", "left"), ("registers", "left")]
    print_table("Plugins", columns, rows, least=("from", "version"))
    for failure in registry.failures:
        note(f"failed to load: {failure.distribution}:{failure.name}: {failure.reason}")
