"""``--report FILE.html`` of ``nns evaluate``: one page that needs nothing else, no network either."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nns.cli.pages import environment, write_page

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nns.finetuning import Card, Epoch
    from nns.finetuning.calibration import Reliability
    from nns.finetuning.evaluating import Evaluation

MOST_CLASSES = 40
"""Classes up to which the whole confusion matrix is shown."""
PAIRS = 10
"""Pairs of classes that are listed as confused."""
WIDTH, HEIGHT, LEFT = 640, 200, 44
SIDE = 320
"""Side of the reliability diagram."""


@dataclass(frozen=True)
class Curve:
    """A line of validation accuracies as what SVG draws."""

    points: str
    lines: tuple[tuple[float, str], ...]
    first: float
    last: float
    width: int = WIDTH
    height: int = HEIGHT

    @classmethod
    def of(cls, history: tuple[Epoch, ...]) -> Curve | None:
        """Draw the epochs that were measured; None if there are fewer than two."""
        known = [epoch.val_accuracy for epoch in history if not math.isnan(epoch.val_accuracy)]
        if len(known) < 2:
            return None
        step = (WIDTH - LEFT - 10) / (len(known) - 1)
        points = " ".join(f"{LEFT + step * n:.1f},{_height(value):.1f}" for n, value in enumerate(known))
        lines = tuple((_height(share), f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
        return cls(points, lines, known[0], known[-1])


@dataclass(frozen=True)
class Trust:
    """The reliability diagram as what SVG draws, measured from the lower left corner.

    Attributes:
        points: Of each bin where it is, how high, and both ends of the interval.
    """

    points: tuple[tuple[float, float, float, float], ...]
    lines: tuple[tuple[float, str], ...]
    low: float
    high: float
    side: int = SIDE

    @classmethod
    def of(cls, found: Reliability) -> Trust:
        """Draw the bins."""
        points = tuple(
            (_along(each.confidence), _along(each.accuracy), _along(each.interval[0]), _along(each.interval[1]))
            for each in found.bins
        )
        lines = tuple((_along(share), f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
        return cls(points, lines, _along(0.0), _along(1.0))


def _along(share: float) -> float:
    return round(LEFT + (SIDE - LEFT - 20) * share, 1)


def _height(share: float) -> float:
    return 10 + (HEIGHT - 20) * (1 - share)


def write_report(found: Evaluation, card: Card, path: Path, command: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: If it cannot be written.
    """
    write_page(path, report_page(found, card, command))


def report_page(found: Evaluation, card: Card, command: str) -> str:
    """Return the page: what is right, class by class, what is confused, the worst mistakes, how it was learned."""
    from nns import __version__

    pictures = [(mistake, _png(pixels)) for mistake, pixels in zip(found.mistakes, found.pictures, strict=False)]
    return (
        environment()
        .get_template("evaluation_report.html.j2")
        .render(
            found=found,
            card=card,
            classes=[each.name for each in found.classes],
            most=MOST_CLASSES,
            shade=_shade,
            pictures=pictures,
            pairs=found.confused(PAIRS),
            unseen=[each.name for each in found.classes if not each.images],
            curve=Curve.of(card.history),
            trust=Trust.of(found.calibration),
            command=command,
            version=__version__,
        )
    )


def _shade(count: int, of: int, right: bool) -> str:
    """Colour a cell by its share of the row: green where it is right, red where it is not."""
    share = count / of if of else 0.0
    return f"rgba({'11, 110, 79' if right else '200, 85, 61'}, {0.7 * share:.2f})"


def _png(pixels: NDArray[np.uint8]) -> str:
    """Write (3, size, size) as a PNG in base64."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
