"""Environments as images of containers: made on top of a base image, as one is made in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from .environments import checked_hash, run_tool

#: Where the agent has its folder in an image; the environment lies below it.
INSIDE = "/opt/loadcast"


def make_image(base: str, name: str, spec: dict[str, Any]) -> str:
    """Build an image, unless it is there; returns its name.

    `spec` is as for make_environment, with `image`, the base image, which has to have Python 3.8 or newer. Raises
    Refused.
    """
    image = image_name(name)
    if has_image(name):
        return image
    agent, inside = os.path.abspath(sys.argv[0]), f"{INSIDE}/agent.pyz"
    make = ["python3", inside, INSIDE, "environment", name, json.dumps({**spec, "image": None})]
    os.makedirs(base, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix=".image-") as context:
        shutil.copyfile(agent, os.path.join(context, "agent.pyz"))
        with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as file:
            file.write(f"FROM {spec['image']}\nCOPY agent.pyz {inside}\nRUN {json.dumps(make)}\n")
        run_tool(["docker", "build", "--network", "host", "--tag", image, context])
    return image


def has_image(name: str) -> bool:
    """Whether an image is there."""
    words = ["docker", "image", "inspect", image_name(name)]
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    except OSError:
        return False


def image_name(name: str) -> str:
    """What an environment's image is called. Raises Refused for what is no hash."""
    return f"loadcast-environment:{checked_hash(name)}"
