"""One test for each hook. docs/plugins.md cuts its examples from here."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nns.hookspecs
from nns import PluginError, UnknownNameError
from nns.data import Dataset
from nns.data.extractors import extractor_of, make_extractor
from nns.errors import DatasetError
from nns.finetuning import Recipe, named_recipe
from nns.plugins import load_plugins
from nns.searching.probes import make_probe
from nns.testing import ProbeContract

HOOKS = {name: value for name, value in vars(nns.hookspecs).items() if name.startswith("nns_")}

ZOO = '''
from pathlib import Path

from nns.plugins import Register, hookimpl


def our_zoo() -> Path:
    """Give the path of the file that lies beside this module in the package."""
    return Path(__file__).with_name("our-zoo.h5")


@hookimpl
def nns_register_zoos(register: Register) -> None:
    """Register the zoo."""
    register("ours", our_zoo)
'''

METHOD = '''
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nns.plugins import Register, hookimpl

if TYPE_CHECKING:
    from nns.space import SpaceMethod


def make_nearest(**settings: Any) -> SpaceMethod:
    """Make the method; its module, and numpy with it, is imported when it is first used."""
    from nearest import Nearest

    return Nearest(**settings)


@hookimpl
def nns_register_methods(register: Register) -> None:
    """Register the method."""
    register("nearest", make_nearest)
'''

NEAREST = '''
import numpy as np

from nns.space import SpaceMethod


class Nearest(SpaceMethod):
    """A space of one dimension in which all networks are alike."""

    name = "nearest"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def fit(self, data):
        self.tensors_ = {"datasets": np.ones((1, 1), np.float32)}
        self.history_ = []
        return self

    def embed_networks(self, blocks):
        return np.ones((len(next(iter(blocks.values()))), 1), np.float32)

    def embed_query(self, features, labels=None):
        return np.ones(1, np.float32)

    def similarity(self, query_embedding, network_embeddings):
        return network_embeddings @ query_embedding

    def ranking_vector(self, query_embedding):
        return self.weight * query_embedding

    def predict_accuracy(self, query_embedding, network_embeddings):
        return np.full(len(network_embeddings), 0.5, np.float32)
'''

EXTRACTOR = '''
from __future__ import annotations

from typing import TYPE_CHECKING

from nns.plugins import Register, hookimpl

if TYPE_CHECKING:
    from nns.data.extractors import Extractor


def make_colours() -> Extractor:
    """Make the extractor; its module, and numpy with it, is imported when it is first used."""
    from colours import Colours

    return Colours()


@hookimpl
def nns_register_extractors(register: Register) -> None:
    """Register the extractor under the name that zoos store beside its features."""
    register("colours@8", make_colours)
'''

COLOURS = '''
import numpy as np


class Colours:
    """An extractor: how light and how varied each of the three colours is."""

    name = "colours@8"
    feature_dim = 6
    image_size = 8

    def extract(self, images, progress=None):
        pixels = images.reshape(len(images), 3, self.image_size**2) / np.float32(255)
        if progress:
            progress(len(images), len(images))
        return np.concatenate([pixels.mean(axis=2), pixels.std(axis=2)], axis=1).astype(np.float32)
'''

FORMAT = '''
from __future__ import annotations

from typing import TYPE_CHECKING

from nns.plugins import Register, hookimpl

if TYPE_CHECKING:
    from nns.data.formats import Format


def make_listing() -> Format:
    """Make the format; its module is imported when a dataset is first opened."""
    from listing import ListingFormat

    return ListingFormat()


@hookimpl
def nns_register_formats(register: Register) -> None:
    """Register the format."""
    register("listing", make_listing)
'''

LISTING = '''
from pathlib import Path

from nns.data import Dataset, ImageItem
from nns.data.formats import Format
from nns.errors import DatasetError


class ListingFormat(Format):
    """A text file of lines ``CLASS PATH``, paths beside the file."""

    example = "a .lst"

    def can_open(self, data):
        return data.endswith(".lst") and Path(data).expanduser().is_file()

    def open(self, data):
        file = Path(data).expanduser().absolute()
        rows = [line.split(maxsplit=1) for line in file.read_text().splitlines() if line]
        if not rows or any(len(row) < 2 for row in rows):
            raise DatasetError(f"{data!r} is no listing; write lines of CLASS PATH")
        classes = tuple(sorted({name for name, _ in rows}))
        items = (ImageItem(file.parent / path, classes.index(name), None, path) for name, path in rows)
        return Dataset(file.stem, data, classes, tuple(sorted(items, key=lambda item: item.key)))
'''

EXTRACTOR_SUITE = """
import pytest
from colours import Colours

from nns.testing import ExtractorContract


class TestColours(ExtractorContract):
    @pytest.fixture
    def extractor(self):
        return Colours()
"""

FORMAT_SUITE = """
import os

import pytest
from listing import ListingFormat

from nns.testing import FormatContract, tiny_image_folder


class TestListingFormat(FormatContract):
    @pytest.fixture
    def opened(self, tmp_path):
        folder = tiny_image_folder(tmp_path)
        lines = [f"{image.parent.name} {image}" for image in sorted(folder.rglob("*.png"))]
        (tmp_path / "images.lst").write_text(os.linesep.join(lines))
        return ListingFormat(), str(tmp_path / "images.lst")
"""


PROBE = '''
from nns.plugins import Register, hookimpl


def make_centroid():
    from centroid import Centroid

    return Centroid()


@hookimpl
def nns_register_probes(register: Register) -> None:
    """Register the probe; its module is imported when it is first used."""
    register("centroid", make_centroid)
'''

CENTROID = '''
import numpy as np

from nns.searching.probes import Probe, checked


class Centroid(Probe):
    """The share of images that lie nearest to the mean of their own class."""

    name = "centroid"
    title = "nearest centroid"

    def score(self, features, labels):
        rows, members = checked(features, labels)
        means = np.stack([rows[members == k].mean(axis=0) for k in range(members.max() + 1)])
        nearest = ((rows[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        return float((nearest == members).mean())
'''

COMMAND = '''
import typer

from nns.plugins import Register, hookimpl


def count(zoo: str, json: bool = False) -> None:
    """Count the networks of a zoo.

    Example: nns count zoo.h5
    """
    import nns  # what is heavy is imported when the command runs

    with nns.Zoo(zoo) as opened:
        typer.echo(len(opened))


@hookimpl
def nns_register_commands(register: Register) -> None:
    """Register the command."""
    register("count", lambda: count)
    register("broken", lambda: 1 / 0)
'''


def test_nns_register_commands(install, tmp_path, plain_zoo):
    install("ourcommands", COMMAND)
    assert "count" in load_plugins().names("command")

    def nns(*words):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "nns", *words], capture_output=True, text=True, check=False, env=environment
        )

    helped = nns("--help")
    assert "Count the networks of a zoo." in helped.stdout
    assert "finetune" in helped.stdout
    assert nns("count", str(plain_zoo.path)).stdout.split() == [str(len(nns_zoo(plain_zoo.path)))]
    broken = nns("broken")
    assert (broken.returncode, broken.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in broken.stderr


def nns_zoo(path):
    from nns import Zoo

    return Zoo(path)


RECIPE = '''
from nns.plugins import Register, hookimpl


def make_gentle():
    from nns.finetuning import Recipe

    return Recipe(epochs=5, lr=1e-4)


@hookimpl
def nns_register_recipes(register: Register) -> None:
    """Register the recipe."""
    register("gentle", make_gentle)
'''


def test_nns_register_backends():
    """The plugin of plugins/nns-example, by its installed entry point."""
    registry = load_plugins()
    assert "example" in registry.names("backend")
    assert registry.backend("example").offers("plain-w8-d3")


def test_nns_register_zoos(install, tmp_path):
    install("ourzoo", ZOO)
    assert load_plugins().default_zoo() == tmp_path / "our-zoo.h5"


def test_nns_register_methods(install, tmp_path):
    install("ourmethod", METHOD)
    (tmp_path / "nearest.py").write_text(NEAREST)
    registry = load_plugins()
    assert "nearest" in registry.names("method")
    assert "nearest" not in sys.modules, "made at first use"
    method = registry.make("method", "nearest", weight=2.0)
    assert method.settings() == {"weight": 2.0}
    again = registry.make("method", "nearest", **method.settings()).load_tensors(method.fit(None).to_tensors())
    embedded = again.embed_networks({"graph": np.zeros((3, 2), np.float32)})
    assert again.score(again.embed_query(np.zeros((1, 2), np.float32)), embedded).tolist() == [2.0] * 3


def test_nns_register_probes(install, tmp_path):
    install("ourprobe", PROBE)
    (tmp_path / "centroid.py").write_text(CENTROID)
    registry = load_plugins()
    assert {"centroid", "ridge", "knn", "logme", "hscore"} <= set(registry.names("probe"))
    assert "centroid" not in sys.modules, "made at first use"
    suite = ProbeContract()
    suite.test_better_features_score_higher(make_probe(registry, "centroid"))
    with pytest.raises(UnknownNameError, match="did you mean 'ridge'"):
        make_probe(registry, "rigde")


def test_nns_register_recipes(install):
    install("ourrecipe", RECIPE)
    registry = load_plugins()
    assert set(registry.names("recipe")) == {"default", "gentle", "tans"}
    assert named_recipe("default", registry) == Recipe(augment="affine")
    assert named_recipe("gentle", registry) == Recipe(epochs=5, lr=1e-4)
    tans = named_recipe("tans", registry)
    assert (tans.optimizer, tans.lr, tans.weight_decay, tans.epochs) == ("sgd", 1e-2, 4e-5, 50)
    with pytest.raises(UnknownNameError, match="did you mean 'tans'"):
        named_recipe("tan", registry)


def test_a_factory_that_makes_no_recipe_is_named(install):
    install("ourrecipe", RECIPE.replace("Recipe(epochs=5, lr=1e-4)", "7"))
    with pytest.raises(PluginError, match="recipe 'gentle' is a int"):
        named_recipe("gentle", load_plugins())


def test_a_factory_that_makes_no_probe_is_named(install):
    install("ourprobe", PROBE.replace("    from centroid import Centroid\n\n    return Centroid()", "    return 7"))
    with pytest.raises(PluginError, match="probe 'centroid' is a int"):
        make_probe(load_plugins(), "centroid")


def test_nns_register_extractors(install, tmp_path, small_zoo):
    install("ourextractor", EXTRACTOR)
    (tmp_path / "colours.py").write_text(COLOURS)
    registry = load_plugins()
    assert "colours@8" in registry.names("extractor")
    assert "colours" not in sys.modules, "made at first use"
    record = Dataset.open(small_zoo.query).features(make_extractor("colours@8", registry))
    assert (record.extractor, record.features.shape) == ("colours@8", (20, 6))
    assert extractor_of([record], registry).name == "colours@8"


def test_nns_register_formats(install, tmp_path, small_zoo):
    install("ourformat", FORMAT)
    (tmp_path / "listing.py").write_text(LISTING)
    registry = load_plugins()
    assert "listing" in registry.names("format")
    assert "listing" not in sys.modules, "made at first use"
    images = sorted(small_zoo.query.glob("*/*.png"))
    (tmp_path / "digits.lst").write_text("".join(f"{image.parent.name} {image}\n" for image in images))
    dataset = Dataset.open(tmp_path / "digits.lst", registry=registry)
    assert dataset.digest == Dataset.open(small_zoo.query).digest
    with pytest.raises(DatasetError, match="give a folder, a .csv, torchvision:NAME or a .lst"):
        Dataset.open(tmp_path / "nowhere", registry=registry)


@pytest.fixture(params=[EXTRACTOR_SUITE, FORMAT_SUITE], ids=["extractor", "format"])
def suite(request, tmp_path):
    (tmp_path / "colours.py").write_text(COLOURS)
    (tmp_path / "listing.py").write_text(LISTING)
    (tmp_path / "test_ours.py").write_text(request.param)
    return tmp_path / "test_ours.py"


def test_the_suites_pass_in_the_hands_of_an_author(suite):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
    done = subprocess.run(command, cwd=suite.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_hook_has_a_test():
    assert {f"test_{name}" for name in HOOKS} <= globals().keys()
    assert len(HOOKS) == 8


def test_every_hook_is_documented_with_its_exact_signature():
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name, hook in HOOKS.items():
        signature = str(inspect.signature(hook)).replace("'", "")
        assert f"{name}{signature}" in page
