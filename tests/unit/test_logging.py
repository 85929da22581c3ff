"""What is logged: events with fields, as text and as JSON, and no secret in either."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from click.testing import CliRunner
from rich.console import Console
from urllib3.exceptions import ReadTimeoutError

import commands
import old_run
from bundles import random_features, records
from loadcast.cli.main import main
from loadcast.errors import InputError
from loadcast.logs import relay
from loadcast.logs.events import RUN, SERVICE, STORAGE, log_event
from loadcast.logs.setup import LOGGER, set_up_logging
from loadcast.progress import logged_run, silent
from loadcast.report.run import RichProgress
from loadcast.serving.app import create_app
from loadcast.serving.keys import Keys
from loadcast.storage.blob.policy import BrokenAnswerError, Policy
from loadcast.storage.blob.retries import RetryLog
from loadcast.storage.publish import stage_run
from published import BrokenPredictor, HourPredictor

SIGNATURE = "bWFya2VkU2lnbmF0dXJl%2BMARKED%3D"
SAS_URL = f"https://account.blob.core.windows.net/logs/a.csv?sv=2024-11-04&sp=r&sig={SIGNATURE}&se=2030"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    loggers = (LOGGER, RUN, SERVICE, STORAGE)
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:], logger.propagate = handlers, propagate


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON lines on standard error since the last call."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


# --- the forms ------------------------------------------------------------------------------------------------------


def test_text_is_a_line_of_words_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")
    log_event(RUN, logging.INFO, "read", "Logs were read.", rows=3, share=0.25, of="a b", nothing=None)
    assert capsys.readouterr().err[8:] == ' INFO    Logs were read. rows=3 share=0.25 of="a b"\n'


def test_json_is_an_object_a_line_with_the_fields_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json")
    log_event(RUN, logging.INFO, "read", "Logs were read.", rows=3, time="not this one")
    (line,) = logged(capsys)
    assert line.pop("time").endswith("Z")
    said = {"level": "info", "logger": "loadcast.run", "event": "read", "message": "Logs were read.", "rows": 3}
    assert line == said


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_is_logged_makes_a_second_line_or_drives_a_terminal(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("info", form)
    log_event(RUN, logging.INFO, "read", "a\nb\x1b[31m", file="c\r\n\u202e\udcff")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (None, ["a request"]),
        ("debug", ["a run", "a request"]),
        ("info", ["a run", "a request"]),
        ("warning", []),
        ("ERROR", []),
    ],
)
def test_a_level_counts_for_all_and_without_one_requests_are_logged(
    level: str | None, seen: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("debug", "json")
    set_up_logging(level, "json")
    log_event(RUN, logging.INFO, "a run", "")
    log_event(SERVICE, logging.INFO, "a request", "")
    assert [line["event"] for line in logged(capsys)] == seen


def test_a_bar_on_a_terminal_stays_below_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(list[str]):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            self.append(text)
            return len(text)

        def flush(self) -> None:
            pass

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    console = Console(stderr=True, force_terminal=True, width=60)
    monkeypatch.setattr("loadcast.logs.setup.stderr_console", lambda: console)
    set_up_logging()
    with RichProgress(console)("Scanning") as update:
        update(1, 2)
        log_event(STORAGE, logging.WARNING, "retry", "Waiting for storage: it stalled.", words="x" * 100)
        update(2, 2)
    shown = "".join(screen)
    warning = next(line for line in shown.splitlines() if "it stalled" in line)
    assert "Scanning" not in warning.rpartition("\x1b[2K")[2]
    assert "x" * 100 in warning


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_marked_sas_is_nowhere_in_the_log(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug", form)
    log_event(STORAGE, logging.WARNING, "retry", f"asked {SAS_URL} again", url=SAS_URL)
    LOGGER.warning("plain %s", SAS_URL)
    LOGGER.warning({"odd": SAS_URL})
    LOGGER.warning("wrong number of %s %s", SAS_URL)
    try:
        raise OSError(SAS_URL)
    except OSError:
        LOGGER.exception("failed at %s", SAS_URL)
    said = capsys.readouterr().err
    assert SIGNATURE not in said
    assert said.count("REDACTED") >= 6
    assert "Traceback" in said


def test_without_any_setting_up_a_warning_is_seen_and_holds_no_secret() -> None:
    code = f"""
import logging
from loadcast.logs.events import STORAGE, log_event
log_event(STORAGE, logging.WARNING, "retry", "again {SAS_URL}", status=503, url="{SAS_URL}")
log_event(STORAGE, logging.INFO, "retry", "not shown")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.startswith("again https://account.blob.core.windows.net/logs/a.csv?")
    assert "status=503" in done.stderr
    assert SIGNATURE not in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- the options ----------------------------------------------------------------------------------------------------


def invoked(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(main, ["runs", "list", str(old_run.OUTPUT), *arguments], env=environment)


@pytest.mark.parametrize(
    ("arguments", "environment", "level"),
    [
        ((), {}, logging.WARNING),
        (("--log-level", "debug"), {}, logging.DEBUG),
        ((), {"LOADCAST_LOG_LEVEL": "info"}, logging.INFO),
        (("--log-level", "error"), {"LOADCAST_LOG_LEVEL": "info"}, logging.ERROR),
    ],
)
def test_the_level_comes_from_the_option_else_from_the_environment(
    arguments: tuple[str, ...], environment: dict[str, str], level: int
) -> None:
    assert invoked(*arguments, **environment).exit_code == 0
    assert LOGGER.level == level


@pytest.mark.parametrize("name", ["LOADCAST_LOG_LEVEL", "LOADCAST_LOG_FORMAT"])
def test_a_wrong_value_in_the_environment_names_the_variable(name: str) -> None:
    result = invoked(**{name: "loud"})
    assert result.exit_code == 2
    assert name in result.stderr


@pytest.mark.parametrize("command", commands.lines(main), ids=" ".join)
def test_every_command_has_the_options(command: list[str]) -> None:
    said = CliRunner().invoke(main, [*command, "--help"]).stdout
    assert "--log-level" in said
    assert "--log-format" in said


# --- events ---------------------------------------------------------------------------------------------------------


def test_runs_and_steps_say_how_long_they_took_and_whether_they_failed(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json")

    @logged_run("etl")
    def work() -> None:
        with silent("Reading"):
            pass
        with silent("Writing"):
            raise InputError("no")

    with pytest.raises(InputError):
        work()
    lines = logged(capsys)
    told = [(line["event"], line["message"], line.get("run") or line.get("step"), line.get("error")) for line in lines]
    assert told == [
        ("run", "A run began.", "etl", None),
        ("step", "A step ended.", "Reading", None),
        ("step", "A step failed.", "Writing", "InputError"),
        ("run", "A run failed.", "etl", "InputError"),
    ]
    assert all(line["duration_s"] >= 0 for line in lines[1:])


def test_publishing_is_logged_once_it_is_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    set_up_logging("info", "json")
    with stage_run(tmp_path):
        assert logged(capsys) == []
    (line,) = logged(capsys)
    assert (line["event"], line["output"], line["model"]) == ("publish", str(tmp_path), False)
    assert line["name"] == (tmp_path / "current").resolve().name


# --- waiting for storage --------------------------------------------------------------------------------------------


def answered(status: int) -> HttpResponseError:
    error = HttpResponseError(f"refused {SAS_URL}")
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (answered(503), "the account throttles its requests", 503),
        (answered(429), "the account throttles its requests", 429),
        (answered(500), "the server answered 500", 500),
        (ReadTimeoutError(None, SAS_URL, "read timed out"), "it stalled, no byte came in time", None),
        (TimeoutError(), "it stalled, no byte came in time", None),
        (BrokenAnswerError(f"half of {SAS_URL}"), "the connection failed or broke off (BrokenAnswerError)", None),
    ],
)
def test_a_request_that_is_asked_again_says_why_before_it_waits(
    error: Exception, said: str, status: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_logging(form="json")
    monkeypatch.setattr("loadcast.storage.blob.policy.retry_log", RetryLog())
    lines: list[dict[str, Any]] = []

    def sleep(seconds: float) -> None:
        lines.extend(logged(capsys))
        lines[-1]["slept"] = round(seconds, 2)

    def operation(attempts: Any) -> int:
        if not attempts.failures:
            raise error
        return 7

    assert Policy(sleep=sleep).call(operation) == 7
    (line,) = lines
    assert line["message"] == f"Waiting for storage: {said}."
    assert (line["level"], line["event"], line.get("status")) == ("warning", "retry", status)
    assert (line["wait_s"], line["attempt"]) == (line["slept"], 1)
    assert SIGNATURE not in str(line)


def test_many_requests_that_wait_are_told_once_in_a_while_with_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(form="json")
    now = [100.0]
    log = RetryLog(lambda: now[0])
    for _ in range(50):
        log([answered(503)], 1, 0.5, 10.0)
    log([TimeoutError()], 1, 0.5, 10.0)
    assert [line.get("others") for line in logged(capsys)] == [None, None]
    now[0] += 5
    log([answered(503)], 2, 1.0, 10.0)
    log([answered(503)], 2, 1.0, 10.0)
    assert [line["others"] for line in logged(capsys)] == [49]


# --- workers --------------------------------------------------------------------------------------------------------


def test_events_of_another_process_reach_this_ones_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_up_logging(form="json")
    # A relay of the test's own: this process opens its real one later, for the tests with Spark.
    monkeypatch.setattr(relay, "_relay", relay._Relay())
    monkeypatch.setattr(relay, "process_folder", lambda: tmp_path)
    monkeypatch.setenv("LOADCAST_LOG_PIPE", "")
    relay.open_relay()
    code = f"""
import logging
from loadcast.logs.events import STORAGE, log_event
from loadcast.logs.relay import send_to_driver
send_to_driver()
log_event(STORAGE, logging.INFO, "retry", "not shown")
log_event(STORAGE, logging.WARNING, "retry", "x" * 100_000 + "{SAS_URL}")
log_event(STORAGE, logging.WARNING, "retry", "waiting {SAS_URL}", status=503, wait_s=0.5)
"""
    worker = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (worker.returncode, worker.stderr, worker.stdout) == (0, "", "")
    lines: list[dict[str, Any]] = []
    end = time.monotonic() + 30
    while len(lines) < 2 and time.monotonic() < end:
        time.sleep(0.01)
        lines += logged(capsys)
    long, short = lines
    assert long["message"].startswith("xxx")
    assert (short["event"], short["status"], short["wait_s"], short["level"]) == ("retry", 503, 0.5, "warning")
    assert SIGNATURE not in str(lines)


def test_a_worker_does_not_wait_for_a_driver_that_is_gone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = "import logging; from loadcast.logs.relay import *; send_to_driver(); LOGGER.warning('x')"
    environment = {**os.environ, "LOADCAST_LOG_PIPE": f"30:{tmp_path / 'pipe'}"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"name": 1, "levelno": "a"}', b"\xff", b"[" * 100_000])
def test_what_no_worker_sends_is_ignored(line: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("debug", "json")
    relay._log(line)
    assert logged(capsys) == []


# --- the service ----------------------------------------------------------------------------------------------------

KEY = "markedServiceKey"


def test_each_request_is_one_line_without_key_body_or_path(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(form="json")
    client = create_app(HourPredictor(), keys=Keys.parse(KEY.encode(), "key"), name="loadcast").test_client()
    sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = client.post(f"/score?sig={SIGNATURE}", data='[{"body": "markedBody"}]', headers=sent)
    client.post("/api/v1/service/loadcast/score", data="[]", headers={**sent, "X-Request-ID": "mine-1"})
    client.get(f"/{SIGNATURE}", headers=sent)
    client.get("/", headers={"Authorization": "Bearer wrong", "X-Request-ID": "a\tb"})
    client.get("/health/live")
    client.get("/health/ready")
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/score", 400),
        ("POST", "/api/v1/service/<service>/score", 200),
        ("GET", "none", 404),
        ("GET", "/", 401),
    ]
    assert lines[0]["request_id"] == answer.headers["X-Request-ID"] != ""
    assert (lines[1]["request_id"], lines[1]["records"]) == ("mine-1", 0)
    assert lines[3]["request_id"] != "a\tb"
    assert all(line["event"] == "request" and line["duration_ms"] >= 0 for line in lines)
    assert not any(secret in text for secret in (KEY, SIGNATURE, "markedBody", "wrong"))


def test_probes_are_logged_where_they_fail_or_where_all_is(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(form="json")
    client = create_app(None, keys=None, name="loadcast").test_client()
    client.get("/health/ready")
    assert [(line["level"], line["status"]) for line in logged(capsys)] == [("warning", 503)]
    set_up_logging("debug", "json")
    client.get("/health/live")
    assert [(line["level"], line["route"]) for line in logged(capsys)] == [("debug", "/health/live")]


def test_a_request_that_fails_leaves_its_traceback_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(form="json")
    client = create_app(BrokenPredictor(f"broken at {SAS_URL}"), keys=None, name="loadcast").test_client()
    assert client.post("/score", json=records(random_features(1))).status_code == 500
    failed, request = logged(capsys)
    assert "RuntimeError" in failed["traceback"]
    assert (request["status"], request["level"]) == (500, "warning")
    assert SIGNATURE not in str(failed)
