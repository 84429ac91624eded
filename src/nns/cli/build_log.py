"""The log of a build: a line of JSON for each event, whole and on disk at once."""

from __future__ import annotations

import errno
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from nns.building import BuildEvent, BuildReport, TransferItem
from nns.cli.text import ascii_json
from nns.errors import UsageError


def log_line(event: BuildEvent | BuildReport, at: datetime) -> str:
    """Write an event, or the report at the end, as one line of JSON with the time ``at``."""
    line: dict[str, Any] = {"time": _time_stamp(at)}
    if isinstance(event, BuildReport):
        return _json({**line, "event": "end", **event.to_dict()})
    line |= {
        "event": event.kind,
        "seconds": round(event.seconds, 3),
        "done": event.done,
        "total": event.total,
        "transfers": event.transfers,
        "transfers_total": event.transfers_total,
        "running": event.running,
        "images": event.images,
    }
    if (item := event.item) is not None:
        ids = [item.network_id] if isinstance(item, TransferItem) else list(item.ids)
        line |= {"dataset": item.dataset_name, "backend": item.backend}
        line |= {"architectures": list(item.architectures), "networks": ids}
    if (result := event.result) is not None:
        line["accuracies"] = [None if math.isnan(each) else round(each, 6) for each in result.accuracies]
        line |= {"item_seconds": round(result.seconds, 3), "item_images": result.images}
    if event.message:
        line["message"] = event.message
    if event.to_count:
        line |= {"counted": event.counted, "to_count": event.to_count}
    return _json(line)


def error_line(error: Exception, at: datetime) -> str:
    """Write what ended a build at the time ``at`` as one line of JSON."""
    return _json({"time": _time_stamp(at), "event": "error", "message": str(error)})


def _time_stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _json(line: dict[str, Any]) -> str:
    return ascii_json(line)


class BuildLog:
    """Whole lines at the end of a file, on disk at once.

    Args:
        path: The file; lines that are there stay.

    Raises:
        UsageError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = path.open("ab", buffering=0)
            self.cut = path.is_file() and not _ends_with_newline(path)  # the last run was killed
        except OSError as error:
            raise UsageError(f"cannot write the log {str(path)!r}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, line: str) -> str:
        """Write a line, and say what is wrong if that fails; after that nothing is written."""
        if self.file.closed:
            return ""
        whole = ("\n" if self.cut else "") + line + "\n"
        self.cut = False
        try:
            content = whole.encode()
            if self.file.write(content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.close()
            return f"cannot write the log {str(self.path)!r} any more: {error.strerror}; the build goes on without"
        return ""


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return file.read(1) in (b"", b"\n")
