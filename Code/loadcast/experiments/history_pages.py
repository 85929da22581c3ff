"""MLflow's pages over a project's history: what is run for them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError
from loadcast.experiments.history import environment, tracking_uri

#: The environment with the whole of MLflow, beside .venv: `make history-ui` makes it.
FOLDER = ".venv-mlflow"
#: Nothing runs in the background of pages that are looked at.
_VARIABLES = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
#: Else MLflow takes experiments for those of language models, and does not show their runs.
_FIRST_PAGE = "#/experiments?workflowType=machine_learning"
_PAGES = Path("server", "js", "build", "index.html")


@dataclass(frozen=True)
class PagesPlan:
    """How the pages are served: the command, its variables, and the address they will have."""

    argv: list[str]
    environment: dict[str, str]
    address: str


def pages_plan(project: Path, port: int) -> PagesPlan:
    """How MLflow's pages are served on this machine alone.

    Raises EnvironmentNotReadyError where the whole of MLflow is not installed.
    """
    argv = [*_mlflow(project), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Not among the arguments, where everybody sees them: an address may have a password in it.
    variables = {**environment(), **_VARIABLES, "MLFLOW_BACKEND_STORE_URI": tracking_uri(project)}
    return PagesPlan(argv, variables, f"http://127.0.0.1:{port}/{_FIRST_PAGE}")


def _mlflow(project: Path) -> list[str]:
    """What starts an MLflow that has its pages; the one of the extra `history` has none."""
    spec = find_spec("mlflow")
    if spec and spec.origin and (Path(spec.origin).parent / _PAGES).is_file():
        return [sys.executable, "-m", "mlflow"]
    command = project / FOLDER / "bin" / "mlflow"
    if os.access(command, os.X_OK):
        return [str(command)]
    raise EnvironmentNotReadyError(
        f"MLflow's pages are not installed; they have an environment of their own. In a clone: make history-ui. "
        f"Elsewhere: python3 -m venv {FOLDER} && {FOLDER}/bin/pip install 'mlflow>=3.17,<3.18' 'sqlalchemy<2.1'"
    )
