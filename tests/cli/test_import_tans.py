"""``nns zoo import-tans``, and what can be done with the zoo that it makes."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from nns.backends.ofa import supernet

DATASETS, NETWORKS = 4, 3


@pytest.fixture
def folder(tmp_path):
    """The published files, for four datasets."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    rows = [f"set_{d}" for d in range(DATASETS) for _ in range(NETWORKS)]
    choices = ((3, 5, 7), 20), ((3, 4, 6), 20), ((2, 3, 4), 5)
    zoo = {
        "dataset": rows,
        "acc": [np.float64(rng.uniform(0.3, 0.9)) for _ in rows],
        "topol": [[v for choice, n in choices for v in rng.choice(choice, n).tolist()] for _ in rows],
        "f_emb": [torch.randn(1536) for _ in rows],
        "n_params": [int(rng.integers(3_000_000, 7_000_000)) for _ in rows],
    }
    sets = {
        f"set_{d}": {
            "x_query_train": [torch.randn(512) for _ in range(6)],
            "x_query_test": [torch.randn(512) for _ in range(6)],
            "clss": ["a", "b", "c"],
            "nclss": 3,
        }
        for d in range(DATASETS)
    }
    folder = tmp_path / "tans"
    folder.mkdir()
    torch.save(zoo, folder / "p_mod_zoo.pt")
    torch.save(sets, folder / "meta_train.pt")
    return folder


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Random weights stand for those of ImageNet: a search works as well, and finds something else."""
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.setenv("NNS_RESNET18", str(tmp_path / "resnet18.pth"))


@pytest.mark.parametrize("zoo", ["new.h5", "old.h5"])
@pytest.mark.parametrize("damaged", ["p_mod_zoo.pt", "meta_train.pt", "meta_test_more.pt", "set_3.pt"])
def test_a_damaged_file_leaves_the_zoo_as_it_was(damaged, zoo, folder, nns, tmp_path):
    zoo = tmp_path / zoo
    if zoo.name == "old.h5":
        assert nns("zoo", "import-tans", folder, "-o", zoo).code == 0
    whole = (folder / "meta_train.pt").read_bytes()
    path = folder / damaged
    data = path.read_bytes() if path.exists() else whole
    path.write_bytes(data[: len(data) // 2])
    before = {each: each.read_bytes() for each in tmp_path.glob("*.h5*")}
    done = nns("zoo", "import-tans", folder, "-o", zoo)
    assert done.code in {2, 4}
    assert done.err.rpartition("\n")[0].rpartition("\n")[2].startswith("error: ")
    assert {each: each.read_bytes() for each in tmp_path.glob("*.h5*")} == before


def test_from_the_published_files_to_a_search(folder, nns, tmp_path, weights, write_digits):
    zoo, data = tmp_path / "tans.h5", write_digits(tmp_path / "digits", (0, 1), per_class=4)
    done = nns("zoo", "import-tans", folder, "-o", zoo, "--json")
    assert done.code == 0, done.err
    assert (done.json["networks"], done.json["added"], done.json["published"]) == (12, 12, 12)
    assert (done.json["datasets"], done.json["test_datasets"], done.json["with_weights"]) == (4, 0, 0)
    assert nns("zoo", "verify", zoo).code == 0
    assert nns("zoo", "info", zoo, "--json").json["digest"] == done.json["digest"]
    listed = nns("zoo", "ls", zoo, "--json", "--sort", "params").json["networks"]
    assert len(listed) == 12
    shown = nns("zoo", "show", zoo, listed[0]["id"], "--json")
    assert shown.json["params"] == listed[0]["params"]
    assert nns("zoo", "show", zoo, listed[0]["id"]).code == 0
    assert nns("space", "fit", zoo, "--method", "tans", "--epochs", 50).code == 0
    limit = listed[5]["params"]
    found = nns("search", data, "--zoo", zoo, "--space", "tans", "--max-params", limit, "--json")
    assert found.code == 0, found.err
    assert 0 < found.json["feasible"] <= 6
    assert all(candidate["params"] <= limit for candidate in found.json["candidates"])


def test_without_weights_of_the_extractor_a_search_says_what_to_do(folder, nns, tmp_path, monkeypatch, write_digits):
    zoo, data = tmp_path / "tans.h5", write_digits(tmp_path / "digits", (0, 1), per_class=4)
    assert nns("zoo", "import-tans", folder, "-o", zoo).code == 0
    assert nns("space", "fit", zoo, "--method", "tans", "--epochs", 5).code == 0
    monkeypatch.setenv("NNS_RESNET18", str(tmp_path / "none.pth"))
    done = nns("search", data, "--zoo", zoo)
    assert (done.code, len(done.err.splitlines())) == (7, 1)
    assert "set NNS_RESNET18 to a file" in done.err


def test_what_it_says(folder, nns, tmp_path):
    zoo = tmp_path / "tans.h5"
    done = nns("zoo", "import-tans", folder, "-o", zoo)
    assert done.out == ""
    assert done.err.splitlines() == [
        f"{zoo}: 12 networks, 12 new, of 4 datasets and 0 more for tests; none with weights",
        f"next: nns space fit {zoo} --method tans",
    ]


@pytest.mark.parametrize("command", ["finetune", "export", "search"])
def test_networks_without_weights_say_so(command, folder, nns, tmp_path, weights, write_digits):
    zoo, data = tmp_path / "tans.h5", write_digits(tmp_path / "digits", (0, 1), per_class=8)
    assert nns("zoo", "import-tans", folder, "-o", zoo).code == 0
    assert nns("space", "fit", zoo, "--method", "tans", "--epochs", 5).code == 0
    network = nns("zoo", "ls", zoo, "--json").json["networks"][0]["id"]
    lines = {
        "finetune": ("finetune", data, "--zoo", zoo, "--network", network, "-o", tmp_path / "out", "--json"),
        "export": ("zoo", "export", zoo, network, "-o", tmp_path / "out"),
        "search": ("search", data, "--zoo", zoo, "--max-latency", "1s"),
    }
    done = nns(*lines[command])
    assert (done.code, len(done.err.splitlines())) == (7, 1)
    assert "error: the zoo has no weights of network" in done.err


def test_what_the_default_method_lacks_is_one_line(folder, nns, tmp_path):
    assert nns("zoo", "import-tans", folder, "-o", tmp_path / "tans.h5").code == 0
    done = nns("space", "fit", tmp_path / "tans.h5")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "needs the fingerprint block 'graph'" in done.err


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"import os; open({str(self.path)!r}, 'w').write(str(os.getpid()))",)


@pytest.mark.parametrize("file", ["p_mod_zoo.pt", "meta_train.pt", "meta_test_x.pt"])
@pytest.mark.parametrize("flags", [[], ["--trust-pickle"]])
def test_a_hostile_file_is_one_line_and_exit_code_4(file, flags, folder, nns, tmp_path):
    """Also with --trust-pickle, which is for supernets alone."""
    torch.save(Payload(tmp_path / "ran"), folder / file)
    done = nns("zoo", "import-tans", folder, "-o", tmp_path / "tans.h5", *flags)
    assert (done.code, len(done.err.splitlines())) == (4, 1)
    assert "exec, which has no place in it" in done.err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "tans.h5").exists()


def test_a_missing_file_is_a_usage_error(folder, nns, tmp_path):
    (folder / "meta_train.pt").unlink()
    done = nns("zoo", "import-tans", folder, "-o", tmp_path / "tans.h5")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "no meta_train.pt" in done.err


def test_supernets_are_refused_and_then_trusted(folder, nns, tmp_path):
    path = folder / "set_2.pt"
    torch.save(supernet.build_supernet(1.2, 3, 0), path)
    refused = nns("zoo", "import-tans", folder, "-o", tmp_path / "bare.h5", "--json")
    assert refused.code == 0
    assert (refused.json["refused"], refused.json["with_weights"]) == ([str(path)], 0)
    (line,) = [line for line in refused.err.splitlines() if "refused" in line]
    assert str(path) in line
    assert "--trust-pickle" in line
    trusted = nns("zoo", "import-tans", folder, "-o", tmp_path / "whole.h5", "--trust-pickle", "--json")
    assert trusted.code == 0, trusted.err
    assert (trusted.json["supernets"], trusted.json["with_weights"]) == (["set_2"], NETWORKS)
    assert nns("zoo", "verify", tmp_path / "whole.h5").code == 0


def test_code_in_a_trusted_supernet_runs_in_another_process(folder, nns, tmp_path):
    torch.save(Payload(tmp_path / "ran"), folder / "set_2.pt")
    done = nns("zoo", "import-tans", folder, "-o", tmp_path / "tans.h5", "--trust-pickle")
    assert (done.code, done.err.count("error: ")) == (4, 1)
    assert (tmp_path / "ran").read_text() not in ("", str(os.getpid()))
