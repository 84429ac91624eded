"""How the cells of a matrix are made: splits, fine-tuning, head-only training."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from nns.finetuning.recipe import Recipe
from nns.types import Json

HEAD_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties C of the head-only classifier; the best on the validation split is taken."""


@dataclass(frozen=True)
class CellRecipe:
    """Fine-tuning of one network on one dataset.

    Attributes:
        epochs: Epochs of full fine-tuning; the best on the validation split counts.
        lr: Peak learning rate of AdamW, with warm-up and cosine as in :class:`nns.finetuning.recipe.Recipe`.
        batch_size: Images a step.
        max_images: Training images at most, drawn by class.
        max_test: Test images at most, drawn by class.
        test: Share of each class for the test split, where the dataset has none.
        data_seed: Of splits and drawn images, the same for all networks and seeds of training.
    """

    epochs: int = 8
    lr: float = 1e-3
    batch_size: int = 32
    max_images: int = 256
    max_test: int = 400
    test: float = 0.35
    data_seed: int = 0

    def training(self, device: str) -> Recipe:
        """Return the recipe of full fine-tuning."""
        return Recipe(epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, device=device)

    def document(self) -> Json:
        """Return all of it, JSON-able, as it stands in the matrix."""
        return {**asdict(self), "optimizer": "adamw", "head_penalties": list(HEAD_PENALTIES)}
