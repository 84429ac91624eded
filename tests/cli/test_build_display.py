"""What ``nns zoo build`` shows and logs: its bars, its lines."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from nns.backends import WorkItem
from nns.building import BuildEvent, BuildItem, BuildReport, TransferItem
from nns.building.transfers import TransferResult
from nns.building.worker import ItemResult
from nns.cli.build_display import build_display
from nns.cli.build_log import log_line
from nns.cli.build_progress import BuildProgress
from nns.errors import UsageError
from nns.types import ArchitectureSpec, Training

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIL = "[red]birds[/red]\x1b[31m\n\u202e"
EVIL_SHOWN = r"[red]birds[/red]\x1b[31m\n\u202e"


def an_item(dataset="birds", *names, backend="timm"):
    specs = tuple(ArchitectureSpec(backend, name) for name in names or ("lcnet_050",))
    ids = tuple(f"{dataset} {spec.name}" for spec in specs)
    return BuildItem(SimpleNamespace(digest=f"digest of {dataset}"), dataset, WorkItem(backend, specs, 32), 0, ids)


def a_transfer(dataset="tiles", name="lcnet_050"):
    data = SimpleNamespace(digest=f"digest of {dataset}")
    return TransferItem("0123", "timm", name, data, dataset, 0, 0, None, Training(), {})


class Build:
    """Tells bars, or whatever takes events, of a build that goes by a clock of its own."""

    def __init__(self, total=10, transfers=0, take=None, width=160):
        from rich.console import Console

        self.now = 0.0
        self.console = Console(record=True, width=width, height=24, file=io.StringIO())
        self.progress = BuildProgress(self.console)
        self.take = take or self.progress.show
        self.done = self.transferred = self.running = self.images = 0
        self.total, self.transfers = total, transfers

    def tell(self, kind, **more):
        self.take(
            BuildEvent(
                kind,
                self.done,
                self.total,
                self.transferred,
                self.transfers,
                self.running,
                self.images,
                self.now,
                **more,
            )
        )

    def start(self, item, at=None):
        self.now = self.now if at is None else at
        self.running += 1
        self.tell("start", item=item)
        return item

    def finish(self, item, *accuracies, at=None, seconds=10.0, images=1000, added=None):
        self.now = self.now if at is None else at
        self.running -= 1
        self.images += images
        if isinstance(item, TransferItem):
            self.transferred += 1
            result = TransferResult(accuracies, images, seconds)
            self.tell("transfer", item=item, result=result)
            return
        self.done += len(accuracies)
        added = len(accuracies) if added is None else added
        result = ItemResult(item.dataset_name, item.backend, item.ids, accuracies, added, images, seconds)
        self.tell("network", item=item, result=result)

    def fail(self, item, why="ValueError: no", kept=0, at=None):
        self.now = self.now if at is None else at
        self.running -= 1
        self.done += kept
        self.tell("failed", item=item, message=why)

    def run(self, item, *accuracies, at, seconds=10.0, images=1000):
        self.start(item, at - seconds)
        self.finish(item, *accuracies, at=at, seconds=seconds, images=images)

    def drawn(self):
        self.console.print(self.progress.bars)
        return self.console.export_text()


# the bars


def test_before_and_after_the_training():
    build = Build()
    assert "opening the datasets" in build.drawn()
    build.tell("dataset", message="birds")
    build.tell("dataset", message=EVIL)
    assert f"2 datasets read, {EVIL_SHOWN} last" in build.drawn()
    build.tell("architecture", message=f"timm:{EVIL}", counted=2, to_count=13)
    assert f"2/13 architectures counted, timm:{EVIL_SHOWN} last" in build.drawn()
    build.tell("merge")
    assert "writing the file" in build.drawn()


def test_the_numbers_are_shown():
    build = Build(total=20, transfers=4)
    build.tell("plan")
    build.run(an_item("birds", "a", "b", "c", backend="ofa"), 0.25, 0.875, 0.5, at=30, seconds=25, images=6000)
    build.start(an_item("tiles", "lcnet_050"))
    networks, transfers = build.drawn().splitlines()
    assert "15%" in networks
    assert "3/20 networks · 1 running · 200 images/s · 3 of a on birds 87.5%" in networks
    assert "0/4 transfers" in transfers
    build.run(a_transfer("tiles"), 0.5, at=40)
    networks, transfers = build.drawn().splitlines()
    assert "lcnet_050 transfer on tiles 50.0%" in networks
    assert "25%" in transfers
    assert "1/4 transfers" in transfers


def test_an_architecture_that_cannot_be_built_counts_as_failed():
    build = Build()
    build.tell("failed", message="x cannot be built")
    assert "0/10 networks · 0 running · 1 failed" in build.drawn()
    assert "0%" in build.drawn()


def test_the_bar_is_full_when_all_is_done_or_has_failed():
    build = Build(total=5, transfers=1)
    build.run(an_item("birds"), 0.5, at=10)
    assert "20%" in build.drawn()
    build.start(several := an_item("tiles", "a", "b", "c"))
    build.fail(several, kept=1, at=20)
    assert "80%" in build.drawn()  # of three networks one was kept, two are lost
    build.start(failing := an_item("tiles"))
    build.fail(failing)
    networks, transfers = build.drawn().splitlines()
    assert "100%" in networks
    assert "0%" in transfers
    build.start(failing := a_transfer())
    build.fail(failing)
    assert "100%" in build.drawn().splitlines()[1]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_hostile_and_long_names_stay_on_their_line(width):
    build = Build(width=width)
    build.run(an_item(EVIL + "b" * 200, f"net{EVIL}"), 0.5, at=10)
    drawn = build.drawn()
    (line,) = drawn.splitlines()
    assert len(line) <= width
    assert "1/10" in line
    assert line.isprintable()


# the log


def test_a_line_of_the_log_has_what_happened():
    lines = []
    build = Build(total=20, transfers=3, take=lambda event: lines.append(json.loads(log_line(event, NOON))))
    build.tell("dataset", message="birds")
    build.run(an_item("birds", "a", "b", backend="ofa"), 0.25, 2 / 3, at=30, seconds=25, images=5000)
    build.start(failing := an_item("tiles"))
    build.fail(failing, why="ValueError: no")
    build.run(a_transfer("tiles"), 0.5, at=42.12345, seconds=3)
    dataset, start, network, _, failed, _, transfer = lines
    assert {line["time"] for line in lines} == {"2026-03-01T12:00:00.000+00:00"}
    same = {"total": 20, "transfers_total": 3}
    assert dataset == same | {
        "time": "2026-03-01T12:00:00.000+00:00", "event": "dataset", "seconds": 0.0, "done": 0, "transfers": 0,
        "running": 0, "images": 0, "message": "birds",
    }  # fmt: skip
    what = {"dataset": "birds", "backend": "ofa", "architectures": ["a", "b"], "networks": ["birds a", "birds b"]}
    assert start.items() >= (same | what | {"event": "start", "done": 0, "running": 1}).items()
    assert network.items() >= (same | what | {"event": "network", "done": 2, "running": 0, "images": 5000}).items()
    assert (network["seconds"], network["item_seconds"], network["item_images"]) == (30, 25, 5000)
    assert network["accuracies"] == [0.25, 0.666667]
    assert (failed["event"], failed["dataset"], failed["message"]) == ("failed", "tiles", "ValueError: no")
    assert "accuracies" not in failed
    assert (transfer["event"], transfer["networks"], transfer["accuracies"]) == ("transfer", ["0123"], [0.5])
    assert (transfer["transfers"], transfer["seconds"]) == (1, 42.123)


def test_an_architecture_that_was_counted_is_logged_with_how_many_there_are():
    lines = []
    build = Build(take=lambda event: lines.append(json.loads(log_line(event, NOON))))
    build.tell("architecture", message="timm:lcnet_050", counted=2, to_count=13)
    build.tell("plan")
    counted, plan = lines
    what = {"event": "architecture", "message": "timm:lcnet_050", "counted": 2, "to_count": 13}
    assert counted.items() >= what.items()
    assert (counted["done"], counted["total"]) == (0, 10)  # networks, as on every line
    assert not {"counted", "to_count"} & plan.keys()


def test_the_log_is_json_whatever_comes():
    lines = []
    build = Build(take=lambda event: lines.append(log_line(event, NOON)))
    build.run(an_item(EVIL + "\ud800", EVIL), float("nan"), at=10)
    build.fail(an_item(EVIL), why=EVIL)
    for line in lines:
        assert line.isprintable()
        json.loads(line, parse_constant=pytest.fail)
    finished, failed = map(json.loads, lines[1:])
    assert (finished["dataset"], finished["accuracies"]) == (EVIL + "\ud800", [None])
    assert failed["message"] == EVIL


def test_the_report_ends_the_log():
    report = BuildReport("zoo.h5", "abc", 12, 9, 3, 4, (("birds", "timm", "ValueError: no"),), 12.3456, 5000, True)
    line = json.loads(log_line(report, NOON))
    assert (line["event"], line["time"], line["networks"], line["interrupted"]) == (
        "end",
        NOON.isoformat("T", "milliseconds"),
        12,
        True,
    )
    assert line["failed"] == [{"dataset": "birds", "backend": "timm", "reason": "ValueError: no"}]


# where it goes


def test_off_a_terminal_only_failures_are_told_and_each_once(capsys):
    with build_display() as show:
        build = Build(take=show)
        build.tell("failed", message="x cannot be built")
        for dataset, name, why in [
            ("birds", "a", EVIL),
            ("birds", "b", EVIL),
            ("birds", "a", "other"),
            ("tiles", "a", EVIL),
        ]:
            build.start(item := an_item(dataset, name))
            build.fail(item, why=why)
        build.run(an_item("birds"), 0.5, at=10)
        build.tell("merge")
        sys.stdout.write("a print of a backend\n")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "failed: x cannot be built",
        f"failed: timm:a on birds: {EVIL_SHOWN}",
        "failed: timm:a on birds: other",
        f"failed: timm:a on tiles: {EVIL_SHOWN}",
        "a print of a backend",
    ]


class FakeTerminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@contextmanager
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown := FakeTerminal())
        yield shown


def test_on_a_terminal_bars_are_drawn_and_taken_away(monkeypatch, capsys):
    with terminal(monkeypatch) as shown, build_display() as show:
        build = Build(take=show)
        build.tell("plan")
        build.run(an_item("birds"), 0.875, at=10)
        build.start(item := an_item(EVIL))
        build.fail(item, why=EVIL)
        sys.stdout.write("a print of a backend\n")
        during = shown.getvalue()
    assert capsys.readouterr() == ("", "")
    assert "1/10 networks" in during
    assert "87.5%" in during
    assert f"failed: timm:lcnet_050 on {EVIL_SHOWN}: {EVIL_SHOWN}\n" in during
    assert "a print of a backend\n" in during
    assert EVIL not in shown.getvalue()
    after = shown.getvalue().removeprefix(during)
    assert "\x1b[2K" in after  # lines are erased
    assert after.endswith("\x1b[2K")


def test_lines_of_other_processes_are_put_above_the_bars(tmp_path):
    script = """
        import subprocess, sys
        from nns.cli.build_display import build_display
        with build_display() as show:
            subprocess.run(["sh", "-c", "echo on stdout; echo on stderr >&2; printf 'no end \\033[31m' >&2"])
        print("the result")
    """
    read, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, text=True, cwd=tmp_path, env=environment)
    os.close(terminal)
    shown = b""
    with os.fdopen(read, "rb", buffering=0) as stream:
        try:
            while part := stream.read(4096):
                shown += part
        except OSError:  # the other end is closed
            pass
    assert (done.returncode, done.stdout) == (0, "the result\n")
    for line in (b"on stdout\r\n", b"on stderr\r\n", rb"no end \x1b[31m" + b"\r\n"):
        assert line in shown


# the file


def test_the_log_is_appended_to_and_each_line_is_there_at_once(tmp_path):
    log = tmp_path / "build.log"
    for run in range(2):
        with build_display(log) as show:
            build = Build(take=show)
            for number in range(3):
                build.tell("plan")
                assert len(log.read_text().splitlines()) == 3 * run + number + 1
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["plan"] * 6


def test_a_line_that_was_cut_off_stays_alone(tmp_path):
    log = tmp_path / "build.log"
    log.write_text('{"event": "plan"}\n{"event": "sta')
    with build_display(log) as show:
        Build(take=show).tell("plan")
        Build(take=show).tell("merge")
    first, cut, *ours = log.read_text().splitlines()
    assert (first, cut) == ('{"event": "plan"}', '{"event": "sta')
    assert [json.loads(line)["event"] for line in ours] == ["plan", "merge"]


def test_an_error_is_the_last_line_of_the_log(tmp_path):
    def fails():
        with build_display(tmp_path / "log") as show:
            Build(take=show).tell("plan")
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fails()
    _, last = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert (last["event"], last["message"]) == ("error", "no more")


def test_a_log_that_cannot_be_opened_is_an_error_of_usage(tmp_path):
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "no" / "log", "No such file or directory")):
        with pytest.raises(UsageError, match=why), build_display(path):
            pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_log_without_room_does_not_end_the_build(capsys):
    from pathlib import Path

    with build_display(Path("/dev/full")) as show:
        build = Build(take=show)
        build.tell("plan")
        build.run(an_item(), 0.5, at=10)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "cannot write the log '/dev/full' any more: No space left on device; the build goes on without"
