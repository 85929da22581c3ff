"""Scripts on YARN: `spark-submit` on the head node of a cluster that is reached by SSH, such as HDInsight.

The agent on the head node makes the environment, compiles the kernels, and sees to it that the nodes have both.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.plan import AGENT, RUN_ID, Plan
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.runner import Recipe, Runner
from loadcast.experiments.target_types import HOME_BASE, Job, name_of, plain_recipe, ssh_machine
from loadcast.secrets import shown

#: The cluster brings its own, and all nodes have that.
_OF_THE_CLUSTER = re.compile(r"pyspark(?![A-Za-z0-9._-])", re.IGNORECASE)


class Cluster:
    """YARN, asked by the agent on a head node."""

    name = "cluster"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent in the user's home folder on the head node."""
        return Agent(ssh_machine(target, name), HOME_BASE)

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """In a folder of the agent's, and as an archive that goes to the nodes; Spark is the cluster's."""
        theirs = replace(environment, pip=tuple(line for line in environment.pip if not _OF_THE_CLUSTER.match(line)))
        return Recipe(name_of(theirs, "archive"), {**plain_recipe(theirs).spec, "archive": True})

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """The agent's own command for it. Raises ConfigError for what spark-submit would not run."""
        if not job.words[0].endswith(".py"):
            raise ConfigError(
                f"ArgumentVector: found {shown(job.words[0], 100)} as its first word, and a cluster runs scripts: "
                "wanted $file, or a path that ends with .py."
            )
        spec = {
            "mode": target.yarn_deploy_mode,
            "submit": target.spark_submit_location or "spark-submit",
            "python": target.python_location,
            "environment": job.environment,
            "spark": dict(job.spark),
            "words": job.words,
            "variables": sorted(job.variables),
            "secrets": sorted(job.secrets),
        }
        return Plan(
            (*AGENT, "cluster", (RUN_ID,), json.dumps(spec)),
            dict(job.variables),
            ((*AGENT, "end-application", (RUN_ID,)),),
        )
