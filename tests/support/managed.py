"""Things of model management made up without MLflow and without an engine, and programs that stand in for engines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from loadcast.registry.documents import now, write_document
from loadcast.registry.images import Image
from loadcast.registry.manifests import LOCK, MODEL, PACKAGE, SERVICE, Manifest, digest_of
from loadcast.registry.settings import current_account

#: A service that is ready at once, and tells what it was given.
FAKE_SERVICE = """
import http.server, json, os, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("fake service", os.environ.get("LOADCAST_SERVICE_KEY", "no key"), flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"words": sys.argv[1:], "pid": os.getpid(), "session": os.getsid(0)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

http.server.HTTPServer((words["--host"], int(words["--port"])), Handler).serve_forever()
"""
#: Notes its words and what it reads, answers what it is told to, and fails at what it is told to.
_FAKE_PROGRAM = """#!{python}
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
name = os.path.basename(sys.argv[0])
words = sys.argv[1:]
content = "" if sys.stdin.isatty() else sys.stdin.read()
with open(os.path.join(folder, name + ".calls"), "a") as file:
    file.write(json.dumps([words, content]) + "\\n")
answers = json.load(open(os.path.join(folder, name + ".answers")))
for begin, code, text in answers:
    if " ".join(words).startswith(begin):
        (sys.stderr if code else sys.stdout).write(text + "\\n")
        sys.exit(code)
"""

Answer = tuple[str, int, str]


class FakeProgram:
    """A program that stands in for docker or kubectl, in a folder to be put on the PATH."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        (folder / name).write_text(_FAKE_PROGRAM.format(python=sys.executable))
        (folder / name).chmod(0o755)
        self.answer()

    def answer(self, *answers: Answer) -> None:
        """Say (what the words begin with, exit code, text); of others, nothing, and well."""
        (self._folder / f"{self._name}.answers").write_text(json.dumps(answers))

    def calls(self) -> list[list[str]]:
        """The words of all calls until now, which are then forgotten."""
        return [words for words, _ in self.calls_with_content()]

    def calls_with_content(self) -> list[tuple[list[str], str]]:
        """The same, each with what it has read."""
        file = self._folder / f"{self._name}.calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [(words, content) for words, content in map(json.loads, lines)]


def write_manifest(project: Path, script: str = FAKE_SERVICE, name: str = "forecast", version: int = 1) -> Manifest:
    """A manifest of a script, with a file in place of each of the other parts."""
    folder = current_account(project) / "manifests" / name / str(version)
    for part, file, text in (
        (SERVICE, "webservice.py", script),
        (PACKAGE, "__init__.py", f"__version__ = '{version}'\n"),
        (MODEL, "info", "{}"),
    ):
        (folder / part).mkdir(parents=True)
        (folder / part / file).write_text(text)
    (folder / LOCK).write_text("numpy==2.4.6 \\\n    --hash=sha256:00\n")
    manifest = Manifest(
        name=name,
        version=version,
        created=now(),
        script="webservice.py",
        runtime="python",
        models=("forecast:1",),
        made_with="0.1.0",
        digest=digest_of(folder, (LOCK, PACKAGE, SERVICE, MODEL)),
    )
    write_document(folder / Manifest.FILE, manifest)
    return manifest


def write_image(project: Path, manifest: Manifest, version: int = 1) -> Image:
    """An image as `image create` notes it; there is none."""
    fields: dict[str, Any] = {"reference": f"loadcast-forecast:{version}", "base_image": "debian", "digest": "0" * 64}
    image = Image(
        name="forecast",
        version=version,
        created=now(),
        manifest=manifest.id,
        size_bytes=300,
        base_size_bytes=100,
        **fields,
    )
    write_document(current_account(project) / "images" / "forecast" / f"{version}.json", image)
    return image


def on_path(folder: Path) -> str:
    """A PATH on which the folder's programs come first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
