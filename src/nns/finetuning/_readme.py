"""The read-me of a fine-tuned network, for people."""

from __future__ import annotations

import math

from nns.data.rendering import Rendering
from nns.finetuning.card import Card
from nns.quantities import counted

_SHOWN_CLASSES = 20

_TEMPLATE = """\
# {name}, fine-tuned on {dataset}

Tells {count} classes apart: {classes}.

| | |
|---|---|
| validation accuracy | {val} (the network was chosen by it) |
| test accuracy | {test} |
| macro F1 on the test split | {macro_f1} |
| probabilities | {calibrated} |
| parameters | {params:,} |
| multiply-accumulates an image | {macs:,} |
| input | {size} x {size} pixels, RGB |
| training | {epochs} on {device}{before}; {seconds:.0f} s with all other candidates |
| started from | network `{network}` (backend `{backend}`), trained on {source} |
| licence of the weights | {license} |
{taught}
## Use

    nns predict {here} IMAGE...

```python
from nns.finetuning import load_handover, predict
from nns.plugins import load_plugins

tuned = load_handover("{here}", load_plugins())
predictions, skipped = predict(tuned, ["image.png"])
print(predictions[0].label, predictions[0].probability)
```

`tuned.module` is a `torch.nn.Module`; its input is float32 (n, 3, {size}, {size}), scaled to 0..1, less the
mean {mean}, divided by {std}, and the temperature is not in its logits. `nns export {here}
--format onnx` writes a file in which all that is built in.

{rendered}`card.json` has everything that is known about it; `classes.txt` the class names in the order of the outputs.
"""


def _rendered(rendering: Rendering | None) -> str:
    """Say how images become 8 bits of RGB where that is not what everyone does."""
    said = []
    if rendering is not None and rendering.ranges():
        said.append(f"values of more than 8 bits are scaled, {rendering.ranges()}")
    if rendering is not None and rendering.ground():
        said.append(f"transparency is laid onto {rendering.ground()}")
    return f"Before that, as in the images that it learned from, {' and '.join(said)}.\n\n" if said else ""


def _calibrated(card: Card) -> str:
    found = card.calibration
    if found is None or not found.fitted:
        return "not calibrated"
    return f"calibrated on {found.images} validation images: logits are divided by {found.temperature:g}"


def _before(card: Card) -> str:
    """Say how many epochs of the ladder came before the last training."""
    before = card.tried[0].rungs[:-1] if card.tried else ()
    return f", after {' + '.join(map(str, before))} of the ladder" if before else ""


def _taught(card: Card) -> str:
    if card.taught_by is None:
        return ""
    who, unlabelled = card.taught_by, card.taught_by.get("unlabelled")
    more = f", also on {unlabelled} images without labels" if unlabelled else ""
    return f"| taught by | network `{_line(str(who.get('network')))}` ({_line(str(who.get('architecture')))}){more} |\n"


def readme(card: Card, here: str = "DIR") -> str:
    """Write the read-me."""
    shown = [_line(name) for name in card.classes[:_SHOWN_CLASSES]]
    more = len(card.classes) - len(shown)
    return _TEMPLATE.format(
        name=_line(card.spec.name),
        dataset=_line(card.dataset),
        count=len(card.classes),
        classes=", ".join(shown) + (f" and {more} more" if more else ""),
        val="unknown" if math.isnan(card.val_accuracy) else f"{card.val_accuracy:.1%}",
        test="no test split" if card.test_accuracy is None else f"{card.test_accuracy:.1%}",
        macro_f1="no test split" if card.macro_f1 is None else f"{card.macro_f1:.1%}",
        calibrated=_calibrated(card),
        params=card.params,
        macs=card.macs,
        size=card.preprocessing.size,
        rendered=_rendered(card.rendering),
        epochs=counted(card.epochs, "epoch"),
        before=_before(card),
        device=card.device,
        seconds=card.seconds,
        network=_line(card.network),
        backend=_line(card.spec.backend),
        source=_line(card.source_dataset),
        license=_line(card.license),
        taught=_taught(card),
        here=here,
        mean=card.preprocessing.mean,
        std=card.preprocessing.std,
    )


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
