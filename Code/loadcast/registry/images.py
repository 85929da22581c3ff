"""Images of services: made from a manifest alone, so that the same manifest gives the same files.

An image has a Python environment of the locked packages, loadcast, the script and the model; no Java, no Spark, no
pandas, and no compiler. It runs without rights and with a file system that cannot be written, but for /tmp.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from loadcast.errors import ConfigError
from loadcast.registry.documents import (
    Numbered,
    Text,
    checked_service_name,
    now,
    read_document,
    read_numbered,
    split_id,
    versions_in,
    write_document,
)
from loadcast.registry.manifests import LOCK, MODEL, PACKAGE, SERVICE, Manifest, digest_of, find_manifest
from loadcast.registry.programs import logged, output_of
from loadcast.registry.settings import current_account, current_environment
from loadcast.secrets import shown
from loadcast.system.locks import locked

#: Who the service is in its container.
USER = 10001
PORT = 5001
KEY_FILE = "/run/loadcast/keys"
DOCKERFILE = "Dockerfile"
_ROOT = "/opt/loadcast"
_DATE_S = 1_000_000_000
#: Parts of packages that no service loads.
_UNUSED = (
    "pip pip-*.dist-info setuptools setuptools-*.dist-info pkg_resources _distutils_hack distutils-precedence.pth "
    "pyarrow/include pyarrow/tests pyarrow/src pyarrow/libarrow_flight* pyarrow/libarrow_python_flight* "
    "pyarrow/_flight* pyarrow/libarrow_s3* pyarrow/_s3fs* "
    "numpy/*/tests numpy/tests numpy/f2py"
)
#: What a service with its model beside it hardly ever imports, so that it need not be compiled ahead.
_SELDOM = "/(azure|msal|cffi|pycparser|pygments|holidays/countries|holidays/financial)/"


class Image(Numbered):
    """An image. `reference` is its name for docker; `digest` covers the files that it was built from."""

    FILE: ClassVar[str] = "image.json"

    manifest: Text
    reference: Text
    base_image: Text
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]
    base_size_bytes: Annotated[int, Field(ge=0)]


def dockerfile(manifest: Manifest, base_image: str) -> str:
    """How an image is built: packages are installed in a stage of their own, so that only what runs stays."""
    words = [f"{_ROOT}/bin/python", f"/opt/{SERVICE}/{manifest.script}", "--model", f"/opt/{MODEL}"]
    entry = json.dumps([*words, "--host", "0.0.0.0"])
    python, site = f"{_ROOT}/bin/python", f"{_ROOT}/lib/python3*/site-packages"
    install = "-m pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --only-binary=:all:"
    return "\n".join(
        [
            f"FROM {base_image} AS build",
            f"COPY {LOCK} /build/{LOCK}",
            f"RUN python3 -m venv {_ROOT} \\",
            f" && {python} {install} --require-hashes -r /build/{LOCK} \\",
            f" && cd {site} && rm -rf {_UNUSED} {_ROOT}/bin/pip*",
            f"COPY {PACKAGE} /build/{PACKAGE}",
            f"RUN cd {site} && cp -r /build/{PACKAGE} . \\",
            f" && {python} -m compileall -q -j 0 -x '{_SELDOM}' --invalidation-mode unchecked-hash .",
            "",
            f"FROM {base_image}",
            f"COPY --from=build {_ROOT} {_ROOT}",
            f"COPY {SERVICE} /opt/{SERVICE}",
            f"COPY {MODEL} /opt/{MODEL}",
            "ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp",
            f"USER {USER}:{USER}",
            f"EXPOSE {PORT}",
            f"ENTRYPOINT {entry}",
            f'CMD ["--port", "{PORT}", "--key-file", "{KEY_FILE}"]',
            "",
        ]
    )


def write_context(manifest: Manifest, source: Path, base_image: str, target: Path) -> str:
    """Write the files that an image is built from into a folder; returns the SHA-256 over them.

    Modes and times are the same each time, too, as they are parts of an image.
    """
    for part in (PACKAGE, SERVICE, MODEL):
        shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(source / LOCK, target / LOCK)
    (target / DOCKERFILE).write_text(dockerfile(manifest, base_image), encoding="utf-8")
    for path in [*target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_DATE_S, _DATE_S))
    return digest_of(target, (DOCKERFILE, LOCK, PACKAGE, SERVICE, MODEL))


def create_image(
    project: Path, name: str, manifest_id: str, base_image: str | None = None, repository: str | None = None
) -> Image:
    """Build the next image of a name from a manifest, with docker. Raises LoadcastError."""
    checked_service_name(name, "The image's name")
    manifest, source = find_manifest(project, manifest_id)
    base = _reference(base_image or current_environment(project).base_image)
    folder = current_account(project) / "images" / name
    with locked(folder), tempfile.TemporaryDirectory(prefix="loadcast-image-") as scratch:
        version = max(versions_in(folder), default=0) + 1
        reference = _reference(f"{repository.rstrip('/')}/{name}" if repository else f"loadcast-{name}") + f":{version}"
        digest = write_context(manifest, source, base, Path(scratch))
        # The machine's network: that of containers may not reach what the machine installs packages from.
        build = ["docker", "build", "--network", "host", "--tag", reference, scratch]
        logged(build, folder / f"{version}.log")
        image = Image(
            name=name,
            version=version,
            created=now(),
            manifest=manifest.id,
            reference=reference,
            base_image=base,
            digest=digest,
            size_bytes=_size(reference),
            base_size_bytes=_size(base),
        )
        write_document(folder / f"{version}.json", image)
    if repository:
        output_of(["docker", "push", reference])
    return image


def find_image(project: Path, image: str) -> Image:
    """An image by its id. Raises ConfigError where there is none."""
    name, version = split_id(image, "The image")
    known = read_document(Image, current_account(project) / "images" / name / f"{version}.json")
    if known is None:
        raise ConfigError(f"There is no image {image}. These are there: loadcast image list")
    return known


def list_images(project: Path) -> list[Image]:
    """All images of the account, by name and version. Raises ArtefactError."""
    return read_numbered(Image, current_account(project) / "images", "{}.json")


def _reference(text: str) -> str:
    """An image's name, which becomes a word of a command line and of a Dockerfile. Raises ConfigError."""
    if not text or text.startswith("-") or not text.isascii() or any(not (c.isalnum() or c in "./:@_-") for c in text):
        raise ConfigError(f"image: found {shown(repr(text), 100)}, wanted a name such as python:3.13-slim-bookworm.")
    return text


def _size(reference: str) -> int:
    return int(output_of(["docker", "image", "inspect", "--format", "{{.Size}}", reference]).strip())
