"""Options that are durations: whole days, or a time such as 10m."""

from __future__ import annotations

import click

_LONGEST_STEP_DAYS = 366
_SHOWN = 5
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_LONGEST_H = 720


def days(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """A whole number of days, such as `7d`."""
    digits = value.removesuffix("d")
    is_number = value != digits and digits.isascii() and digits.isdigit() and len(digits) <= 3
    if not is_number or not 2 <= int(digits) <= _LONGEST_STEP_DAYS:
        # A longer text is no such number, and may be a secret that was pasted into the wrong option.
        raise click.BadParameter(f"found {value[:_SHOWN]!r}, wanted 2d to {_LONGEST_STEP_DAYS}d, whole days")
    return int(digits)


def seconds(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """The seconds of a time such as `90s`, `10m` or `2h`."""
    digits, unit = value[:-1], value[-1:]
    is_number = unit in _SECONDS and digits.isascii() and digits.isdigit() and len(digits) <= 7
    if not is_number or not 1 <= int(digits) * _SECONDS[unit] <= _LONGEST_H * 3_600:
        raise click.BadParameter(f"found {value[:_SHOWN]!r}, wanted a time such as 90s, 10m or 2h, up to {_LONGEST_H}h")
    return int(digits) * _SECONDS[unit]
