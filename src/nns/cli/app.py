"""The application: its commands, one file a noun."""

from __future__ import annotations

from typing import Annotated

import typer

from nns.cli import architectures, bench, data, demo, finetune, handover, plugins, repro, search, space, zoo

app = typer.Typer(
    name="nns",
    help="Neural Network Search: which already trained network should I start from, for these images?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"nns {version('nns')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Neural Network Search: which already trained network should I start from, for these images?

    Example: nns search ./mydata --max-params 5M
    """


app.command("demo")(demo.demo)
app.command("doctor")(data.doctor)
app.command("search")(search.search)
app.command("finetune")(finetune.finetune)
app.command("predict")(handover.predict)
app.command("export")(handover.export)
app.add_typer(zoo.app, name="zoo")
app.add_typer(space.app, name="space")
app.add_typer(bench.app, name="bench")
app.add_typer(repro.app, name="repro")
app.command("architectures")(architectures.architectures)
app.command("plugins")(plugins.plugins)
