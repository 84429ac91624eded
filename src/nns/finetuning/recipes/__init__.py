"""The built-in recipes of ``nns finetune --recipe NAME``: each file of this folder is one, named after the file.

A recipe is added by a file here with a :class:`nns.finetuning.Recipe` called ``RECIPE``; nothing else names it. They
come in through the hook that plugins have, too.
"""

from __future__ import annotations

import pkgutil
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from nns.hookspecs import Register, hookimpl

if TYPE_CHECKING:
    from nns.finetuning.recipe import Recipe


def load_recipe(name: str) -> Recipe:
    """Load the recipe of a file of this folder."""
    recipe: Recipe = import_module(f"{__name__}.{name}").RECIPE
    return recipe


@hookimpl
def nns_register_recipes(register: Register) -> None:
    """Register a recipe for each file."""
    for found in pkgutil.iter_modules(__path__):
        register(found.name, partial(load_recipe, found.name))
