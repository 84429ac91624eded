"""``nns serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from nns.cli import completion, options


def serve(
    zoo: options.ReadZoo = None,
    host: Annotated[str, Option("--host", help="Address to listen on; others than this machine need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, Option("--port", help="Port; 0: any that is free.")] = 8000,
    token_file: Annotated[
        Path | None, Option("--token-file", metavar="FILE", help="What clients must know; default $NNS_TOKEN.")
    ] = None,
    workers: Annotated[int, Option("--workers", metavar="N", help="Processes that answer.")] = 1,
    space: Annotated[
        str | None,
        Option("--space", metavar="NAME", help="Fitted space to rank by.", autocompletion=completion.spaces),
    ] = None,
    rate: Annotated[float, Option("--rate", metavar="N", help="Searches a second of one address; 0: any number.")] = 20,
    max_request: Annotated[str, Option("--max-request", metavar="SIZE", help="Bytes of a request at most.")] = "64MB",
    max_images: Annotated[int, Option("--max-images", metavar="N", help="Images of a request at most.")] = 200,
    max_time: Annotated[
        str, Option("--max-time", metavar="TIME", help="Time for a request to arrive, and for its answer.")
    ] = "30s",
    tls_cert: Annotated[Path | None, Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, Option("--tls-key", metavar="FILE", help="Its key.")] = None,
) -> None:
    """Answer searches of others: by features or images, over HTTP, as JSON. Needs pip install 'nns[serve]'.

    A zoo that takes the place of this one, or is merged, is served from then on.

    Example: nns serve team.h5 --port 8000
    """
    from nns.cli.output import note
    from nns.quantities import duration_of, parse_bytes
    from nns.serving.running import check_packages
    from nns.serving.running import serve as run_serve
    from nns.serving.settings import Settings, read_token
    from nns.verbs import open_zoo

    check_packages()
    settings = Settings(
        zoo=open_zoo(zoo).path,
        space=space,
        host=host,
        port=port,
        token=read_token(token_file),
        workers=workers,
        rate=rate,
        max_bytes=parse_bytes(max_request),
        max_images=max_images,
        seconds=duration_of(max_time) or 0.0,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    run_serve(settings, note)
