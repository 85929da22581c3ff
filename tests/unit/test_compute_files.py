"""Files of compute targets: those of a project, and those that a clone brings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loadcast.errors import ConfigError
from loadcast.experiments.compute import list_compute, parse_compute, read_compute, write_compute
from loadcast.experiments.yaml_files import read_mapping

ROOT = Path(__file__).resolve().parents[2]
AML_CONFIG = ROOT / "aml_config"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def test_a_missing_target_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no compute target other: .* Attached: none\."):
        read_compute(tmp_path, "other")
    write_compute(tmp_path, "here", parse_compute({"type": "local"}))
    with pytest.raises(ConfigError, match=r"Attached: here\. Add it: loadcast computetarget attach TYPE --name other"):
        read_compute(tmp_path, "other")


def test_the_list_has_broken_targets_too(tmp_path: Path) -> None:
    write_compute(tmp_path, "good", parse_compute({"type": "local"}))
    for name, content in (("broken", "type: ["), ("old", "type: adla"), ("bad name", "type: local")):
        (tmp_path / "aml_config" / f"{name}.compute").write_text(content)
    listed = {entry.name: entry for entry in list_compute(tmp_path)}
    assert list(listed) == ["bad name", "broken", "good", "old"]
    assert listed["good"].target is not None
    assert listed["good"].problem is None
    assert all(listed[name].problem is not None for name in ("broken", "old", "bad name"))
    assert "retired in February 2024" in str(listed["old"].problem)


def test_the_shipped_targets_can_be_used() -> None:
    assert {entry.name: entry.target.type for entry in list_compute(ROOT) if entry.target} == {
        "docker": "localdocker",
        "local": "local",
    }


@pytest.mark.parametrize("name", ["dsvm", "hdi"])
def test_a_template_can_be_used_once_it_is_filled_in(tmp_path: Path, name: str) -> None:
    template = tmp_path / "x.compute"
    template.write_text((AML_CONFIG / f"{name}.compute.template").read_text())
    with pytest.raises(ConfigError) as caught:
        parse_compute(read_mapping(template))
    assert re.findall(r"^  (\w+): found '<", str(caught.value), re.MULTILINE) == ["address", "username"]
    # What is commented out can be used as well, the password in place of the key.
    text = re.sub(r"<[^>]*>", "filled", template.read_text()).replace("AAAA...", HOST_KEY.split()[1])
    template.write_text(re.sub(r"^#(\w+: )", r"\1", text, flags=re.MULTILINE).replace("private_key_file", "#"))
    target = parse_compute(read_mapping(template))
    assert (target.address, target.host_key) == ("filled", HOST_KEY)
    assert target.password is not None
