"""What Pillow and the libraries below it have to say about a file: kept for a finding, not printed.

Pillow warns by ``warnings`` and by ``logging``, and libtiff prints to stderr from C. What is said in a thread that
listens is kept; what Pillow says in other threads goes where it went before, what libtiff says there is lost.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_thread = threading.local()
_lock = threading.Lock()
_listeners = 0
_show: Callable[..., None] = warnings.showwarning
_filter: Any = None
_TIFF_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Keep what is said in this thread meanwhile, each text once, in the list that is given."""
    heard: list[str] = []
    before = getattr(_thread, "heard", None)
    _thread.heard = heard
    _start()
    try:
        yield heard
    finally:
        _stop()
        _thread.heard = before


def say(text: str) -> bool:
    """Add to what is heard in this thread; False if nobody listens."""
    heard: list[str] | None = getattr(_thread, "heard", None)
    if heard is None:
        return False
    text = " ".join(text.split())[:200]
    if text not in heard:
        heard.append(text)
    return True


def _start() -> None:
    """Hook in when the first thread listens: filters and ``showwarning`` are those of all threads."""
    global _listeners, _show, _filter
    with _lock:
        if not _listeners:
            _show, warnings.showwarning = warnings.showwarning, _showwarning
            warnings.filterwarnings("always", module=r"PIL\.")
            _filter = warnings.filters[0]
            logging.getLogger("PIL").addHandler(_handler)
        _listeners += 1


def _stop() -> None:
    global _listeners
    with _lock:
        _listeners -= 1
        if not _listeners:
            if warnings.showwarning is _showwarning:
                warnings.showwarning = _show
            if _filter in warnings.filters:
                warnings.filters.remove(_filter)  # type: ignore[attr-defined]  # it is a list
            logging.getLogger("PIL").removeHandler(_handler)


def _showwarning(message: Warning | str, *rest: Any, **more: Any) -> None:
    if not say(str(message)):
        _show(message, *rest, **more)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if not say(record.getMessage()) and logging.lastResort and len(logging.getLogger("PIL").handlers) == 1:
            logging.lastResort.handle(record)


_handler = _Handler(logging.WARNING)


@cache
def hear_tiff() -> None:
    """Have libtiff tell this module of errors, which it prints otherwise; done once, where it can be reached at all."""
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name, handler in (("TIFFSetErrorHandler", _on_error), ("TIFFSetWarningHandler", _on_warning)):
            function = getattr(library, name)
            function.argtypes, function.restype = [_TIFF_HANDLER], ctypes.c_void_p
            function(handler)
    except (OSError, AttributeError):  # linked into Pillow in a way that hides it: then it prints, as it did
        return


DAMAGED = "damaged: "
"""How a text begins that says that pixels are wrong; any other is of something beside them."""


def _tell(module: bytes | None, form: bytes, _arguments: int) -> None:
    # the arguments are a va_list, which cannot be read from here: the form says enough
    text = form.decode("utf-8", "replace")
    say(f"{DAMAGED}{(module or b'').decode('utf-8', 'replace')}: {text}")


def _tell_of_pixels(module: bytes | None, form: bytes, arguments: int) -> None:
    if module == b"JPEGLib":  # JPEG data within a TIFF; other warnings are of tags that nobody needs
        _tell(module, form, arguments)


_on_error, _on_warning = _TIFF_HANDLER(_tell), _TIFF_HANDLER(_tell_of_pixels)  # kept for as long as libtiff may call
