"""The report's charts as PNG files, drawn by resvg."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError, OutputError
from loadcast.extras import require
from loadcast.report.charts.canvas import Picture, label, picture
from loadcast.report.forecast_files import write_whole
from loadcast.report.page.parts import Figure
from loadcast.secrets import shown
from loadcast.storage.files import check_writable_name

EXTRA = "pictures"
_OPTION = "--png"
#: Points of a PNG for each unit of a chart: 784 wide, or 1504 for strips.
_ZOOM = 2.0
_FONTS = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial", "Helvetica"]


def check_folder(folder: Path) -> Path:
    """The folder, made if need be, before there is work to lose.

    Raises ConfigError for a name with a secret in it, OutputError and EnvironmentNotReadyError.
    """
    check_writable_name(folder, _OPTION)
    require(EXTRA)
    _check_fonts()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no folder can have such a name"
        raise OutputError(f"Cannot make {shown(folder)}: {why}. Name another folder with {_OPTION}.") from error
    return folder


def write_pictures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """A file for each figure, by its name, in place of an older one. Raises OutputError."""
    written = []
    for figure in figures:
        path = folder / f"{figure.name}.png"
        write_whole(path, png(figure.picture), _OPTION)
        written.append(path)
    return written


def png(drawn: Picture) -> bytes:
    """A chart as PNG, in light colours on white."""
    import resvg_py

    return resvg_py.svg_to_bytes(svg_string=drawn.standalone(), zoom=_ZOOM)


def _check_fonts() -> None:
    """Raise EnvironmentNotReadyError where the machine has no font: resvg then leaves out texts, and says nothing."""
    without, with_text = (png(picture((20, 20), "", [label((2, 12), text)])) for text in ("", "W"))
    if without == with_text:
        raise EnvironmentNotReadyError(
            f"This machine has no font that pictures could be written with. Install one, such as {_FONTS[0]} "
            "(Debian: apt-get install fonts-dejavu-core)."
        )
