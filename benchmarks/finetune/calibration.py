"""How many validation images a temperature takes: error of probabilities on the test split, with and without it.

    python benchmarks/finetune/calibration.py MODEL:DATA...

Each MODEL is a folder that `nns finetune DATA -o MODEL` wrote. The temperature is fitted on random parts of the
validation split, 50 times each; printed are means over models of expected calibration error and cross-entropy.
"""

import sys

import numpy as np
from scipy.special import logsumexp

from nns.data import Dataset
from nns.finetuning import load_handover
from nns.finetuning.calibration import calibration_error, fit_temperature, softmax
from nns.finetuning.predicting import logits_of

SIZES = (10, 20, 30, 50, 100, 200)


def cross_entropy(logits, labels, temperature):
    """Mean cross-entropy in nats of logits divided by a temperature."""
    scaled = logits.astype(float) / temperature
    return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean())


def measure(pair):
    """Error of probabilities and cross-entropy of one network, by how many validation images the fit had."""
    model, data = pair.rsplit(":", 1)
    tuned = load_handover(model)
    splits, _ = Dataset.of(data).decode_splits(tuned.card.preprocessing.size, seed=tuned.card.seed)
    val, test = (logits_of(tuned, np.asarray(part.images[: len(part)])) for part in (splits.val, splits.test))
    rng, rows = np.random.default_rng(0), {}

    def both(temperature):
        chances = softmax(test, temperature)
        return calibration_error(chances, splits.test.labels), cross_entropy(test, splits.test.labels, temperature)

    rows[0] = [both(1.0)]
    for size in (*(s for s in SIZES if s < len(val)), len(val)):
        some = [rng.choice(len(val), size, replace=False) for _ in range(50)]
        rows[size] = [both(fit_temperature(val[i], splits.val.labels[i])) for i in some]
    rows["all"] = rows[len(val)]
    chances = softmax(test, fit_temperature(val, splits.val.labels)).astype(float)
    chances /= chances.sum(axis=1, keepdims=True)
    drawn = [(rng.random((len(test), 1)) > chances.cumsum(axis=1)).sum(axis=1) for _ in range(50)]
    noise = np.mean([calibration_error(chances, labels.clip(max=chances.shape[1] - 1)) for labels in drawn])
    print(f"{model}: {len(val)} validation and {len(test)} test images; honest probabilities would be {noise:.1%} off")
    return rows


found = [measure(pair) for pair in sys.argv[1:]]
print(f"{len(found)} models\nvalidation images   error of probabilities   cross-entropy   worse than without")
for size in (0, *SIZES, "all"):
    of = [rows for rows in found if size in rows]
    ece, loss = np.mean([np.mean(rows[size], axis=0) for rows in of], axis=0)
    worse = np.mean([np.mean([row[1] > rows[0][0][1] for row in rows[size]]) for rows in of])
    print(f"{size!s:>17}   {ece:22.1%}   {loss:13.3f}   {worse:18.0%}   ({len(of)} models)")
