"""What a configuration says of simulated cutoffs, in the kernels' terms."""

from __future__ import annotations

from datetime import datetime, timedelta

from loadcast import schema
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.simulation.draw import Draw, density
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.kernels.simulation.tables import Simulation
from loadcast.kernels.simulation.views import View, cutoffs, views
from loadcast.rules import Rules
from loadcast.settings import Settings

#: Of draws: a run is made again as it was.
_SEED = 1


def simulated_cutoffs(settings: Settings) -> list[int]:
    """The hours (since 1970) that training takes for the end of what is known, and the split as the last one.

    None at all where the time before the split is too short. Raises ConfigError.
    """
    split = _hour(settings.split)
    simulated = cutoffs(_hour(settings.train_begin), split, schema.HORIZON_HOURS)
    return [*simulated, split] if simulated else []


def simulation_of(settings: Settings, rules: Rules, rule: LabelRule, sketch: Sketch, servers: int) -> Simulation:
    """What the rows of any server are made by: `rules` are the settings', `rule` has the bounds of the run, and
    `sketch` the fleet's peaks."""
    begin, split = _hour(settings.train_begin), _hour(settings.split)
    asked = View(0, 0, 0, rule.name, settings.low_quantile, settings.high_quantile, rule.common)
    found = tuple(views(sketch, begin, asked, _SEED))
    return Simulation(
        features=rules.features,
        calendar=rules.calendar,
        views=found,
        draw=Draw(density(found, servers), rules.features.origin, _SEED),
        rule=rule,
        begin=begin,
        split=split,
        end=_hour(settings.train_end + timedelta(seconds=3_599)),
        every_h=settings.origin_every_hours,
    )


def _hour(time: datetime) -> int:
    return epoch_seconds(time) // 3_600
