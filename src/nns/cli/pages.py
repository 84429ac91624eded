"""What the pages of ``--report`` share: one file that needs nothing else, in which every name is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.cli.text import one_line
from nns.errors import UsageError
from nns.files import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment


def check_report(path: Path, packages: Sequence[str]) -> None:
    """See before the work whether the page can be written.

    Raises:
        UsageError: If a package is not installed, or the folder is not there.
    """
    from importlib.util import find_spec

    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"--report needs {', '.join(missing)}, which is not installed: pip install 'nns[report]'")
    if path.is_dir():
        raise UsageError(f"--report {str(path)!r} is a folder; name a file, e.g. {str(path / 'report.html')!r}")
    if not path.parent.is_dir():
        raise UsageError(f"--report {str(path)!r}: there is no folder {str(path.parent)!r}")


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        UsageError: If it cannot be written.
    """
    try:
        write_whole(path, page)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from error


def environment() -> Environment:
    """Return what renders the templates beside this file; filters: ``count``, ``seconds``, ``percent``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from nns.quantities import format_count, format_seconds

    found = Environment(
        loader=PackageLoader("nns.cli", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_printable,
    )
    found.filters |= {"count": format_count, "seconds": format_seconds, "percent": _percent}
    return found


def _printable(value: Any) -> Any:
    """Make a text harmless to eyes; markup that is there already, and what jinja2 escapes afterwards, stay."""
    return one_line(value) if type(value) is str else value


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"
