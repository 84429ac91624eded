"""The published recipe of TANS: SGD 1e-2, momentum 0.9, weight decay 4e-5, cosine, batch 32, 50 epochs."""

from nns.finetuning.recipe import Recipe

RECIPE = Recipe(
    epochs=50,
    optimizer="sgd",
    lr=1e-2,
    weight_decay=4e-5,
    warmup=0.0,
    label_smoothing=0.0,
    batch_size=32,
    balanced=False,
)
