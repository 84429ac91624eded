"""Servers within this process, each on a port of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

collect_ignore = (
    [] if find_spec("fastapi") and find_spec("uvicorn") else ["test_client.py", "test_command.py", "test_server.py"]
)
"""Without the extra there is nothing to run."""


@dataclass
class Running:
    """A server, and a way to ask it."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return status, document and headers."""
        request = urllib.request.Request(self.url + path, data=body)
        if body is not None and "content_type" not in headers:
            headers["content_type"] = "application/json"
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
                return response.status, json.loads(response.read()), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), dict(error.headers)


@contextmanager
def running(app: Any, **config: Any) -> Iterator[Running]:
    """Run an ASGI application in a thread."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False, **config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        port = listening.getsockname()[1]
        thread.start()
        until = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield Running(port)
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def _serving(zoo: Path, **settings: Any) -> Iterator[Running]:
    from nns.serving.app import make_app
    from nns.serving.rates import Rates
    from nns.serving.settings import Settings

    made = Settings(zoo, **{"rate": 0.0, **settings})
    with running(make_app(made, Rates(made.rate))) as server:
        yield server


Serving = Callable[..., Any]


@pytest.fixture
def serving() -> Serving:
    """Serve a zoo: ``with serving(path, token=...) as server``."""
    return _serving


@pytest.fixture
def run_app() -> Callable[..., Any]:
    """Run any ASGI application, as a server that is not to be trusted."""
    return running


@pytest.fixture
def question(small_zoo: Any) -> dict[str, Any]:
    """The features of the query dataset, as a client sends them."""
    import base64

    import numpy as np

    from nns import Zoo
    from nns.data import Dataset

    with Zoo(small_zoo.path) as zoo:
        dataset = Dataset.open(small_zoo.query)
        record = dataset.features(zoo.extractor)
    features = np.ascontiguousarray(record.features, "<f4")
    return {
        "extractor": record.extractor,
        "features": {"shape": features.shape, "data": base64.b64encode(features.tobytes()).decode()},
        "labels": record.labels.tolist(),
        "images": len(dataset),
        "digest": dataset.digest,
    }
