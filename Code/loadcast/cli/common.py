"""What all commands share: errors in one line, Spark's options, progress."""

from __future__ import annotations

import functools
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from loadcast.cli.logs import log_options
from loadcast.errors import LoadcastError
from loadcast.extras import missing_named
from loadcast.secrets import without_secrets
from loadcast.system import signals
from loadcast.system.disk import full_disk, is_full_disk

Command = TypeVar("Command", bound=Callable[..., Any])
_MASTER = "spark.master"


def friendly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show a LoadcastError as one message with its exit code; --debug shows the traceback, too."""

    command = log_options(command)

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def shielded(*args: Any, debug: bool, **options: Any) -> Any:
        with _errors_shown(debug):
            return command(*args, **options)

    return shielded


@contextmanager
def _errors_shown(debug: bool) -> Iterator[None]:
    try:
        with _full_disks_named(), missing_named():
            yield
    except KeyboardInterrupt:
        signals.interrupted()
        raise
    except LoadcastError as error:
        signals.check()  # what a signal brings about is not another error
        # What a traceback quotes of other libraries' errors has not been through ours.
        said = without_secrets("".join(traceback.format_exception(error))) if debug else f"loadcast: {error}"
        click.echo(said, err=True)
        raise SystemExit(error.exit_code) from error


@contextmanager
def _full_disks_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise full_disk(error.filename or tempfile.gettempdir()) from error


def spark_options(command: Command) -> Command:
    """Add --master, --conf, --spark-dependencies and --spark-log; the command gets them as `spark`, a SparkOptions."""

    @click.option("--master", metavar="URL", help="Spark master.  [default: $SPARK_MASTER, else all local cores]")
    @click.option("--conf", multiple=True, callback=_settings, metavar="KEY=VALUE", help="A Spark setting; repeatable.")
    @click.option(
        "--spark-dependencies",
        type=click.Path(),
        metavar="FILE",
        help="Spark settings and packages, such as Config/dsvm_spark_dependencies.yml; --conf wins over them.",
    )
    @click.option("--spark-log", is_flag=True, help="Show Spark's own log.")
    @functools.wraps(command)
    def with_spark(
        *args: Any,
        master: str | None,
        conf: dict[str, str],
        spark_dependencies: str | None,
        spark_log: bool,
        **options: Any,
    ) -> Any:
        from loadcast.spark.options import SparkOptions

        with _errors_shown(bool(options.get("debug"))):
            extra = _from_file(spark_dependencies) | conf
        named = extra.pop(_MASTER, None)
        return command(*args, spark=SparkOptions(master or named, spark_log, extra), **options)

    return with_spark  # type: ignore[return-value]  # wraps keeps what click needs


def _from_file(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    from loadcast.spark.dependencies import load_spark_dependencies

    return load_spark_dependencies(path)


def _settings(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    wrong = [value for value in values if "=" not in value]
    if wrong:
        raise click.BadParameter(f"found {wrong[0]!r}, wanted KEY=VALUE")
    return dict(value.split("=", 1) for value in values)
