"""fastai's default: `vision_learner` and `fine_tune`, `Resize` and `aug_transforms` as its tutorials have them."""

from __future__ import annotations

from math import ceil

import fastai
import peer
import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    ImageDataLoaders,
    Learner,
    Resize,
    accuracy,
    aug_transforms,
    parent_label,
    set_seed,
    vision_learner,
)

PACE_IMAGES = 128
"""Training images that the pace is measured on: two batches."""


def main() -> None:
    """Measure the pace, fine-tune for as many epochs as fit, test once."""
    torch.set_num_threads(1)
    set_seed(peer.SEED)
    size = peer.SETTINGS["size"]
    dls = ImageDataLoaders.from_folder(
        peer.FOLDER, train="train", valid="val", item_tfms=Resize(size), batch_tfms=aug_transforms(), num_workers=0
    )
    test, labels = peer.images("test")
    frozen, whole, forward = _pace(dls, size)
    set_seed(peer.SEED)
    learn = _learner(dls)
    epochs = peer.fitting_epochs(whole, before=frozen, after=forward * len(test))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(epochs)
        val = float(learn.recorder.values[-1][2])  # before `get_preds`, which empties it
        said, _ = learn.get_preds(dl=dls.test_dl(test))
    right = [dls.vocab[index] == label for index, label in zip(said.argmax(1).tolist(), labels, strict=True)]
    peer.finish(test=sum(right) / len(right), val=val, epochs=1 + epochs, version=fastai.__version__)


def _learner(dls: ImageDataLoaders) -> Learner:
    return vision_learner(dls, "tf_efficientnet_lite0", metrics=accuracy)


def _pace(dls: ImageDataLoaders, size: int) -> tuple[float, float, float]:
    """Return the seconds of an epoch with the body frozen, of one without, and of the test of one image."""
    began = peer.process_time()
    share = min(1.0, PACE_IMAGES / len(dls.train_ds))
    train = list(dls.train_ds.items)[: ceil(share * len(dls.train_ds))]
    val = list(dls.valid_ds.items)[: ceil(share * len(dls.valid_ds))]
    few = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(dls.vocab))),
        get_items=lambda _: train + val,
        splitter=lambda _: (list(range(len(train))), list(range(len(train), len(train) + len(val)))),
        get_y=parent_label,
        item_tfms=Resize(size),
        batch_tfms=aug_transforms(),
    ).dataloaders(peer.FOLDER, num_workers=0, bs=min(64, len(train)))
    learn = _learner(few)
    seconds = []
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)  # the first pays for allocations
        for unfreeze in (False, True):
            if unfreeze:
                learn.unfreeze()
            start = peer.process_time()
            learn.fit(1)
            seconds.append((peer.process_time() - start) / share)
        start = peer.process_time()
        learn.get_preds(dl=few.test_dl(val))
        forward = (peer.process_time() - start) / len(val)
    peer.not_counted(peer.process_time() - began)
    return seconds[0], seconds[1], forward


main()
