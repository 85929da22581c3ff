"""No key, SAS or connection string in any log line, error, file or process list, however much is logged."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import subprocess
import traceback
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from azurite import Azurite
from container_runs import PATTERN, command, make_cache, write_sample
from loadcast.cli.jobs import etl, stats, train
from loadcast.cli.score import score
from loadcast.cli.serve import serve
from loadcast.errors import LoadcastError
from secret_watch import SecretWatcher, watched_processes

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ALL_RIGHTS = "racwdl"
WRONG_KEY = base64.b64encode(b"a wrong key" * 6).decode()
# Found by Python as it starts, in Spark's workers as well: everything that anybody logs is written.
LOG_ALL = "import logging\nlogging.basicConfig(level=logging.DEBUG, format='LOGGED %(name)s %(message)s')\n"


@dataclass(frozen=True)
class Stage:
    """A container with data, and a folder that holds all that the commands leave; configurations stand elsewhere."""

    azurite: Azurite
    data: str
    watched: Path
    configs: Path

    def config(self, **keys: str) -> Path:
        """A configuration with these keys, and a small forest."""
        path = self.configs / "config.json"
        path.write_text(json.dumps({"duration": "ONE_MONTH", "forest": {"numTrees": 5, "maxDepth": 4}, **keys}))
        return path

    def run(
        self, watcher: SecretWatcher, script: str, *words: object, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run an entry script with all its logs; the watcher looks at the processes, and gets what the script says."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.configs), os.environ["PYTHONPATH"]]),
            "LOADCAST_CACHE": str(self.watched / "cache"),
            "TMPDIR": str(self.watched / "temporary"),
        }
        with watched_processes(watcher):
            done = subprocess.run(command(script, *words, "--debug"), capture_output=True, text=True, env=environment)
        watcher.add(f"{script} says", done.stdout)
        watcher.add(f"{script} logs", done.stderr)
        return done

    def spark_words(self) -> list[str]:
        """Options of commands that start Spark: its log, and the log of its events."""
        settings = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": (self.watched / "events").as_uri(),
            "spark.local.dir": str(self.watched / "spark"),
        }
        return ["--master=local[2]", "--spark-log", *(f"--conf={key}={value}" for key, value in settings.items())]


@pytest.fixture
def stage(azurite: Azurite, tmp_path: Path) -> Stage:
    write_sample(tmp_path / "data", rows=8_000, servers=2)
    data = azurite.new_container()
    azurite.upload_folder(data, tmp_path / "data")
    for name in ("events", "spark", "temporary"):
        (tmp_path / "watched" / name).mkdir(parents=True)
    make_cache(tmp_path / "watched" / "cache")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "sitecustomize.py").write_text(LOG_ALL)
    return Stage(azurite, data, tmp_path / "watched", tmp_path / "configs")


def check(watcher: SecretWatcher, stage: Stage, output: str) -> None:
    """Nothing is found where something could be."""
    stage.azurite.download_folder(output, stage.watched / "output")
    assert list((stage.watched / "output").rglob("*.parquet"))
    assert list((stage.watched / "events").iterdir())
    assert any(b"etl.py" in line for line in watcher.command_lines)
    assert watcher.found(stage.watched) == []


def test_a_sas_in_urls_stays_in_the_configuration(stage: Stage) -> None:
    output = stage.azurite.new_container()
    signatures = {name: stage.azurite.sas(name, ALL_RIGHTS) for name in (stage.data, output)}
    watcher = SecretWatcher({**signatures, "key": stage.azurite.key})
    data_url, output_url = (f"{stage.azurite.endpoint}/{name}" for name in (stage.data, output))
    config = stage.config(
        dataFile=f"{data_url}/{PATTERN}?{signatures[stage.data]}", output=f"{output_url}?{signatures[output]}"
    )
    for script in ("etl.py", "train.py"):
        done = stage.run(watcher, script, config, *stage.spark_words())
        assert done.returncode == 0, done.stderr[-2_000:]
        assert f"Results are in {output_url}" in done.stdout
        assert "LOGGED urllib3" in done.stderr
    check(watcher, stage, output)


def test_a_connection_string_stays_in_its_file(stage: Stage) -> None:
    output = stage.azurite.new_container()
    watcher = SecretWatcher({"key": stage.azurite.key, "connection string": stage.azurite.connection_string})
    (stage.configs / "secret").write_text(stage.azurite.connection_string + "\n")
    config = stage.config(
        storageAccount=stage.azurite.account,
        storageEndpoint=stage.azurite.endpoint,
        storageContainer=output,
        storageKey=f"file:{stage.configs / 'secret'}",
        dataFile=f"wasbs://{stage.data}@{stage.azurite.account}/{PATTERN}",
    )
    done = stage.run(watcher, "etl.py", config, "FILTER_IP", *stage.spark_words())
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "LOGGED urllib3" in done.stderr
    check(watcher, stage, output)


@pytest.mark.usefixtures("no_pauses")
def test_no_error_tells_a_secret(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """With --debug, so with tracebacks, from each command that goes to a container, with all logs."""
    caplog.set_level(logging.DEBUG)
    expired, mine = stage.azurite.sas(stage.data, minutes=-5), stage.azurite.sas(stage.data)
    watcher = SecretWatcher({"expired": expired, "other": mine, "wrong key": WRONG_KEY, "key": stage.azurite.key})
    url = f"{stage.azurite.endpoint}/{stage.data}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        refused = f"http://127.0.0.1:{free.getsockname()[1]}/{stage.azurite.account}/{stage.data}"
    own = {"storageAccount": stage.azurite.account, "storageEndpoint": stage.azurite.endpoint}
    data_cases = {
        "expired on": {"dataFile": f"{url}/{PATTERN}?{expired}"},
        "refuses the account key": {"dataFile": f"{url}/{PATTERN}", **own, "storageKey": "env:WRONG_KEY"},
        "There is no container": {"dataFile": f"{url}-gone/{PATTERN}", **own, "storageKey": "env:RIGHT_KEY"},
        "Nothing answers": {"dataFile": f"{refused}/{PATTERN}?{mine}"},
        "matches no blob": {"dataFile": f"{url}/nothing/{PATTERN}?{mine}"},
        "unknownKey": {"dataFile": f"{url}/{PATTERN}?{mine}", "unknownKey": f"{url}?{mine}"},
    }
    for wanted, keys in data_cases.items():
        assert wanted in told(watcher, stage, etl, stage.config(**{"output": str(stage.watched / "output"), **keys}))
    config = stage.config(dataFile=f"{url}/{PATTERN}?{mine}", output=f"{url}?{expired}")
    for command_line in ([etl, config], [stats, config], [train, config], [score, config], [serve, "--model", config]):
        assert "expired on" in told(watcher, stage, *command_line)
    watcher.add("logs", caplog.text)
    assert "urllib3" in caplog.text
    assert watcher.found(stage.watched) == []


def told(watcher: SecretWatcher, stage: Stage, entry: click.Command, *words: object) -> str:
    """What a command says that has to fail, with its traceback; the watcher gets it, too."""
    done = CliRunner().invoke(
        entry, [*map(str, words), "--debug"], env={"WRONG_KEY": WRONG_KEY, "RIGHT_KEY": stage.azurite.key}
    )
    assert isinstance(done.exception, SystemExit)
    assert isinstance(done.exception.__cause__, LoadcastError)
    assert "Traceback" in done.stderr
    watcher.add(str(entry.name), "".join([done.output, *traceback.format_exception(done.exception)]))
    return done.output
