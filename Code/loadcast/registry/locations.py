"""Where model management keeps its things in a project: the one place that knows."""

from __future__ import annotations

from pathlib import Path

from loadcast.experiments.locations import STATE_FOLDER

_FOLDER = "modelmanagement"


def management_folder(project: Path) -> Path:
    """All of it but MLflow's database, which the history of runs shares."""
    return project / STATE_FOLDER / _FOLDER


def model_store(project: Path) -> Path:
    """Registered models, each in a folder that its content names."""
    return management_folder(project) / "models"


def settings_file(project: Path) -> Path:
    """Which environment and which account are in use."""
    return management_folder(project) / "settings.json"


def environment_file(project: Path, name: str) -> Path:
    """What an environment is."""
    return management_folder(project) / "environments" / f"{name}.json"


def account_folder(project: Path, name: str) -> Path:
    """Manifests, images and services of an account."""
    return management_folder(project) / "accounts" / name
