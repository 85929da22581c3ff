"""Files of pipelines: named steps, what each runs, and which it comes after."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from loadcast.errors import ConfigError
from loadcast.experiments.fields import CONFIG, NAME, ListAsTuple, PathText, Text, inside, matching, nearest, validated
from loadcast.experiments.yaml_files import read_mapping

_KIND, _EXAMPLE = "Pipeline", "Docs/EXPERIMENTS.md"


_Name = Annotated[Text, matching(NAME, "a name of letters, digits, and the signs . _ -")]
_Inside = Annotated[
    PathText, inside("a path that stays inside its folder"), AfterValidator(lambda path: PurePosixPath(path).as_posix())
]


class Step(BaseModel):
    """One step. `inputs` are by name STEP/PATH: what that step has put into its outputs/; it gets them in inputs/NAME.

    `outputs` are the paths in outputs/ that it has to leave there. It begins when the steps of its inputs and those in
    `after` have completed. Unless `allow_reuse` is false, a run that was asked the same is taken for it.
    """

    model_config = CONFIG

    script: PathText
    arguments: Annotated[tuple[Text, ...], ListAsTuple] = ()
    run_config: Text = "local"
    target: _Name | None = None
    inputs: dict[_Name, _Inside] = Field(default_factory=dict)
    outputs: Annotated[tuple[_Inside, ...], ListAsTuple] = ()
    after: Annotated[tuple[_Name, ...], ListAsTuple] = ()
    allow_reuse: bool = True

    @property
    def before(self) -> set[str]:
        """The steps that have to complete before it."""
        return {*self.after, *(path.partition("/")[0] for path in self.inputs.values())}


class Pipeline(BaseModel):
    """A pipeline: its name, which its runs have as their experiment, and its steps by name."""

    model_config = CONFIG

    name: _Name
    steps: dict[_Name, Step]

    def sorter(self) -> TopologicalSorter[str]:
        """The steps in an order in which they can run. Raises CycleError."""
        return TopologicalSorter({name: step.before for name, step in self.steps.items()})


def read_pipeline(path: Path) -> Pipeline:
    """The pipeline of a file. Raises ConfigError that names the file, the step, what was found and wanted."""
    source = f"{_KIND} {path}"
    data = read_mapping(path, _KIND, _EXAMPLE)
    steps = data.get("steps")
    if not isinstance(steps, dict) or not steps:
        raise ConfigError(f"{source}: steps: found none, wanted steps by name, as in {_EXAMPLE}.")
    for name, step in steps.items():
        if not isinstance(step, dict):
            raise ConfigError(f"{source}: steps.{name}: found no fields, wanted script and others, as in {_EXAMPLE}.")
    made = {name: validated(Step, step, f"{source}: step {name}") for name, step in steps.items()}
    pipeline = validated(Pipeline, {**data, "steps": made}, source)
    for name, step in pipeline.steps.items():
        for other in sorted(step.before - {*pipeline.steps}):
            raise ConfigError(
                f"{source}: step {name}: {other} is no step; {nearest(other, [*pipeline.steps], 'step')}."
            )
        for given, path_of in step.inputs.items():
            _check_input(source, pipeline, name, given, path_of)
    try:
        pipeline.sorter().prepare()
    except CycleError as error:
        circle = " before ".join(error.args[1])
        raise ConfigError(f"{source}: found a circle, {circle}, wanted steps that can begin.") from None
    return pipeline


def _check_input(source: str, pipeline: Pipeline, step: str, given: str, path: str) -> None:
    """An input has to be, or to lie in, what the step before declares."""
    before, _, inside = path.partition("/")
    declared = pipeline.steps[before].outputs
    if not any(PurePosixPath(inside).is_relative_to(output) for output in declared):
        known = ", ".join(declared) or "none"
        raise ConfigError(
            f"{source}: step {step}: inputs.{given}: found {path}, wanted an output of {before}: {known}."
        )
