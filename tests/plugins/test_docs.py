"""docs/plugins.md and docs/backends.md say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from nns_example import ExampleBackend

import nns.testing
from nns.backends import Backend
from nns.backends.ofa import space, supernet
from nns.backends.timm import PRETRAINED_CHOICES, SMALL_CHOICES, weights
from nns.plugins._loading import ENTRY_POINT_GROUP, LOAD_VARIABLE

ROOT = Path(__file__).parents[2]
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BACKENDS = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
SNIPPET = re.compile(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPET.findall(PLUGINS), ids=lambda snippet: snippet[0])
def test_snippets_are_cut_from_files_that_run(snippet):
    path, text = snippet
    source = (ROOT / path).read_text(encoding="utf-8")
    # "…" on a line of its own stands for what was left out
    for part in re.split(r"^ *…\n", text, flags=re.MULTILINE):
        assert part.strip("\n") in source, f"docs/plugins.md shows what is not in {path}:\n{part}"


def test_every_python_snippet_is_cut_from_a_file():
    assert len(SNIPPET.findall(PLUGINS)) == len(re.findall(r"^```(?:python|toml)$", PLUGINS, re.MULTILINE)) >= 8


def test_every_method_of_a_backend_is_explained():
    for name, value in vars(Backend).items():
        if callable(value) and not name.startswith("_"):
            assert f"`{name}`" in PLUGINS, name
            if getattr(value, "__isabstractmethod__", False):
                assert f"def {name}(" in PLUGINS, name


def test_names_that_plugins_depend_on():
    for word in (ENTRY_POINT_GROUP, LOAD_VARIABLE, *nns.testing.__all__):
        assert f"`{word}`" in PLUGINS
    project = tomllib.loads((ROOT / "plugins/nns-example/pyproject.toml").read_text())["project"]
    assert project["entry-points"][ENTRY_POINT_GROUP] == {ExampleBackend.name: "nns_example"}


def test_backends_page_names_sources_choices_and_sizes():
    sources = (weights.RANDOM, weights.IMAGENET, weights.FILE, "ofa_net", supernet.OFA_DIR_VARIABLE)
    files = supernet.PRETRAINED.values()
    packages = [package.replace("_", "-") for package, _ in weights.PACKAGES.values()]
    for word in (*sources, *files, *packages, *PRETRAINED_CHOICES, *SMALL_CHOICES):
        assert f"`{word}`" in BACKENDS, word
    assert ", ".join(f"{width:g}" for width in space.WIDTHS) in BACKENDS


def test_names_on_the_backends_page_exist():
    import timm

    for name in re.findall(r"timm:([\w*?]+)", BACKENDS):
        if name not in {"NAME", "PATTERN"}:
            assert timm.list_models(name), name
