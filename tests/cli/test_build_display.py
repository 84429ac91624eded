"""What ``nns zoo build`` shows and logs: the state of a build, its picture, its lines."""

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

import pytest

from nns.backends import WorkItem
from nns.building import BuildEvent, BuildItem, BuildReport, TransferItem
from nns.building.transfers import TransferResult
from nns.building.worker import ItemResult
from nns.cli.build_display import build_display
from nns.cli.build_log import log_line
from nns.cli.build_progress import BuildProgress
from nns.cli.build_table import ROWS, render
from nns.errors import UsageError
from nns.types import ArchitectureSpec

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIL = "[red]birds[/red]\x1b[31m\n\u202e"
EVIL_SHOWN = r"[red]birds[/red]\x1b[31m\n\u202e"


def an_item(dataset="birds", *names, backend="timm"):
    specs = tuple(ArchitectureSpec(backend, name) for name in names or ("lcnet_050",))
    ids = tuple(f"{dataset} {spec.name}" for spec in specs)
    return BuildItem(f"/data/{dataset}", dataset, f"digest of {dataset}", WorkItem(backend, specs, 32), 0, ids)


def a_transfer(dataset="tiles", name="lcnet_050"):
    return TransferItem("0123", "timm", name, f"/data/{dataset}", dataset, f"digest of {dataset}", 0, 0, None, {})


class Build:
    """Tells a progress, or whatever takes events, of a build that goes by a clock of its own."""

    def __init__(self, total=10, transfers=0, take=None):
        self.now = 0.0
        self.progress = BuildProgress(lambda: self.now)
        self.take = take or self.progress.take
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

    def drawn(self, width=80, height=24):
        from rich.console import Console

        console = Console(record=True, width=width, height=height, file=io.StringIO())
        console.print(render(self.progress, width, height))
        return console.export_text()


# the state


def test_what_something_happened_on_last_comes_last():
    build = Build()
    birds, tiles = build.start(an_item("birds")), build.start(an_item("tiles"))
    assert list(build.progress.datasets) == ["birds", "tiles"]
    build.finish(birds, 0.5)
    assert list(build.progress.datasets) == ["tiles", "birds"]
    build.fail(tiles)
    assert list(build.progress.datasets) == ["birds", "tiles"]


def test_running_failed_and_best_of_each_dataset():
    build = Build()
    first, second, other = an_item("birds", "a"), an_item("birds", "b", "c"), an_item("tiles")
    for each in (first, second, other):
        build.start(each)
    row = build.progress.datasets["birds"]
    assert (build.progress.running, [item for item, _ in row.running], row.best) == (3, [first, second], None)
    build.finish(second, 0.7, 0.4)
    assert (build.progress.running, row.networks, row.best) == (2, 2, 0.7)
    build.fail(first)
    assert (build.progress.running, row.failed, row.best, row.running) == (1, 1, 0.7, [])
    build.finish(other, 0.0)
    assert (build.progress.running, build.progress.failed) == (0, 1)
    assert build.progress.datasets["tiles"].best == 0.0


def test_an_equal_item_that_still_runs_is_not_taken_for_the_finished_one():
    build = Build(transfers=2)
    first, second = build.start(a_transfer()), build.start(a_transfer())
    assert first == second
    build.finish(first, 0.5)
    assert build.progress.running == 1


def test_networks_that_were_there_before_count():
    build = Build()
    build.progress.know("digest of birds", 0.9)
    build.progress.know("digest of birds", float("nan"))
    build.progress.know("digest of imagenet-1k", 0.8)
    assert build.progress.datasets == {}
    build.run(an_item("birds", "a", "b"), 0.3, 0.4, at=10)
    row = build.progress.datasets["birds"]
    assert (row.networks, row.best) == (4, 0.9)
    build.start(met := an_item("birds", "a", "c"))
    build.finish(met, 0.3, 0.95, added=1)
    assert (row.networks, row.best) == (5, 0.95)
    assert list(build.progress.datasets) == ["birds"]


def test_a_transfer_is_no_network_and_does_not_raise_the_best():
    build = Build(total=1, transfers=2)
    build.run(an_item("tiles"), 0.2, at=10)
    build.run(a_transfer("tiles"), 0.9, at=20)
    row = build.progress.datasets["tiles"]
    assert (row.networks, row.transfers, row.best) == (1, 1, 0.2)


def test_an_architecture_that_cannot_be_built_counts_as_failed():
    build = Build()
    build.tell("failed", message="x cannot be built")
    assert (build.progress.failed, build.progress.datasets) == (1, {})


def test_rate_is_that_of_the_workers_which_are_busy():
    build = Build()
    assert build.progress.rate == 0
    for name in "abc":
        build.start(an_item(name))
    first = next(iter(build.progress.datasets.values())).running[0][0]
    build.finish(first, 0.5, at=12, seconds=10, images=3000)
    assert build.progress.rate == 2 * 300
    build.start(an_item("d"))
    assert build.progress.rate == 3 * 300


def test_no_time_is_left_to_tell_before_something_is_finished():
    build = Build()
    assert build.progress.seconds_left is None
    build.start(an_item())
    assert build.progress.seconds_left is None
    build.fail(an_item())
    assert build.progress.seconds_left is None


def test_time_left_is_fair_after_the_first_network():
    build = Build(total=41)
    items = [build.start(an_item(name), at=0) for name in "abcd"]
    build.finish(items[0], 0.5, at=10, seconds=10)
    build.start(an_item("e"))
    # 40 of 10 s are left, three of them all but done, on four workers
    assert build.progress.seconds_left == pytest.approx((40 * 10 - 30) / 4)
    build.now += 5  # as if the three were finished now
    mean = (10 + 3 * 15) / 4
    assert build.progress.seconds_left == pytest.approx((40 * mean - 3 * mean - 5) / 4)


def test_what_takes_longer_than_others_makes_the_rest_longer():
    build = Build(total=10)
    for number in range(4):
        build.run(an_item(f"{number}"), 0.5, at=(number + 1) * 10)
    build.start(an_item("long"))
    build.now += 10
    assert build.progress.seconds_left == pytest.approx(5 * 10)
    build.now += 40  # 4 networks took 40 s, and this one takes 50 s at least
    assert build.progress.seconds_left == pytest.approx(5 * 90 / 5)


def test_an_item_of_several_networks_counts_as_several():
    build = Build(total=12)
    build.run(an_item("birds", "a", "b", "c", "d"), 0.5, 0.5, 0.5, 0.5, at=40, seconds=40)
    build.start(an_item("tiles", "a", "b", "c", "d"))
    build.now += 30
    assert build.progress.seconds_left == pytest.approx(8 * 10 - 30)


def test_transfers_have_a_pace_of_their_own():
    build = Build(total=1, transfers=11)
    build.run(an_item(), 0.5, at=100, seconds=100)
    assert build.progress.seconds_left == pytest.approx(11 * 100)
    build.run(a_transfer(), 0.5, at=102, seconds=2)
    assert build.progress.seconds_left == pytest.approx(10 * 2)


def test_what_failed_is_not_waited_for():
    build = Build(total=10)
    build.run(an_item("birds"), 0.5, at=10)
    build.start(several := an_item("tiles", "a", "b", "c"))
    build.fail(several, kept=1, at=20)
    assert build.progress.lost == 2
    assert build.progress.seconds_left == pytest.approx((10 - 2 - 2) * 10)
    assert build.progress.datasets["tiles"].networks == 1


# the picture


def test_before_and_after_the_training():
    build = Build()
    build.now = 3
    assert build.drawn().strip() == "opening the datasets · 3 s"
    build.tell("dataset", message="birds")
    build.tell("dataset", message=EVIL)
    assert build.drawn().strip() == f"preparing · 2 datasets read, {EVIL_SHOWN} last · 3 s"
    build.tell("architecture", message=f"timm:{EVIL}", counted=2, to_count=13)
    assert build.drawn(100).strip() == f"preparing · 2/13 architectures counted, timm:{EVIL_SHOWN} last · 3 s"
    build.tell("merge")
    assert build.drawn().strip() == "writing the file · 3 s"


def test_the_numbers_are_shown():
    build = Build(total=20, transfers=4)
    build.tell("plan")
    build.run(an_item("birds", "a", "b", "c", backend="ofa"), 0.25, 0.875, 0.5, at=30, seconds=25, images=5000)
    build.start(an_item("tiles", "lcnet_050"))
    build.now = 72
    head, status, columns, birds, tiles = build.drawn().splitlines()
    # 3 networks took 25 s and one takes 42 s; as long as no transfer is finished, they took 25 / 3 s
    assert head.split(maxsplit=1)[1] == f"12% about 5 m {round(16 * (25 + 42) / 4 + 4 * 25 / 3 - 300)} s left"
    assert status.strip() == "3/20 networks · 0/4 transfers · 1 running · 200 images/s · 1 m 12 s"
    assert columns.split() == ["dataset", "networks", "transfers", "best", "running"]
    assert birds.split() == ["birds", "3", "87.5%"]
    assert tiles.split() == ["tiles", "0", "–", "lcnet_050", "42", "s"]


def test_failures_have_a_column_once_there_are_any():
    build = Build()
    build.start(failing := an_item("birds"))
    assert "failed" not in build.drawn()
    build.fail(failing)
    _, status, columns, birds = build.drawn().splitlines()
    assert "1 failed" in status
    assert columns.split() == ["dataset", "networks", "failed", "best", "running"]
    assert birds.split() == ["birds", "0", "1", "–"]


def test_the_bar_is_full_when_all_is_done_or_has_failed():
    build = Build(total=2)
    build.run(an_item("birds"), 0.5, at=10)
    assert "50%" in build.drawn()
    build.start(failing := an_item("tiles"))
    build.fail(failing)
    assert "100%" in build.drawn()
    assert "left" not in build.drawn()


def test_hostile_names_stay_in_their_cells():
    build = Build()
    build.start(an_item(EVIL, f"net{EVIL}"))
    drawn = build.drawn(width=160)
    assert len(drawn.splitlines()) == 4
    row = drawn.splitlines()[-1]
    assert row.startswith(EVIL_SHOWN)
    assert f"net{EVIL_SHOWN}" in row
    assert drawn.replace("\n", "").isprintable()


def test_long_names_leave_room_for_the_numbers():
    build = Build()
    build.start(an_item("b" * 200, "n" * 200))
    for width in (40, 80, 120):
        lines = build.drawn(width=width).splitlines()
        assert len(lines) == 4
        assert max(map(len, lines)) <= width
        name, networks, best, running = lines[-1].split()
        assert (networks, best) == ("0", "–")
        assert name.startswith("bbb") and name.endswith("…")
        assert running.startswith("nnn") and running.endswith("…")


def test_of_many_datasets_those_that_run_are_shown_then_the_latest():
    build = Build(total=1000)
    build.start(an_item("000"))
    for number in range(1, 100):
        build.run(an_item(f"{number:03d}"), 0.5, at=build.now + 10)
    lines = build.drawn().splitlines()
    assert len(lines) == 3 + ROWS + 1
    assert [line.split()[0] for line in lines[3:-1]] == ["000", *(f"{number:03d}" for number in range(89, 100))]
    assert lines[-1].strip() == "and 88 more datasets"


@pytest.mark.parametrize("height", range(1, 30))
def test_it_fits_the_height(height):
    build = Build(total=100, transfers=5)
    for number in range(15):
        build.run(an_item(f"{number:03d}"), 0.5, at=build.now + 10)
    lines = build.drawn(height=height).splitlines()
    assert len(lines) <= max(2, height - 1)
    assert "15/100 networks" in lines[1]


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


def test_off_a_terminal_only_failures_are_told_and_each_once(tmp_path, capsys):
    with build_display(tmp_path / "zoo.h5") as show:
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


def test_on_a_terminal_a_table_is_drawn_and_taken_away(tmp_path, monkeypatch, capsys):
    with terminal(monkeypatch) as shown, build_display(tmp_path / "zoo.h5") as show:
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


def test_on_a_terminal_networks_of_the_zoo_count(small_zoo, monkeypatch):
    from dataclasses import replace

    from nns import Zoo

    with Zoo(small_zoo.path) as zoo:
        entries = [entry for entry in zoo.entries() if entry.source_dataset == "digits-67"]
    item = replace(an_item("digits-67"), dataset_digest=entries[0].source_digest)
    with terminal(monkeypatch) as shown, build_display(small_zoo.path) as show:
        build = Build(take=show)
        build.run(item, 0.0, at=10)
    best = max(entry.accuracy for entry in entries)
    assert f"digits-67         {len(entries) + 1}  {best:>5.1%}" in shown.getvalue()


def test_lines_of_other_processes_are_put_above_the_table(tmp_path):
    script = """
        import subprocess, sys
        from pathlib import Path
        from nns.cli.build_display import build_display
        with build_display(Path("zoo.h5")) as show:
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
        with build_display(tmp_path / "zoo.h5", log) as show:
            build = Build(take=show)
            for number in range(3):
                build.tell("plan")
                assert len(log.read_text().splitlines()) == 3 * run + number + 1
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["plan"] * 6


def test_a_line_that_was_cut_off_stays_alone(tmp_path):
    log = tmp_path / "build.log"
    log.write_text('{"event": "plan"}\n{"event": "sta')
    with build_display(tmp_path / "zoo.h5", log) as show:
        Build(take=show).tell("plan")
        Build(take=show).tell("merge")
    first, cut, *ours = log.read_text().splitlines()
    assert (first, cut) == ('{"event": "plan"}', '{"event": "sta')
    assert [json.loads(line)["event"] for line in ours] == ["plan", "merge"]


def test_an_error_is_the_last_line_of_the_log(tmp_path):
    def fails():
        with build_display(tmp_path / "zoo.h5", tmp_path / "log") as show:
            Build(take=show).tell("plan")
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fails()
    _, last = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert (last["event"], last["message"]) == ("error", "no more")


def test_a_log_that_cannot_be_opened_is_an_error_of_usage(tmp_path):
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "no" / "log", "No such file or directory")):
        with pytest.raises(UsageError, match=why), build_display(tmp_path / "zoo.h5", path):
            pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_log_without_room_does_not_end_the_build(tmp_path, capsys):
    from pathlib import Path

    with build_display(tmp_path / "zoo.h5", Path("/dev/full")) as show:
        build = Build(take=show)
        build.tell("plan")
        build.run(an_item(), 0.5, at=10)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "cannot write the log '/dev/full' any more: No space left on device; the build goes on without"
