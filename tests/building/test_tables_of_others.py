"""Tables and lists that other programs wrote, as `nns zoo add` reads them."""

from __future__ import annotations

import pytest

from nns import UsageError
from nns.building.references import read_classes, read_references
from nns.finetuning.saved_search import read_search


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "text", ["hub,license\no/n,mit\n", "sep=;\nhub;license\no/n;mit\n", "hub\tlicense\r\no/n\tmit"]
)
def test_a_table_of_networks(tmp_path, coding, text):
    (tmp_path / "many.csv").write_bytes(text.encode(coding))
    (found,) = read_references(tmp_path / "many.csv")
    assert (found.hub, found.license) == ("o/n", "mit")


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "many.csv").write_text("hub,license,license\no/n,mit,gpl\n")
    with pytest.raises(UsageError, match="has the column 'license' twice"):
        read_references(tmp_path / "many.csv")


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_names_of_classes_and_a_search_as_powershell_writes_them(tmp_path, coding):
    (tmp_path / "classes.txt").write_bytes("käse\r\nbrot\r\n".encode(coding))
    assert read_classes(tmp_path / "classes.txt") == ("käse", "brot")
    (tmp_path / "search.json").write_bytes('{"candidates": [{"id": "ab"}]}'.encode(coding))
    assert read_search(tmp_path / "search.json", 3).ids == ("ab",)
