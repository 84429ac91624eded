"""``nns search --server``: the same answer as with the zoo here, and no trust in whoever answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nns
from nns import search
from nns.errors import NnsError, NoNetworkError, ServerError, UsageError
from nns.jsonable import jsonable
from nns.serving.client import MAX_ANSWER, Server

TOKEN = "0123456789abcdef-token"
NOT_THE_SAME = ("seconds", "zoo")


def comparable(document):
    document = jsonable(document)
    for candidate in [*document["candidates"], document["static_choice"]]:
        candidate["terms"].pop("own", None)
        candidate["weights"].pop("on_disk")
    return {name: value for name, value in document.items() if name not in NOT_THE_SAME}


@pytest.mark.parametrize("send", ["features", "images"])
def test_the_answer_is_that_of_a_zoo_here(small_zoo, serving, send):
    expected = search(str(small_zoo.query), small_zoo.path, max_params="2M", top=4)
    with serving(small_zoo.path) as server:
        found = search(str(small_zoo.query), server=server.url, max_params="2M", top=4, send=send)
        assert comparable(found.to_dict()) == comparable(expected.to_dict())
        assert found.zoo_path == f"{server.url}/zoo.h5"
        assert [row[:3] for row in found.table().rows] == [row[:3] for row in expected.table().rows]
        assert not any(each.weights.on_disk for each in found.candidates)
        with pytest.raises(NnsError, match="gives no weights"):
            found.best.load(classes=2)


def test_what_is_sent_holds_no_names_paths_or_metadata(small_zoo, serving, monkeypatch):
    sent = []
    real = Server._ask
    monkeypatch.setattr(
        Server, "_ask", lambda self, path, *more: (sent.append((path, more)), real(self, path, *more))[1]
    )
    with serving(small_zoo.path) as server:
        for send in ("features", "images"):
            search(str(small_zoo.query), server=server.url, send=send)
    text = b"".join(path.encode() + b"".join(part for part in more if isinstance(part, bytes)) for path, more in sent)
    assert b"digits" not in text and b"000.png" not in text and b"tEXt" not in text and b"eXIf" not in text


def test_the_command_line(small_zoo, serving, nns, tmp_path, monkeypatch):
    query = str(small_zoo.query)
    local = nns("search", query, "--zoo", str(small_zoo.path), "--json").json
    with serving(small_zoo.path) as server:
        found = nns("search", query, "--server", server.url, "--json")
        assert found.code == 0
        assert [each["id"] for each in found.json["candidates"]] == [each["id"] for each in local["candidates"]]
        assert found.json["dataset"] == local["dataset"]
        shown = nns("search", query, "--server", server.url, "--explain")
        assert shown.code == 0 and "static choice" in shown.out and "to fetch" not in shown.out
        assert nns("search", query, "--server", server.url, "--max-params", "1k").code == 5
        assert "--max-params" in nns("search", query, "--server", server.url, "--max-params", "1k").err
        ran = nns("search", query, "--server", server.url, "--offline")
        assert ran.code == 8 and "offline" in ran.err
        with monkeypatch.context() as patched:
            patched.setattr("nns.serving.remote.is_offline", lambda: True)  # as HF_HUB_OFFLINE=1 makes it
            assert nns("search", query, "--server", server.url).code == 8
        for more in (["--zoo", str(small_zoo.path)], ["--probe"], ["--max-latency", "10ms"], ["--space", "mixed"]):
            ran = nns("search", query, "--server", server.url, *more)
            assert ran.code == 2 and more[0] in ran.err, ran
        assert nns("search", query, "--server", server.url, "--send", "all").code == 2
        saved = tmp_path / "found.json"
        saved.write_text(found.out)
        from nns.finetuning.saved_search import read_search

        assert read_search(saved, 3).ids[0] == local["candidates"][0]["id"]
    ran = nns("search", query, "--server", server.url)
    assert ran.code == 8 and "cannot be asked" in ran.err and "Traceback" not in ran.err


def test_a_token_comes_from_a_file_or_the_environment(small_zoo, serving, tmp_path, monkeypatch, caplog):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    with serving(small_zoo.path, token=TOKEN) as server:
        with pytest.raises(ServerError, match="NNS_TOKEN"):
            search(str(small_zoo.query), server=server.url)
        assert search(str(small_zoo.query), server=server.url, token_file=file).candidates
        monkeypatch.setenv("NNS_TOKEN", TOKEN)
        assert search(str(small_zoo.query), server=server.url).candidates
        monkeypatch.setenv("NNS_TOKEN", TOKEN + "x")
        with pytest.raises(ServerError, match="token"):
            search(str(small_zoo.query), server=server.url)


def answering(status=200, body=b"{}", headers=(), extractor="efficientnet-lite0@96"):
    """An application that answers everything in one way; of GET /v1/zoo, something that is believed."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        asked.append((scope["path"], dict(scope["headers"])))
        about = {
            "name": "z.h5", "digest": "", "networks": 1, "space": "mixed", "extractor": extractor,
            "feature_dim": 1280, "image_size": 96, "version": "1",
        }  # fmt: skip
        good = scope["path"] == "/v1/zoo" and status == 200
        content = json.dumps(about).encode() if good else body
        pairs = [(b"content-type", b"application/json"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    asked = []
    app.asked = asked
    return app


@pytest.fixture
def arrays():
    return np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), dtype=np.uint8), np.arange(6) % 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"candidates": []}',
        b"9" * 100_000,
        b" " * (MAX_ANSWER + 2),
    ],
)
def test_what_is_no_answer_is_refused(run_app, arrays, body):
    with run_app(answering(body=body), lifespan="off") as server, pytest.raises(ServerError) as caught:
        search(arrays, server=server.url)
    assert str(caught.value).startswith("127.0.0.1 answers "), caught.value
    assert str(caught.value).count("127.0.0.1") == 1


def test_more_than_a_server_gives_is_a_wrong_option(small_zoo, nns, arrays):
    ran = nns("search", small_zoo.query, "--server", "http://127.0.0.1:1", "--top", 1001)
    assert (ran.code, ran.out) == (2, "") and "--top must be at most 1000" in ran.err


@pytest.mark.parametrize("status", [301, 307, 308])
def test_no_redirect_is_followed(run_app, arrays, status, monkeypatch):
    monkeypatch.setenv("NNS_TOKEN", TOKEN)
    with run_app(answering(), lifespan="off") as other:
        app = answering(status, b"", [(b"location", f"{other.url}/v1/zoo".encode())])
        with run_app(app, lifespan="off") as server, pytest.raises(ServerError, match="points elsewhere"):
            search(arrays, server=server.url)
    assert [path for path, _ in app.asked] == ["/v1/zoo"]


def test_escape_sequences_of_a_server_reach_no_terminal(run_app, small_zoo, nns, answer):
    failure = {"error": {"kind": "ServerError", "message": "\x1b[2J\x1b]0;owned\x07 \u202enoitan", "exit_code": 8}}
    with run_app(answering(418, json.dumps(failure).encode()), lifespan="off") as server:
        ran = nns("search", str(small_zoo.query), "--server", server.url)
        assert ran.code == 8
        assert "\x1b" not in ran.err and "\x07" not in ran.err and "\u202e" not in ran.err
    for each in answer["candidates"]:
        each["architecture"] = "\x1b[31mred\u202e\n"
    with run_app(answering(body=json.dumps(answer).encode()), lifespan="off") as server:
        for more in ([], ["--json"], ["--explain"]):
            ran = nns("search", str(small_zoo.query), "--server", server.url, *more)
            assert ran.code == 0
            assert "\x1b[31m" not in ran.out + ran.err and "\u202e" not in ran.out + ran.err


@pytest.fixture
def answer(small_zoo, serving, question):
    """What a server that is as it should be answers."""
    with serving(small_zoo.path) as server:
        return server.ask("/v1/search/features?top=64", json.dumps(question).encode())[1]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("candidates", 0, "id"), "../../etc/passwd"),
        (("candidates", 0, "predicted_accuracy"), 7.0),
        (("candidates", 0, "params"), -1),
        (("candidates", 0, "rank"), 5),
        (("together",), ["nobody"]),
        (("together",), []),
        (("candidates",), []),
        (("zoo", "networks"), 1e30),
        (("candidates", 0, "license"), "x" * 10_000),
        (("neighbours",), [{"dataset": "x", "distance": "near", "winner": None, "accuracy": None}]),
    ],
)
def test_an_answer_that_does_not_hang_together_is_refused(run_app, small_zoo, answer, where, value):
    place = answer
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with run_app(answering(body=json.dumps(answer).encode()), lifespan="off") as server, pytest.raises(ServerError):
        search(str(small_zoo.query), server=server.url)


def test_an_extractor_that_is_not_here_is_no_reason_to_send_images_unasked(run_app, arrays):
    app = answering(extractor="nobody@96")
    with run_app(app, lifespan="off") as server, pytest.raises(ServerError, match="send=images"):
        search(arrays, server=server.url)
    assert [path for path, _ in app.asked] == ["/v1/zoo"]


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://localhost", "file:///etc/passwd", "http://", "http://user:pw@localhost",
        "http://localhost:99999", "http://local host", "http://localhost/?a=1", "", "http://ex\u00e4mple.org",
    ],
)  # fmt: skip
def test_addresses_that_are_none(arrays, url):
    with pytest.raises(UsageError):
        search(arrays, server=url)


def test_http_to_another_machine_is_warned_about(arrays, monkeypatch):
    from nns.serving import client

    def refuse(*_, **__):
        raise client.urllib.error.URLError("refused")

    monkeypatch.setattr(client.urllib.request.OpenerDirector, "open", refuse)
    for url, warned in {
        "http://zoo.example.org": True,
        "https://zoo.example.org": False,
        "http://[::1]:1": False,
    }.items():
        said = []
        with pytest.raises(ServerError, match="cannot be asked"):
            search(arrays, server=url, tell=said.append)
        assert any("not encrypted" in each for each in said) is warned


def test_no_network_within_limits_is_said_as_here(small_zoo, serving):
    with pytest.raises(NoNetworkError) as here:
        search(str(small_zoo.query), small_zoo.path, max_params=1000)
    with serving(small_zoo.path) as server, pytest.raises(NoNetworkError) as there:
        search(str(small_zoo.query), server=server.url, max_params=1000)
    assert str(there.value) == str(here.value)


def test_a_limit_of_any_size_is_answered(small_zoo, serving):
    with serving(small_zoo.path) as server:
        assert search(str(small_zoo.query), server=server.url, max_params="1e90").limits.max_params == round(1e90)


def test_all_arguments_are_public():
    import inspect

    assert {"server", "send", "token_file"} <= set(inspect.signature(nns.search).parameters)
