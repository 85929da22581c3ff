"""The gate: what answers while a model runs, decided from hours that are already over.

At each origin the forecasts of the hours up to it are known to be right or wrong. Where the best naive forecast was
right more often than the model by a margin, it answers. Probabilities are mixed of the model's and of the naive
forecasts' own, by how well each has told the same hours.

Source of the mixing: Vovk, Aggregating Strategies (1990), weights that fall with the exponential of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.verified import Verified

_N = len(schema.CLASS_NAMES)
_MODEL = 0


@dataclass(frozen=True)
class GateRule:
    """When a naive forecast answers, and how probabilities come about; measured in Docs/MONITORING.md.

    A naive forecast answers for all servers where, over the last `window_h` hours, its accuracy was higher by more than
    `margin`, if it was ahead over the last `lately_h`, too, as far as these are known: not after the model has
    recovered. It answers for one server where it was higher by more than `server_margin` over `server_window_h`, the
    server's own lead drawn to that of all servers as by `server_rows` rows, if it was ahead over `window_h`, too. Half
    of a window's hours must be known.

    What a naive forecast's class means is counted over `table_h` hours and `prior_rows` rows like those of the
    training. Weights are of the last `weight_h` hours; before any is known, the model has the share `model_share`.
    """

    window_h: int = 24
    margin: float = 0.2
    lately_h: int = 6
    server_window_h: int = 168
    server_margin: float = 0.2
    server_rows: float = 100.0
    table_h: int = 48
    prior_rows: float = 20.0
    weight_h: int = 168
    model_share: float = 0.8


RULE = GateRule()


@dataclass(frozen=True, eq=False)
class Gate:
    """What answers at o origins, (o,), rising, of J forecasts, the model first.

    `chosen`, (o,), is the number of the forecast that answers for all servers, 0 for the model. `leads`, (o, J − 1),
    are by how much each naive forecast's accuracy was above the model's over `server_window_h`. `tables`,
    (o, J − 1, 3, 3), are the probabilities of the true class (rows) where a naive forecast says a class (columns);
    `weights`, (o, J), the shares of all forecasts in the probabilities.
    """

    origins: Int64s
    chosen: Int64s
    leads: Float64s
    tables: Float64s
    weights: Float64s


@dataclass(frozen=True, eq=False)
class Answers:
    """Classes 1 to 3, (n,), and probabilities, (n, 3)."""

    labels: Int64s
    probabilities: Float64s


def prior_tables(training: NDArray[Any]) -> Float64s:
    """Probabilities of the true class given a naive forecast's, (J, 3, 3), of its confusion in training, (J, 3, 3).

    One row more in each cell: a class that was never forecast tells nothing.
    """
    counts = training.astype(np.float64) + 1.0
    shares: Float64s = counts / counts.sum(axis=-2, keepdims=True)
    return shares


def gate_at(origins: Int64s, verified: Verified, prior: Float64s, first_hour: int, rule: GateRule = RULE) -> Gate:
    """What answers at some origins, from the hours up to each.

    `verified` has J forecasts that always answer; of hours before `first_hour`, the first that the model was not
    trained on, only what naive forecasts said counts. `prior`, (J − 1, 3, 3), is prior_tables of the training.
    """
    origins = np.unique(origins)
    own = verified.chosen(verified.hours >= first_hour)
    leads, enough = _leads(origins, own, rule.window_h)
    lately, is_known = _leads(origins, own, rule.lately_h)
    best, rows = leads.argmax(axis=1), np.arange(len(origins))
    is_better = (leads[rows, best] > rule.margin) & ((lately[rows, best] > 0) | ~is_known)
    chosen = np.where(enough & is_better, 1 + best, _MODEL)
    longer, _ = _leads(origins, own, rule.server_window_h)
    tables = _tables(origins, verified, prior, rule)
    return Gate(origins, chosen, longer, tables, _weights(origins, verified, own, (prior, rule)))


def choices_of_servers(
    known: NDArray[Any], more_hits: NDArray[Any], lately: NDArray[Any], gate: Gate, rule: GateRule = RULE
) -> NDArray[Any]:
    """What answers for each of s servers at each of the gate's origins, (s, o): the number of a forecast.

    `known`, (s, o), is how many of the model's forecasts of the last `server_window_h` hours are verified, and
    `more_hits`, (s, o, J − 1), how many more of them each naive forecast had right; `lately` is that of the last
    `window_h` hours. What answers for all servers comes first.
    """
    drawn = more_hits + rule.server_rows * gate.leads
    leads = np.where(lately > 0, drawn / (known + rule.server_rows)[..., None], -1.0)
    ahead = (2 * known >= rule.server_window_h) & (leads.max(axis=2) > rule.server_margin)
    own = np.where(ahead, 1 + leads.argmax(axis=2), _MODEL)
    return np.where(gate.chosen > _MODEL, gate.chosen, own).astype(np.int8)


def gated(gate: Gate, at: Int64s, chosen: NDArray[Any], said: NDArray[Any], probabilities: Float64s) -> Answers:
    """What the gate lets through of n forecasts made at the origins gate.origins[at], (n,).

    `chosen`, (n,), is the number of the forecast that answers each; `said`, (J, n), are all forecasts' classes, and
    `probabilities`, (n, 3), the model's.
    """
    rows = np.arange(len(at))
    labels = said[chosen, rows].astype(np.int64)
    tables = gate.tables[at]
    naive = np.stack([tables[rows, j, :, said[j + 1] - 1] for j in range(len(said) - 1)], axis=1)
    weights = gate.weights[at]
    mixed = weights[:, :1] * probabilities + np.einsum("nj,njc->nc", weights[:, 1:], naive)
    own = naive[rows, np.maximum(chosen - 1, 0)]
    return Answers(labels, np.where((chosen > _MODEL)[:, None], own, mixed))


def _leads(origins: Int64s, own: Verified, window_h: int) -> tuple[Float64s, NDArray[np.bool_]]:
    """By how much each naive forecast's accuracy was above the model's, (o, J − 1), and whether enough is known, (o,):
    forecasts of half of the hours.
    """
    within = own.until(origins, window_h)
    known = within[:, _MODEL].sum(axis=(1, 2))
    hits = np.trace(within[..., 1:], axis1=2, axis2=3)
    hours = np.unique(own.hours)
    number = np.searchsorted(hours, origins, "right") - np.searchsorted(hours, origins - window_h, "right")
    leads: Float64s = (hits[:, 1:] - hits[:, :1]) / np.maximum(known, 1)[:, None]
    return leads, 2 * number >= window_h


def _tables(origins: Int64s, verified: Verified, prior: Float64s, rule: GateRule) -> Float64s:
    counts = verified.until(origins, rule.table_h)[:, 1:, :, 1:] + rule.prior_rows * prior
    tables: Float64s = counts / counts.sum(axis=2, keepdims=True)
    return tables


def _weights(origins: Int64s, verified: Verified, own: Verified, by: tuple[Float64s, GateRule]) -> Float64s:
    """Each forecast's share: falls with the exponential of its losses, the mean of each hour's forecasts summed."""
    prior, rule = by
    made, back = np.unique(own.origins, return_inverse=True)
    tables = _tables(made, verified, prior, rule)[back]
    rows = own.counts[:, _MODEL].sum(axis=(1, 2))
    losses = np.concatenate((own.loss[:, None], -(own.counts[:, 1:, :, 1:] * np.log(tables)).sum(axis=(2, 3))), axis=1)
    hours, hour = np.unique(own.hours, return_inverse=True)
    of_hour = np.zeros((len(hours), losses.shape[1]))
    np.add.at(of_hour, hour, losses)
    of_hour /= np.maximum(np.bincount(hour, rows, minlength=len(hours)), 1)[:, None]
    total = np.concatenate((np.zeros((1, of_hour.shape[1])), np.cumsum(of_hour, axis=0)))
    end, begin = (np.searchsorted(hours, at, "right") for at in (origins, origins - rule.weight_h))
    lost = total[end] - total[begin]
    start = np.full(losses.shape[1], (1 - rule.model_share) / max(losses.shape[1] - 1, 1))
    start[_MODEL] = rule.model_share
    weights = start * np.exp(lost.min(axis=1, keepdims=True) - lost)
    shares: Float64s = weights / weights.sum(axis=1, keepdims=True)
    return shares
