"""The process in which a whole pickled module is unpickled: ``python -m nns.tans.unpickling FROM TO``.

Whatever code is in the file runs here and nowhere else. What comes out is a safetensors file of plain tensors, which
the process that asked for it can read without unpickling anything.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from nns.backends.checkpoint import read_state
from nns.errors import NnsError


def main(source: Path, target: Path) -> int:
    """Warn, unpickle, and write the tensors; on failure one line on stdout says why."""
    from safetensors.torch import save_file

    logging.basicConfig(format="warning: %(message)s", stream=sys.stderr, level=logging.WARNING)
    try:
        state = read_state(source, trust_pickle=True)
        save_file({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}, target)
    except NnsError as error:
        print(" ".join(str(error).split()))  # noqa: T201 - to whoever started this process
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
