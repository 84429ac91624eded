"""What processes that torchrun starts do in a test: ``_together.py FOLDER WHAT``."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.finetuning.conftest import RECIPE, digits_arrays, entrant_of

from nns.finetuning import LadderEvent, climb
from nns.finetuning.checkpoint import Checkpoint
from nns.finetuning.distributed import joined_world

SAME = replace(RECIPE, epochs=2, still_norms=True, lr=1e-3)


def main() -> None:
    """Train, and write what came out; each process its own file."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    events: list[str] = []

    def note(event: LadderEvent) -> None:
        events.append(event.kind)

    with joined_world("cpu") as world:
        if what == "fails" and world.rank == 1:
            time.sleep(1)
            os._exit(9)
        if what in {"same", "fails"}:
            result = climb([entrant_of(8)], lambda _: digits_arrays(), SAME, on_event=note)
        else:
            entrants = [entrant_of(8), entrant_of(12), entrant_of(4)]
            checkpoint = Checkpoint(folder / f"run-{world.rank}", {})
            # clocks of two processes never say the same
            recipe = replace(RECIPE, epochs=1000, ema=0.5, augment="affine", mixup=0.2)
            seconds = 3.0 + world.rank
            result = climb(
                entrants,
                lambda _: digits_arrays(),
                recipe,
                budget_seconds=seconds,
                on_event=note,
                checkpoint=checkpoint,
            )
        found = {
            "state": result.module.state_dict(),
            "history": [(epoch.train_loss, epoch.val_loss, epoch.val_accuracy) for epoch in result.history],
            "tried": [(tried.network, tried.epochs, tried.stopped) for tried in result.tried],
            "events": events,
            "files": sorted(path.name for path in folder.glob("run-*")),
        }
        torch.save(found, folder / f"{world.rank}.pt")


if __name__ == "__main__":
    main()
