"""``nns zoo import-tans``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from nns.cli import options
from nns.quantities import counted

NAMED = 3
"""Files that are named on the terminal at most; ``--json`` has them all."""


def import_tans(
    folder: Annotated[
        Path, Argument(metavar="DIR", help="Folder with p_mod_zoo.pt, meta_train.pt, meta_test_*.pt, supernets.")
    ],
    output: Annotated[Path, Option("--output", "-o", metavar="ZOO", help="Zoo file to write, or to add to.")],
    trust_pickle: Annotated[
        bool,
        Option("--trust-pickle", help="Unpickle supernets, in a process of its own, which can run any code in them."),
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """Make a zoo of the files that TANS was published with.

    Networks come without weights, unless their supernets (NAME.pt, from ofa_nets.tar.gz) are in DIR or below it and
    --trust-pickle is given. Nothing else is ever unpickled.

    Example: nns zoo import-tans ./tans -o tans.h5
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.tans import import_tans as run_import
    from nns.zoo import Zoo

    with Zoo(output, must_exist=False) as zoo:
        with progress_bar() as update:
            done = run_import(folder, zoo, trusted=trust_pickle, progress=update)
        networks, digest = len(zoo), zoo.store.digest()
    if done.refused:
        named = ", ".join(str(path) for path in done.refused[:NAMED]) + (", …" if len(done.refused) > NAMED else "")
        note(
            f"refused {counted(len(done.refused), 'supernet')} ({named}): whole pickled modules can run any code; "
            "give --trust-pickle if you know where they come from"
        )
    if json:
        keys = ("added", "unmatched", "datasets", "with_weights", "supernets", "refused")
        found = {key: getattr(done, key) for key in keys} | {
            "published": done.networks,
            "test_datasets": done.test_sets,
        }
        print_json({"zoo": output, "networks": networks, **found, "digest": digest})
        return
    note(
        f"{output}: {counted(networks, 'network')}, {done.added} new, of {counted(done.datasets, 'dataset')} and "
        f"{done.test_sets} more for tests; {done.with_weights or 'none'} with weights"
    )
    if done.unmatched:
        note(f"{counted(done.unmatched, 'network')} of datasets that meta_train.pt lacks: no space is fitted to them")
    note(f"next: nns space fit {output} --method tans")
