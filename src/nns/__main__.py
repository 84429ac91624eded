"""``python -m nns``: the command line without its script."""

from nns.cli import main

main()
