"""AdamW 1e-3, weight decay 0.01, warm-up, cosine, label smoothing 0.1, batch 32, 20 epochs."""

from nns.finetuning.recipe import Recipe

RECIPE = Recipe()
