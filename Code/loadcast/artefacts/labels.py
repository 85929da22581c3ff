"""The labels' part of `info`: the bounds of each class, and where they came from."""

from __future__ import annotations

from pydantic import model_validator

from loadcast.artefacts.document import Name, Part, Real
from loadcast.kernels.labels import OWN_BOUNDS_H, Bounds, LabelQuantiles, LabelRule


class ClassBounds(Part):
    """Low is a load up to and including `low`, high is above `high`; `source`: configured, fleet or server."""

    low: Real
    high: Real
    source: str

    @model_validator(mode="after")
    def _check_order(self) -> ClassBounds:
        if self.low > self.high:
            raise ValueError(f"found the bounds {self.low:g} and {self.high:g}, wanted the low one first")
        return self

    def bounds(self) -> Bounds:
        """As the kernels have them."""
        return Bounds(self.low, self.high, self.source)


class Labels(Part):
    """The rule of a run's labels: `common` bounds, and `servers` with their own.

    Of bounds that were learned: the quantiles, and how many observed hours a server needs for its own.
    """

    rule: str
    common: ClassBounds
    servers: dict[Name, ClassBounds]
    low_quantile: Real | None = None
    high_quantile: Real | None = None
    own_bounds_hours: int | None = None

    @classmethod
    def of(cls, rule: LabelRule, asked: LabelRule | LabelQuantiles) -> Labels:
        """What is stored of a rule, and of what it was learned by."""
        stored = cls(
            rule=rule.name,
            common=_stored(rule.common),
            servers={server: _stored(bounds) for server, bounds in rule.of_server.items()},
        )
        if isinstance(asked, LabelRule):
            return stored
        learned = {"low_quantile": asked.low, "high_quantile": asked.high, "own_bounds_hours": OWN_BOUNDS_H}
        return stored.model_copy(update=learned)

    def label_rule(self) -> LabelRule:
        """The rule itself."""
        of_server = {server: bounds.bounds() for server, bounds in self.servers.items()}
        return LabelRule(self.rule, self.common.bounds(), of_server)


def _stored(bounds: Bounds) -> ClassBounds:
    return ClassBounds(low=bounds.low, high=bounds.high, source=bounds.source)
