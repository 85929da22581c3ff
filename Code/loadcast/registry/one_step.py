"""A service in one step: what is left out of model, manifest and image is made on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadcast.registry.documents import checked_service_name
from loadcast.registry.images import create_image
from loadcast.registry.manifests import Asked, Runtime, create_manifest
from loadcast.registry.models import register
from loadcast.registry.settings import TargetName, current_environment


@dataclass(frozen=True)
class Sources:
    """What a service is to be made of: its script and model, and what a manifest may have besides."""

    script: str
    model: str
    runtime: Runtime = "python"
    files: Sequence[str] = ()
    conda: str | None = None
    lock: str | None = None


def made(project: Path, name: str, sources: Sources, target: TargetName | None) -> tuple[str | None, str]:
    """Register the model and make a manifest, and an image where the target runs one, all called `name`.

    Returns the ids of the image, or None, and of the manifest. Raises LoadcastError.
    """
    checked_service_name(name, "The service's name")
    model = register(project, sources.model, name)
    asked = Asked(name, sources.script, [model.id], sources.runtime, sources.files, sources.conda, sources.lock)
    manifest = create_manifest(project, asked)
    if (target or current_environment(project).target) == "local":
        return None, manifest.id
    return create_image(project, name, manifest.id).id, manifest.id
