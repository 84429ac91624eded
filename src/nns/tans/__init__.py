"""The published files of TANS, read into a zoo: ``p_mod_zoo.pt``, ``meta_train.pt``, ``meta_test_*.pt``, supernets.

The files come from strangers, and are pickles. :mod:`~nns.tans.archives` reads them without running
anything that is in them, :mod:`~nns.tans.layout` checks every number, and whole pickled modules are
only ever unpickled in a process of their own (:mod:`~nns.tans.supernets`), and only if asked to.

Jeong, Lee, Park, Hyung, Baek, Hwang: Task-Adaptive Neural Network Search with Meta-Contrastive Learning,
NeurIPS 2021, arXiv:2103.01495.
"""

from nns.tans.importing import TansImport, import_tans

__all__ = ["TansImport", "import_tans"]
