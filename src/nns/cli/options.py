"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from nns.cli import completion

if TYPE_CHECKING:
    from nns.plugins import Registry
    from nns.zoo import Zoo

LIMITS = "Limits"

Data = Annotated[
    str,
    Argument(metavar="DATA", help="Folder of class folders, or with train/ val/ test/; .csv; torchvision:NAME."),
]
ZooArgument = Annotated[Path, Argument(metavar="ZOO", help="Zoo file (.h5).")]
ReadZoo = Annotated[
    Path | None, Argument(metavar="[ZOO]", help="Zoo file (.h5); default $NNS_ZOO, else an installed plugin's.")
]
ZooOption = Annotated[
    Path | None, Option("--zoo", metavar="ZOO", help="Zoo file; default $NNS_ZOO, else an installed plugin's.")
]
JsonFlag = Annotated[bool, Option("--json", help="Print one JSON document, and nothing else, on stdout.")]
NoHistory = Annotated[bool, Option("--no-history", help="Leave your own history out: nns history.")]
Seed = Annotated[int, Option("--seed", help="Seed of everything random.")]
MaxParams = Annotated[
    str | None, Option("--max-params", metavar="N", help="Parameters, e.g. 5M.", rich_help_panel=LIMITS)
]
MaxMacs = Annotated[
    str | None,
    Option("--max-macs", metavar="N", help="Multiply-accumulates an image, e.g. 300M.", rich_help_panel=LIMITS),
]
MaxSize = Annotated[
    str | None,
    Option("--max-size", metavar="SIZE", help="Bytes of the weights, e.g. 20MB.", rich_help_panel=LIMITS),
]
MaxLatency = Annotated[
    str | None,
    Option("--max-latency", metavar="TIME", help="One image on this machine, e.g. 10ms.", rich_help_panel=LIMITS),
]
BackendLimit = Annotated[
    str | None,
    Option(
        "--backend",
        metavar="NAME",
        help="Only networks of this backend.",
        rich_help_panel=LIMITS,
        autocompletion=completion.backends,
    ),
]
LicenseLimit = Annotated[
    str | None,
    Option(
        "--license",
        metavar="NAME",
        help="Only networks under this licence.",
        rich_help_panel=LIMITS,
        autocompletion=completion.licenses,
    ),
]
Offline = Annotated[bool, Option("--offline", help="Fetch no weights: take what is on this disk.")]
Executor = Annotated[
    str,
    Option(
        "--executor",
        metavar="local|ray",
        help="Where the training runs.",
        autocompletion=completion.one_of("local|ray"),
    ),
]
Address = Annotated[str | None, Option("--address", help="Of a ray cluster; auto: the one this machine belongs to.")]
Device = Annotated[
    str,
    Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to run.",
        autocompletion=completion.one_of("auto|cpu|cuda"),
    ),
]


def open_zoo(path: Path | None) -> Zoo:
    """Open the zoo named, else the default one, for a command that is not to fetch anything."""
    from nns.verbs import open_zoo

    zoo = open_zoo(path)
    zoo.offline = True
    return zoo


def load_registry() -> Registry:
    """Load the plugins."""
    from nns.plugins import installed_plugins

    return installed_plugins()
