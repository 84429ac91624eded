"""What a server answers, and what it refuses."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from nns import Space, Zoo, search
from nns.jsonable import jsonable
from nns.serving.client import multipart

TOKEN = "0123456789abcdef-token"


def body(document):
    return json.dumps(document).encode()


def without_seconds(document):
    return {name: value for name, value in document.items() if name not in ("seconds", "dataset", "zoo")}


def files_of(small_zoo, count=6):
    folder = small_zoo.query
    paths = [path for name in ("8", "9") for path in sorted((folder / name).iterdir())[:count]]
    return [path.read_bytes() for path in paths], [path.parent.name for path in paths]


def test_features_are_answered_as_on_the_command_line(small_zoo, serving, question):
    expected = jsonable(search(str(small_zoo.query), small_zoo.path, max_params="2M", history=False).to_dict())
    with serving(small_zoo.path) as server:
        status, found, headers = server.ask("/v1/search/features?max_params=2M", body(question))
        assert status == 200 and headers["content-type"] == "application/json"
        assert set(found) == set(expected)
        for each in (found, expected):  # on the command line the user's own results are asked for, and there are none
            for candidate in each["candidates"] + [each["static_choice"]]:
                assert candidate["terms"].pop("own", 0.0) == 0.0
        assert without_seconds(found) == without_seconds(expected)
        assert {**found["zoo"], "path": ""} == {**expected["zoo"], "path": ""}
        assert found["zoo"]["path"] == "zoo.h5"  # where it lies is nobody's business
        assert (found["dataset"]["classes"], found["dataset"]["images"]) == (2, 48)


def test_rows_of_numbers_and_float16_will_do(small_zoo, serving, question):
    packed = question
    features = np.frombuffer(base64.b64decode(packed["features"]["data"]), "<f4").reshape(packed["features"]["shape"])
    half = {"shape": features.shape, "data": base64.b64encode(features.astype("<f2").tobytes()).decode()}
    with serving(small_zoo.path) as server:
        first = server.ask("/v1/search/features", body(packed))[1]
        rows = server.ask("/v1/search/features", body(packed | {"features": features.tolist()}))[1]
        short = server.ask("/v1/search/features", body(packed | {"features": half | {"dtype": "float16"}}))[1]
    assert without_seconds(first) == without_seconds(rows)
    assert [each["id"] for each in short["candidates"]] == [each["id"] for each in first["candidates"]]


def test_images_are_answered_like_the_same_images_in_folders(small_zoo, serving, tmp_path, write_digits):
    folder = write_digits(tmp_path / "some", (8, 9), per_class=6)
    expected = jsonable(search(str(folder), small_zoo.path, history=False).to_dict())
    form, kind = multipart(*files_of(small_zoo))
    with serving(small_zoo.path) as server:
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
    assert status == 200
    assert found["dataset"]["digest"] == expected["dataset"]["digest"]
    assert [each["id"] for each in found["candidates"]] == [each["id"] for each in expected["candidates"]]
    assert found["dataset"]["class_sizes"] == {"8": 6, "9": 6}


def bomb(pixels=20_000):
    """A PNG of some kilobytes that says that it has 400 million pixels."""
    image = io.BytesIO()
    Image.new("L", (8, 8)).save(image, "PNG")
    content = bytearray(image.getvalue())
    content[16:24] = pixels.to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


def test_images_that_no_dataset_would_take_are_left_out_or_refused(small_zoo, serving):
    good, _ = files_of(small_zoo, 2)
    bad = [bomb(), b"", b"%!PS-Adobe\n", good[0][:100], b"\x89PNG\r\n\x1a\n" + bytes(100)]
    with serving(small_zoo.path) as server:
        form, kind = multipart([*good, *bad], [])
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
        assert status == 200
        assert len(found["dataset"]["skipped"]) == len(bad)
        reasons = {each["path"]: each["reason"] for each in found["dataset"]["skipped"]}
        assert "pixels" in reasons["4.png"] and "empty" in reasons["5.png"]
        form, kind = multipart(bad, [])
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
        assert (status, found["error"]["kind"], found["error"]["exit_code"]) == (422, "DatasetError", 3)


def test_what_is_asked_wrongly_is_refused_with_a_sentence(small_zoo, serving, question):
    good = question
    rows, width = good["features"]["shape"]
    cases = [
        (422, good | {"extractor": "another@96"}, "another@96"),
        (422, good | {"labels": [0]}, "labels"),
        (422, good | {"classes": 1}, "a label of 1 among 1 classes"),
        (422, good | {"features": [[1.0, 2.0]], "labels": None}, "2 numbers an image"),
        (422, good | {"features": [[1.0] * width, [1.0]], "labels": None}, "differ in length"),
        (422, good | {"features": [[1e7] * width], "labels": None}, "between"),
        (422, good | {"features": [[1e300] * width], "labels": None}, "between"),
        (422, good | {"features": {"shape": [rows + 1, width], "data": good["features"]["data"]}}, "rows of"),
        (422, good | {"features": {"shape": [1, 1], "data": "00=="}}, "1 bytes are not"),
        (400, good | {"features": {"shape": [0, width], "data": ""}}, "features.shape"),
        (400, good | {"more": 1}, "more"),
        (400, {"features": [[1.0]]}, "extractor"),
        (400, [], "question"),
    ]  # fmt: skip
    nan = base64.b64encode(np.full((1, width), np.nan, "<f4").tobytes()).decode()
    cases.append((422, good | {"features": {"shape": [1, width], "data": nan}, "labels": None}, "between"))
    with serving(small_zoo.path) as server:
        for status, document, said in cases:
            found = server.ask("/v1/search/features", body(document))
            assert (found[0], said in found[1]["error"]["message"]) == (status, True), found
        for raw in (b"", b"{", b"\xff", b"[" * 100_000, b'{"classes": ' + b"9" * 100_000 + b"}"):
            assert server.ask("/v1/search/features", raw)[0] == 400
        for query, status in {
            "max_params=1k": 422, "max_params=x": 422, "backend=none": 422, "top=0": 400, "more=1": 400,
            "max_params=" + "9" * 40: 200, "license=%1B[31m": 422, "top=1000": 200,
        }.items():  # fmt: skip
            assert server.ask(f"/v1/search/features?{query}", body(good))[0] == status, query
        found = server.ask("/v1/search/features?max_params=1k", body(good))[1]["error"]
        assert found["kind"] == "NoNetworkError" and found["exit_code"] == 5 and "max_params=" in found["message"]
        assert server.ask("/v1/search/features", body(good), content_type="text/plain")[0] == 415
        assert server.ask("/nothing")[0] == 404
        assert server.ask("/v1/search/features")[0] == 405


def test_requests_are_bounded_in_bytes_images_and_parts(small_zoo, serving):
    images, labels = files_of(small_zoo, 3)
    form, kind = multipart(images, labels)
    with serving(small_zoo.path, max_bytes=20_000, max_images=4) as server:
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
        assert status == 400 and "files" in found["error"]["message"]
        form, kind = multipart([bytes(20_000)], [])
        assert server.ask("/v1/search/images", form, content_type=kind)[0] == 413
        # without a length it is counted as it comes
        with socket.create_connection(("127.0.0.1", server.port), 20) as raw:
            raw.sendall(
                b"POST /v1/search/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(5):
                raw.sendall(b"1770\r\n" + b" " * 6000 + b"\r\n")
            assert raw.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("settings", [{"max_bytes": 3_000_000}, {"token": TOKEN}, {"rate": 0.001}])
def test_a_refusal_is_read_by_who_still_sends(small_zoo, serving, settings):
    with serving(small_zoo.path, **settings) as server:
        for _ in range(20):
            status, found, _ = server.ask(
                "/v1/search/images?top=x", bytes(6_000_000 if "max_bytes" in settings else 2_000_000)
            )
            assert status in (400, 401, 413, 429) and found["error"]["message"]


def test_a_question_is_smaller_than_a_form_of_images(small_zoo, serving, monkeypatch):
    from nns.serving import guard

    monkeypatch.setattr(guard, "MAX_QUESTION", 5000)
    with serving(small_zoo.path) as server:
        assert server.ask("/v1/search/features", bytes(5001))[0] == 413
        assert server.ask("/v1/search/features", bytes(4000))[0] == 400
        form, kind = multipart([bytes(6000)], [])
        assert server.ask("/v1/search/images", form, content_type=kind)[0] == 422


def test_requests_that_would_not_fit_together_are_told_to_come_again(small_zoo, serving):
    head = "POST /v1/search/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with serving(small_zoo.path, max_bytes=50_000, seconds=5.0) as server:
        waiting = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(5)]
        for each in waiting:  # each says that it brings all that one may
            each.sendall(f"{head}Content-Length: 50000\r\n\r\n".encode())
            time.sleep(0.1)
        assert waiting[-1].recv(1000).startswith(b"HTTP/1.1 503")
        assert server.ask("/health")[0] == 200
        for each in waiting:
            each.close()
        until = time.monotonic() + 10
        form, kind = multipart([b"x"], [])
        while server.ask("/v1/search/images", form, content_type=kind)[0] != 422 and time.monotonic() < until:
            time.sleep(0.1)
        assert server.ask("/v1/search/images", form, content_type=kind)[0] == 422


def test_heads_that_drip_are_given_up(small_zoo, run_app, monkeypatch):
    from nns.serving import patience
    from nns.serving.app import make_app
    from nns.serving.rates import Rates
    from nns.serving.settings import Settings

    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.5)
    made = Settings(small_zoo.path)
    with run_app(make_app(made, Rates(0.0)), http=patience.PatientProtocol) as server:
        for before in (b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), 20) as raw:
                raw.sendall(before)
                if before:
                    assert raw.recv(2000).startswith(b"HTTP/1.1 200")
                began = time.monotonic()
                with contextlib.suppress(OSError):
                    while time.monotonic() < began + 10:
                        raw.sendall(b"G")
                        raw.settimeout(0.1)
                        with contextlib.suppress(TimeoutError):
                            if not raw.recv(2000):
                                break
                assert time.monotonic() - began < 5
        assert server.ask("/health")[0] == 200


def test_what_arrives_or_is_searched_too_slowly_is_given_up(small_zoo, serving, monkeypatch):
    images, labels = files_of(small_zoo, 8)
    form, kind = multipart(images, labels)
    with serving(small_zoo.path, seconds=0.5) as server:
        with socket.create_connection(("127.0.0.1", server.port), 20) as raw:
            raw.sendall(
                b"POST /v1/search/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            began = time.monotonic()
            assert raw.recv(1000).startswith(b"HTTP/1.1 408")
            assert time.monotonic() - began < 10
        from nns.data import decoding, parallel

        real = decoding.try_decode
        monkeypatch.setattr(parallel, "try_decode", lambda *a: (time.sleep(0.1), real(*a))[1])
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
        assert (status, "longer than 0.5 s" in found["error"]["message"]) == (504, True)
        form, kind = multipart(images[:3], [])  # fewer than are told of at once
        monkeypatch.setattr(parallel, "try_decode", lambda *a: (time.sleep(0.3), real(*a))[1])
        status, found, _ = server.ask("/v1/search/images", form, content_type=kind)
        assert status == 504


def test_one_address_asks_so_often_and_no_more(small_zoo, serving, question):
    good = body(question)
    with serving(small_zoo.path, rate=2.0) as server:
        answers = [server.ask("/v1/search/features", good) for _ in range(12)]
        refused = [each for each in answers if each[0] == 429]
        assert answers[0][0] == 200 and refused
        assert int(refused[0][2]["retry-after"]) >= 1
        assert server.ask("/health")[0] == 200


def test_a_token_is_asked_for_but_by_health(small_zoo, serving, question):
    good = body(question)
    with serving(small_zoo.path, token=TOKEN) as server:
        for headers in (
            {},
            {"authorization": TOKEN},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": "Bearer"},
        ):
            status, found, more = server.ask("/v1/search/features", good, **headers)
            assert (status, more["www-authenticate"]) == (401, "Bearer")
            assert server.ask("/v1/zoo", **headers)[0] == 401
        assert server.ask("/v1/search/features", good, authorization=f"Bearer {TOKEN}")[0] == 200
        assert server.ask("/v1/zoo", authorization=f"bearer {TOKEN}", host="zoo.example.org")[0] == 200
        assert server.ask("/health")[1] == {"ok": True, "current": True}
        found = server.ask("/openapi.json")[1]
        assert found["paths"]["/v1/search/features"]["post"]["security"] == [{"token": []}]


def test_without_a_token_pages_of_the_web_may_not_ask(small_zoo, serving):
    with serving(small_zoo.path) as server:
        assert server.ask("/v1/zoo", host="evil.example.org")[0] == 421
        assert server.ask("/v1/zoo", host="127.0.0.1.evil.example.org:80")[0] == 421
        assert server.ask("/v1/zoo", host="[::1]:80")[0] == 200
        assert server.ask("/v1/zoo", sec_fetch_site="cross-site")[0] == 403


def test_a_damaged_zoo_is_not_told_by_its_path(small_zoo, serving, monkeypatch, question):
    from nns.errors import ZooError
    from nns.serving import asking

    def fail(*_, **__):
        raise ZooError(f"{small_zoo.path} is damaged")

    with serving(small_zoo.path) as server:
        monkeypatch.setattr(asking, "search_record", fail)
        status, found, _ = server.ask("/v1/search/features", body(question))
        assert (status, found["error"]["kind"]) == (503, "ZooError")
        assert str(small_zoo.path) not in json.dumps(found)
        monkeypatch.setattr(asking, "search_record", lambda *_, **__: 1 / 0)
        status, found, _ = server.ask("/v1/search/features", body(question))
        assert status == 500 and "division" not in json.dumps(found)


def test_a_zoo_replaced_or_merged_under_load_fails_no_request(small_zoo, serving, tmp_path, monkeypatch, question):
    from nns.serving import served

    monkeypatch.setattr(served, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(served, "REST", 1)
    path = small_zoo.copy(tmp_path)
    good = body(question)
    found, ended = [], threading.Event()

    def ask():
        while not ended.is_set():
            status, document, _ = server.ask("/v1/search/features", good)
            found.append((status, document["zoo"]["networks"], document["zoo"]["digest"]))

    def wait_for(networks):
        until = time.monotonic() + 60
        while found[-1][1] != networks and time.monotonic() < until:
            time.sleep(0.05)
        assert found[-1][1] == networks

    with serving(path) as server:
        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            while not found:
                time.sleep(0.05)
            count = found[0][1]
            fewer = (
                small_zoo.copy(tmp_path / "other") if (tmp_path / "other").mkdir() else tmp_path / "other" / "zoo.h5"
            )
            fewer.write_bytes(small_zoo.path.read_bytes())
            with Zoo(fewer) as other:
                gone = other.store.ids()[0]
                record = other.network(gone)
                kept = other.store.entry(gone), other.store.fingerprint(gone), other.store.weights(gone)
                assert record.id == gone
                other.store.remove([gone])
            fewer.rename(path)  # another zoo takes its name
            wait_for(count - 1)
            from nns.types import NetworkRecord

            with Zoo(path) as zoo:
                zoo.store.add_network(NetworkRecord(*kept))  # into the journal
                wait_for(count)
                zoo.store.merge()
                Space.fit(zoo, epochs=1, held_out=False)
            time.sleep(1)
            path.with_suffix(".bad").write_bytes(b"no zoo")
            path.with_suffix(".bad").rename(path)  # what cannot be served is not
            until = time.monotonic() + 60
            while server.ask("/health")[1]["current"] and time.monotonic() < until:
                time.sleep(0.05)
            assert server.ask("/health")[1] == {"ok": True, "current": False}
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    assert {status for status, *_ in found} == {200}
    assert len(found) > 20


def test_openapi_says_what_there_is(small_zoo, serving):
    with serving(small_zoo.path) as server:
        document = server.ask("/openapi.json")[1]
        assert document["openapi"].startswith("3.1")
        assert set(document["paths"]) == {"/health", "/v1/zoo", "/v1/search/features", "/v1/search/images"}
        assert {"Question", "Answer", "ServedZoo", "FailureDocument"} <= set(document["components"]["schemas"])
        about = server.ask("/v1/zoo")[1]
        assert (about["networks"], about["feature_dim"], about["name"]) == (12, 1280, "zoo.h5")


@pytest.mark.slow
def test_schemathesis_finds_nothing(small_zoo, serving, tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    with serving(small_zoo.path) as server:
        ran = subprocess.run(
            [
                sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
                "--config-file", str(Path(__file__).parent / "schemathesis.toml"),
                "run", f"{server.url}/openapi.json", "--checks", "all", "--max-examples", "100",
                "--phases", "examples,coverage,fuzzing", "--request-timeout", "60",
            ],
            capture_output=True, text=True, timeout=900, cwd=tmp_path,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert " passed" in ran.stdout
