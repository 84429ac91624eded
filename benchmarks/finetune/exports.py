"""What ONNX in floats and in integers is worth: networks of a zoo on the datasets that they were trained on.

python benchmarks/finetune/exports.py ZOO BANK ID:TASK...
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from nns.finetuning import export
from nns.finetuning.finetune_zoo import export_network
from nns.zoo import Zoo


def main() -> None:
    """Print a row of a Markdown table for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("bank", type=Path)
    parser.add_argument("pairs", nargs="+", metavar="ID:TASK")
    args = parser.parse_args()
    zoo = Zoo(args.zoo)
    for pair in args.pairs:
        network, task = pair.split(":")
        with tempfile.TemporaryDirectory() as folder:
            entry, model = export_network(zoo, network, Path(folder) / "model")
            began = time.process_time()
            done = export(model, "onnx", int8=True, data=args.bank / task)
            spent = time.process_time() - began
        cells = [f"`{entry.spec.name}` on {task}, {done.images} images"]
        for what in ("accuracy", "latency_ms", "bytes"):
            cells += [f"{getattr(check, what):.4g}" for check in done.checks]
        cells += [f"{done.checks[-1].mean_difference:.2f}", f"{spent:.0f} s"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
