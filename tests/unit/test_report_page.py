"""`loadcast report`: what the page says of a run, where it is put, and that names in the data stay names."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

import loadcast
import old_run
import reported
from loadcast import paths, schema
from loadcast.api.reports import report_content
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, EnvironmentNotReadyError, OutputError
from loadcast.kernels.hour_strips import Strip
from loadcast.kernels.server_scores import ServerScores
from loadcast.report import pictures
from loadcast.report.page.content import STRIP_HOURS, ReportContent, best_and_worst
from loadcast.report.page.document import figures, page
from loadcast.report.page.headline import verdict

VOID = {"meta", "link", "br"}


def has_fonts() -> bool:
    try:
        pictures._check_fonts()
    except EnvironmentNotReadyError:
        return False
    return True


needs_fonts = pytest.mark.skipif(not has_fonts(), reason="this machine has no fonts for pictures")


class Reader(HTMLParser):
    """The elements of a page, all closed in order; its texts; its identifiers; and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> ReportContent:
    """What is known of a run with all there can be, and hostile names."""
    return report_content(loadcast.open_run(reported.run_with_all(tmp_path_factory.mktemp("report"))))


@pytest.fixture(scope="module")
def old() -> ReportContent:
    """What is known of a run that lacks what came later."""
    return report_content(loadcast.open_run(old_run.OUTPUT))


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


def test_the_page_is_whole_and_asks_for_nothing(everything: ReportContent) -> None:
    text = page(everything).decode()
    reader = Reader(text)
    assert reader.tags.isdisjoint({"script", "img", "iframe", "object", "embed", "form", "base"})
    assert {link for link in reader.links if not link.startswith("#")} == {"data:,"}
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert {name for name in reader.attributes if name == "style" or name.startswith("on")} == set()


def test_its_policy_lets_in_its_own_style_and_nothing_else(everything: ReportContent) -> None:
    text = page(everything).decode()
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.replace("&#x27;", "'") == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert re.findall(r"url\(|@import|https?:", style) == []


def test_hostile_names_are_shown_as_they_are(everything: ReportContent) -> None:
    text = page(everything).decode()
    assert "<script" not in text
    assert "<img" not in text
    assert {sign for sign in text if not sign.isprintable()} == {"\n"}
    shown = " ".join(Reader(text).texts)
    for where in ("\"'><script src=//evil.example/x.js>", r"&amp;\x1b[31m\u202e\xff", "(2)>&amp;\\x1b[31m\\u202e"):
        assert where in shown


def test_every_part_of_a_run_has_its_place(everything: ReportContent) -> None:
    wanted = ["scores", "confusion", "horizons", "reliability", "bills", "accuracy", "best", "worst", "week"]
    wanted += ["classes-by-hour", "classes", "rows", "rejected"]
    assert [figure.name for figure in figures(everything)] == wanted
    shown = " ".join(" ".join(Reader(page(everything).decode()).texts).split())
    for words in (
        "the class of least expected cost 12.5",
        "the likeliest class 17",
        "class of the last observed hour",
        "Mind: ",
    ):
        assert words in shown
    assert "Left out: " in shown  # the scores were changed, so the model is not taken at its word


def test_a_run_without_what_came_later_has_a_report(old: ReportContent) -> None:
    names = [figure.name for figure in figures(old)]
    assert "horizons" not in names
    assert "reliability" not in names
    assert "importance" in names
    shown = " ".join(Reader(page(old).decode()).texts)
    assert "Cost" not in shown
    assert f"Load forecast · run {old.run}" in shown


def test_a_run_of_etl_alone_says_so(tmp_path: Path) -> None:
    old_run.copied(tmp_path)
    folder = (tmp_path / "output" / paths.CURRENT).resolve()
    (folder / paths.METRICS).unlink()
    shutil.rmtree(folder / paths.PREDICTIONS)
    content = report_content(loadcast.open_run(tmp_path / "output"))
    assert [figure.name for figure in figures(content)] == ["week", "rows", "rejected"]
    assert "No model has been trained" in " ".join(Reader(page(content).decode()).texts)


def test_the_same_run_gives_the_same_page(old: ReportContent) -> None:
    assert page(old) == page(report_content(loadcast.open_run(old_run.OUTPUT)))


def test_the_importance_of_features_adds_up(old: ReportContent) -> None:
    assert old.importance is not None
    assert old.importance.shares is not None
    assert sum(old.importance.shares.values()) == pytest.approx(1)
    assert {"peakLoadLag48", "hourofday", schema.SERVER} <= old.importance.shares.keys()


def test_a_large_fleet_makes_a_page_of_less_than_a_megabyte(old: ReportContent) -> None:
    rng = np.random.default_rng(0)
    scores = ServerScores()
    for begin in range(0, 10_000, 2_500):
        servers = [f"10.0.{at // 250}.{at % 250}" for at in range(begin, begin + 2_500) for _ in range(4)]
        columns: dict[str, Any] = {
            schema.SERVER: servers,
            schema.HOUR: pa.array(rng.integers(0, 10**15, len(servers)), schema.TIMESTAMP),
            schema.OBSERVED: np.ones(len(servers), dtype=bool),
            schema.LABEL: pa.array(rng.integers(1, 4, len(servers)), pa.int32()),
            schema.PREDICTION: rng.integers(1, 4, len(servers)).astype(float),
        }
        scores.add(pa.table(columns))
    best, worst = best_and_worst(scores.scores())
    any_class = [rng.integers(0, 4, STRIP_HOURS).astype(np.int8) for _ in range(2)]
    strips = {score.server: Strip(0, *any_class) for score in (*best, *worst)}
    content = dataclasses.replace(old, scores=scores, best=best, worst=worst, strips=strips)
    assert len(scores.scores()) == 10_000
    assert len(page(content)) < 1_000_000


@pytest.mark.parametrize(
    ("accuracy", "words"), [(0.9, "10.0 points more than the"), (0.7, "fewer"), (0.8, "as many as")]
)
def test_the_first_sentence_says_how_good_the_model_is(old: ReportContent, accuracy: float, words: str) -> None:
    assert old.metrics is not None
    test = old.metrics.test
    best = test.naive[test.best_naive or ""].model_copy(update={"accuracy": 0.8})
    lift = test.lift_over_best_naive.model_copy(update={"accuracy": accuracy - 0.8})
    naive = {**test.naive, test.best_naive: best}
    changed = test.model_copy(update={"accuracy": accuracy, "naive": naive, "lift_over_best_naive": lift})
    assert words in verdict(old.metrics.model_copy(update={"test": changed}))


def test_without_a_test_hour_nothing_is_claimed(old: ReportContent) -> None:
    assert old.metrics is not None
    nothing = {"accuracy": None, "rows": 0, "macro_f1": None, "best_naive": None, "reliability": []}
    test = old.metrics.test.model_copy(update=nothing)
    content = dataclasses.replace(old, metrics=old.metrics.model_copy(update={"test": test}), scores=ServerScores())
    assert "nothing is known" in " ".join(Reader(page(content).decode()).texts)


def test_scores_by_horizon_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    output = reported.run_with_all(tmp_path, servers=2)
    file = output / paths.CURRENT / paths.METRICS
    metrics = json.loads(file.read_text())
    metrics["test"]["byHorizon"][3]["rows"] = "many"
    file.write_text(json.dumps(metrics))
    result = run(output)
    assert result.exit_code == ArtefactError.exit_code
    assert "test.byHorizon.3.rows" in result.stderr


def test_the_command_writes_beside_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = old_run.copied(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings.document()))
    runs = sorted((tmp_path / "output" / paths.RUNS).rglob("*"))
    result = run(config)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'output' / 'report.html'}\n")
    assert loadcast.write_report(settings) == tmp_path / "output" / "report.html"
    assert sorted((tmp_path / "output" / paths.RUNS).rglob("*")) == runs
    # What publishes and repairs runs does not mind.
    assert CliRunner().invoke(main, ["runs", "repair", str(tmp_path / "output")]).exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert run("output", "--output", "elsewhere.html").stdout == "elsewhere.html\n"
    assert (tmp_path / "elsewhere.html").read_bytes() == (tmp_path / "output" / "report.html").read_bytes().replace(
        str(tmp_path / "output").encode(), b"output"
    )


def test_a_runs_own_folder_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_run.copied(tmp_path)
    folder = (tmp_path / "output" / paths.CURRENT).resolve()
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert run(folder).stdout == "report.html\n"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nowhere",), ArtefactError.exit_code, "holds no published run"),
        (("{run}", "--output", "no/folder/x.html"), OutputError.exit_code, "Name another file with --output"),
        (("{run}", "--output", "."), ConfigError.exit_code, "which is no file"),
        pytest.param(
            *(("{run}", "--png", "file"), OutputError.exit_code, "Name another folder with --png"), marks=needs_fonts
        ),
        (("{run}", "--png", "a", "--output", "b"), 2, "leave out --output"),
    ],
)
def test_what_cannot_be_is_told(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = run(*(word.format(run=old_run.OUTPUT) for word in words))
    assert result.exit_code == code
    assert says in result.stderr


@needs_fonts
def test_pictures_go_into_a_folder(tmp_path: Path, old: ReportContent) -> None:
    result = run(old_run.OUTPUT, "--png", tmp_path / "new" / "pictures")
    names = [f"{figure.name}.png" for figure in figures(old)]
    assert result.stdout.splitlines() == [str(tmp_path / "new" / "pictures" / name) for name in names]
    assert sorted(file.name for file in (tmp_path / "new" / "pictures").iterdir()) == sorted(names)


def test_a_machine_without_fonts_is_told_before_there_is_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank: Callable[[Any], bytes] = lambda drawn: b"nothing of a text"  # noqa: E731
    monkeypatch.setattr(pictures, "png", blank)
    result = run(old_run.OUTPUT, "--png", tmp_path / "new")
    assert result.exit_code == EnvironmentNotReadyError.exit_code
    assert "has no font" in result.stderr
    assert not (tmp_path / "new").exists()
