"""Services as processes of this machine: one at a time, known for sure, replaced only by one that has been ready."""

from __future__ import annotations

import json
import os
import signal
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loadcast.cli.main import main
from loadcast.errors import ConfigError, ServiceError
from loadcast.registry import local
from loadcast.registry.manifests import SERVICE, digest_of
from loadcast.registry.services import (
    Wanted,
    create_service,
    delete_service,
    find_service,
    list_services,
    regenerate_key,
    scale_service,
    update_service,
)
from loadcast.registry.settings import current_account
from loadcast.serving.keys import Keys
from managed import FAKE_SERVICE, write_manifest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "a project; $(x) 'ä'"
    write_manifest(folder)
    monkeypatch.setenv("LOADCAST_SERVICE_KEY", "another-services-key")
    yield folder
    for listed in list_services(folder):
        delete_service(folder, listed.name)


def created(project: Path, **wanted: Any) -> dict[Any, str]:
    return create_service(project, "demo", Wanted(manifest="forecast:1", **wanted))[1]


def told(project: Path) -> dict[str, Any]:
    """What the fake service tells of itself."""
    url = find_service(project, "demo")[0].url
    with urllib.request.urlopen(url) as answer:
        content: dict[str, Any] = json.load(answer)
    words = content["words"]
    return {**content, **dict(zip(words[::2], words[1::2], strict=True))}


def state(project: Path) -> str:
    (listed,) = list_services(project)
    return listed.state


def run(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--project", str(project)])


def test_a_service_runs_in_a_session_of_its_own_with_no_key_of_ours(project: Path) -> None:
    created(project, workers=3)
    content = told(project)
    service, target, layout = find_service(project, "demo")
    assert (content["--workers"], content["--name"], content["--port"]) == ("3", "demo", str(service.port))
    assert content["--key-file"] == str(layout.key_file)
    assert content["session"] == content["pid"] != os.getsid(0)
    assert target.log(service, layout, 10) == "fake service no key\n"
    assert state(project) == "ready"


def test_its_keys_are_kept_as_digests_alone(project: Path) -> None:
    keys = created(project)
    service, _, layout = find_service(project, "demo")
    assert stat.S_IMODE(layout.key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.keys.stat().st_mode) == 0o700
    known = Keys.read(layout.key_file)
    assert [known.accepts(key.encode()) for key in keys.values()] == ["primary", "secondary"]
    fresh = regenerate_key(project, "demo", "primary")
    known = Keys.read(layout.key_file)
    accepted = [known.accepts(key.encode()) for key in (keys["primary"], keys["secondary"], fresh)]
    assert accepted == [None, "secondary", "primary"]
    before, after = service.keys, find_service(project, "demo")[0].keys
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)
    kept = b"".join(path.read_bytes() for path in project.rglob("*") if path.is_file())
    assert not any(key.encode() in kept for key in (*keys.values(), fresh))
    said = run(project, "service", "keys", "realtime", "-i", "demo").output
    assert after[0].fingerprint in said
    assert not any(key in said for key in (*keys.values(), fresh))


def test_scaling_and_updating_keep_the_address(project: Path) -> None:
    created(project)
    first = told(project)
    scale_service(project, "demo", 4)
    second = told(project)
    write_manifest(project, version=2)
    update_service(project, "demo", Wanted(manifest="forecast:2", memory="1G"))
    third = told(project)
    assert {first["--port"]} == {second["--port"], third["--port"]}
    assert [content["--workers"] for content in (first, second, third)] == ["2", "4", "4"]
    assert "/forecast/2/model" in third["--model"]
    assert find_service(project, "demo")[0].memory == "1G"
    gone = [content["pid"] for content in (first, second)]
    assert not any(os.path.exists(f"/proc/{pid}") for pid in gone)


def test_one_that_does_not_get_ready_replaces_nothing(project: Path) -> None:
    created(project)
    before = told(project)["pid"]
    bad = write_manifest(project, "import sys; sys.exit('loadcast: this model cannot be loaded')", version=2)
    with pytest.raises(ServiceError, match="ended before it was ready"):
        update_service(project, "demo", Wanted(manifest=bad.id))
    assert told(project)["pid"] == before
    assert find_service(project, "demo")[0].manifest == "forecast:1"


def test_one_that_fails_on_the_port_itself_gives_way_to_the_old_one(project: Path) -> None:
    created(project)
    port = find_service(project, "demo")[0].port
    script = f"import sys\nif sys.argv[sys.argv.index('--port') + 1] == '{port}': sys.exit('no')\n"
    folder = current_account(project) / "manifests" / "forecast" / "1" / SERVICE / "webservice.py"
    bad = write_manifest(project, script + folder.read_text(), version=2)
    with pytest.raises(ServiceError, match="The service runs as before"):
        update_service(project, "demo", Wanted(manifest=bad.id))
    assert "/forecast/1/model" in told(project)["--model"]
    assert state(project) == "ready"


def test_one_that_never_gets_ready_leaves_nothing(project: Path) -> None:
    bad = write_manifest(project, "import sys; sys.exit('no')", version=2)
    with pytest.raises(ServiceError):
        create_service(project, "demo", Wanted(manifest=bad.id))
    assert list_services(project) == []
    assert [path.name for path in (current_account(project) / "services").iterdir()] == [".locks"]


def test_a_killed_service_is_seen_and_can_be_put_back(project: Path) -> None:
    created(project)
    os.kill(told(project)["pid"], signal.SIGKILL)
    while state(project) != "stopped":
        pass
    scale_service(project, "demo", 2)
    assert state(project) == "ready"


def test_a_number_that_another_process_has_is_not_taken_for_the_service(project: Path) -> None:
    created(project)
    layout = find_service(project, "demo")[2]
    file = layout.folder / "service.pid.json"
    known = json.loads(file.read_text())
    try:
        file.write_text(json.dumps({**known, "pid": os.getpid()}))  # which was started at another time
        assert state(project) == "stopped"
        file.write_text(json.dumps({**known, "boot": "another"}))
        assert state(project) == "stopped"
    finally:
        file.write_text(json.dumps(known))
    assert state(project) == "ready"


def test_what_cannot_be_is_refused_in_one_line(project: Path) -> None:
    created(project)
    port = find_service(project, "demo")[0].port
    for words, said in (
        (("-n", "demo", "--manifest-id", "forecast:1"), "There is a service demo already"),
        (("-n", "Demo", "--manifest-id", "forecast:1"), "wanted up to 53 lower-case letters"),
        (("-n", "other", "--manifest-id", "forecast:9"), "There is no manifest forecast:9"),
        (("-n", "other", "--image-id", "forecast:1"), "There is no image forecast:1"),
        (("-n", "other", "--manifest-id", "forecast:1", "--memory", "much"), "memory: "),
        (("-n", "other", "--manifest-id", "forecast:1", "--port", str(port)), f"port: found {port}"),
        (("-n", "other", "--manifest-id", "forecast:1", "--target", "docker"), "image: found none"),
        (("-n", "other", "--manifest-id", "forecast:1", "-z", "3"), "replicas: found 3, and the target local has none"),
        (("-n", "other"), "image: found none"),
    ):
        done = run(project, "service", "create", "realtime", *words)
        assert (done.exit_code, said in done.stderr, done.stderr.count("\n")) == (ConfigError.exit_code, True, 1), words
    for verb in ("usage", "keys", "logs", "delete", "show"):
        assert run(project, "service", verb, "realtime", "-i", "nobody").exit_code == ConfigError.exit_code
    assert [listed.name for listed in list_services(project)] == ["demo"]


def test_a_manifest_that_was_changed_is_not_run(project: Path) -> None:
    folder = current_account(project) / "manifests" / "forecast" / "1"
    before = digest_of(folder, [SERVICE])
    (folder / SERVICE / "webservice.py").write_text("print('something else')")
    assert digest_of(folder, [SERVICE]) != before
    done = run(project, "service", "create", "realtime", "-n", "demo", "--manifest-id", "forecast:1")
    assert "was changed after the manifest was made" in done.stderr


def test_the_commands_tell_what_a_script_needs(project: Path) -> None:
    done = run(project, "service", "create", "realtime", "-n", "demo", "--manifest-id", "forecast:1", "-o", "json")
    document = json.loads(done.output)
    assert sorted(document["keys"]) == ["primary", "secondary"]
    key = run(project, "service", "keys", "realtime", "-i", "demo", "--regenerate", "secondary", "-o", "value").output
    assert len(key.strip()) == 43
    usage = run(project, "service", "usage", "realtime", "-i", "demo").output
    assert f"Scoring URL: {document['url']}" in usage
    assert "curl -H @-" in usage
    assert key.strip() not in usage
    assert json.loads(run(project, "service", "list", "realtime", "-o", "json").output)[0]["state"] == "ready"
    assert run(project, "service", "scale", "realtime", "-i", "demo", "-z", "1").output == "Processes: 1\n"
    assert "fake service" in run(project, "service", "logs", "realtime", "-i", "demo").output
    assert run(project, "service", "delete", "realtime", "-i", "demo").output == "demo is deleted.\n"
    assert run(project, "service", "list", "realtime", "-o", "value").output == "\n"


def test_one_that_does_not_hear_is_killed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_STOP_S", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAKE_SERVICE
    write_manifest(project, deaf, version=2)
    create_service(project, "demo", Wanted(manifest="forecast:2"))
    url = find_service(project, "demo")[0].url
    delete_service(project, "demo")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)


def test_one_that_cannot_be_read_hides_no_other(project: Path) -> None:
    created(project)
    broken = current_account(project) / "services" / "broken" / "service.json"
    broken.parent.mkdir()
    broken.write_text('{"formatVersion": 2}')
    done = run(project, "service", "list", "realtime", "-o", "json")
    states = {item["id"]: item["state"] for item in json.loads(done.output)}
    assert states["demo"] == "ready"
    assert "its formatVersion is 2" in states["broken"]
    broken.unlink()
