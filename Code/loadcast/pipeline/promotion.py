"""Promotion: a new model is published only if it does not lose against the last good one."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from loadcast import paths, schema
from loadcast.artefacts.contest import Contest
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError, HeldBackError, InputError
from loadcast.kernels.backtest.contest import contest_report
from loadcast.kernels.backtest.summary import WORSE
from loadcast.logs.events import RUN, log_event
from loadcast.serving.bundle import load_bundle
from loadcast.spark.contest import Champion, contest
from loadcast.spark.scoring import ScoreTask
from loadcast.spark.session import Spark
from loadcast.storage.output import Output
from loadcast.storage.publish import open_run

_SHORTEST = timedelta(hours=schema.HORIZON_HOURS)
_SECOND = timedelta(seconds=1)
_OTHERWISE = "or train without --unless-worse"


def last_good(output: Output, info: Info) -> Champion | None:
    """The output's model that answers now; None where there is none yet. `info` is of the run that is to be trained.

    Raises ArtefactError where it cannot be read, ConfigError where it cannot be compared with.
    """
    folder = output.at_hand({}, {paths.MODEL: paths.BUNDLE})
    if not os.path.lexists(folder / paths.MODEL):
        return None
    try:
        bundle = load_bundle(open_run(folder, paths.MODEL))
    except ArtefactError as error:
        raise ArtefactError(
            f"The last good model cannot be compared with: {error}",
            "Repair it, or train without --unless-worse to replace it.",
        ) from error
    _check_comparable(bundle.info, info)
    since = max(info.test_split_start, bundle.info.test_split_start)
    end = info.train_end + _SECOND
    if end - since < _SHORTEST:
        raise ConfigError(
            f"testSplitStart: found a test period from {info.test_split_start} to {end}, of which the last good model, "
            f"trained until {bundle.info.test_split_start}, has not seen {max(end - since, timedelta())}; "
            f"wanted 2 days or more to compare both by. Set a later trainEnd, {_OTHERWISE}."
        )
    return Champion(bundle.folder.name, bundle.encoders, bundle.model, bundle.info.train_begin, since)


def promoted(spark: Spark, task: ScoreTask, champion: Champion) -> Contest:
    """How the model of a task fares against the champion. Raises HeldBackError where it loses."""
    tally = contest(spark, task, champion)
    if not tally.servers:
        raise InputError(
            f"Found no observed hour from {champion.since} on, wanted some to compare the new model with the last good "
            f"one. Look at quality.json and trainEnd, {_OTHERWISE}."
        )
    result = Contest.model_validate({"champion": champion.run, **contest_report(tally)})
    is_worse = result.verdict == WORSE
    log_event(
        RUN,
        logging.WARNING if is_worse else logging.INFO,
        "contest",
        "A new model lost against the last good one." if is_worse else "A new model did not lose.",
        verdict=result.verdict,
        champion=result.champion,
        rows=result.rows,
        accuracy=result.accuracy.difference,
        log_loss=result.log_loss.difference,
    )
    if is_worse:
        raise HeldBackError(
            f"The new model was not published: it loses against that of the run {result.champion}, which goes on.",
            *result.lines(),
            f"Look at the newest sessions and settings, {_OTHERWISE} to publish it all the same.",
            numbers=result.numbers(),
        )
    return result


def _check_comparable(champion: Info, info: Info) -> None:
    """Both models have to answer the same question from the same features."""
    for key, actual, wanted in (
        ("featureSet", _set(info), _set(champion)),
        ("timezone", info.timezone, champion.timezone),
        ("holidayCountry", info.holiday_country, champion.holiday_country),
        ("labelRule and its bounds", _classes(info), _classes(champion)),
    ):
        if actual != wanted:
            raise ConfigError(
                f"{key}: found {actual}, wanted {wanted} as in the last good model, which cannot be compared with "
                f"otherwise. Change it, {_OTHERWISE}."
            )


def _set(info: Info) -> str:
    return f"{info.feature_set.name} {info.feature_set.version}"


def _classes(info: Info) -> str:
    """What decides what low and high mean: configured bounds, or the quantiles by which they are learned anew."""
    labels = info.labels
    if labels is None or labels.low_quantile is None:
        return f"{info.label_rule.name} {info.low_threshold:g} {info.high_threshold:g}"
    return f"{labels.rule} {labels.low_quantile:g} {labels.high_quantile:g}"
