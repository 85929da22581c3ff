"""A published run, read into memory piece by piece; and a model that is loaded to answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.artefacts.quality import Quality
from loadcast.errors import ArtefactError
from loadcast.serving.predictor import Predictor
from loadcast.settings import Settings
from loadcast.storage import publish
from loadcast.storage.named import folder_of, output_of
from loadcast.storage.output import FolderOutput, Output, open_output
from loadcast.storage.table_files import is_hidden

#: A configuration, or what names an output: a folder, a container's URL, or a configuration file.
Where = Settings | str | os.PathLike[str]


class Run:
    """One published run, the same from the first look to the last, whatever is published meanwhile.

    Of a run in a container, each artefact is brought to this machine when it is asked for.
    """

    def __init__(self, output: Output, folder: Path) -> None:
        self._output, self._folder = output, folder

    def __repr__(self) -> str:
        return f"Run({self.name!r} in {self._output.shown!r})"

    @property
    def name(self) -> str:
        """The run's name."""
        return self._folder.name

    @property
    def output(self) -> str:
        """The output that the run is of, for messages: a path or URL without secrets."""
        return self._output.shown

    @property
    def info(self) -> Info:
        """What the run was made with. Raises ArtefactError, as all of these do, where the run has none."""
        return Info.read(self._artefact(paths.INFO).parent)

    @property
    def quality(self) -> Quality:
        """What became of the input's rows."""
        return Quality.read(self._artefact(paths.QUALITY).parent)

    @property
    def metrics(self) -> Metrics:
        """The model's scores."""
        return Metrics.read(self._artefact(paths.METRICS).parent)

    def hourly(self) -> pa.Table:
        """The hourly peaks of all months (schema.HOURLY_SCHEMA), by server and hour; in memory, as all tables are."""
        return self._months(paths.HOURLY, schema.HOUR)

    def daily(self) -> pa.Table:
        """The daily means of all months (schema.DAILY_SCHEMA), by server and day."""
        return self._months(paths.DAILY, schema.DAY)

    def features(self) -> pa.Table:
        """The encoded feature rows (mlSource), by server and hour; Docs/DATA.md describes them."""
        return self._table(paths.FEATURES)

    def predictions(self) -> pa.Table:
        """Class and probabilities of each test hour, by server and hour.

        They are schema.PREDICTIONS_SCHEMA, with the origin and the decision where the run has these.
        """
        return self._table(paths.PREDICTIONS)

    def has(self, name: str) -> bool:
        """Whether the run has an artefact, named as in paths.ARTEFACTS; monthly statistics always answer True."""
        return name in (paths.HOURLY, paths.DAILY) or self._output.artefact(self._folder, name).exists()

    def bundle(self) -> Path:
        """A folder with the trained model's files, for serving.bundle."""
        return [self._artefact(name).parent for name in (*paths.BUNDLE_FOLDERS, paths.METRICS, paths.INFO)][-1]

    def hourly_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The hourly peaks, some rows at a time and in no order: these columns, as far as there are such."""
        months = self._output.months(self._folder)
        for month in months.names(paths.HOURLY):
            yield from self._batches(paths.HOURLY, months.folder(paths.HOURLY, month).glob("*.parquet"), columns)

    def prediction_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The predictions, some rows at a time and in no order: these columns, as far as there are such."""
        return self._batches(paths.PREDICTIONS, self._artefact(paths.PREDICTIONS).rglob("*.parquet"), columns)

    def _batches(self, name: str, files: Iterable[Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for path in sorted(file for file in files if not is_hidden(file.name)):
            with self._reading(name), pq.ParquetFile(path) as file:
                known = [column for column in columns if column in file.schema_arrow.names]
                yield from file.iter_batches(columns=known)

    def _months(self, kind: str, time: str) -> pa.Table:
        months = self._output.months(self._folder)
        folders = [months.folder(kind, month) for month in months.names(kind)]
        return self._read(kind, time, (file for folder in folders for file in folder.glob("*.parquet")))

    def _table(self, name: str) -> pa.Table:
        return self._read(name, schema.HOUR, self._artefact(name).rglob("*.parquet"))

    def _read(self, name: str, time: str, files: Iterable[Path]) -> pa.Table:
        wanted = sorted(file for file in files if not is_hidden(file.name))
        if not wanted:
            raise self._none(name)
        with self._reading(name):
            tables = [pq.ParquetFile(file).read().replace_schema_metadata(None) for file in wanted]
            order = [(schema.SERVER, "ascending"), (time, "ascending")]
            return pa.concat_tables(tables).sort_by(order).combine_chunks()

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise ArtefactError(f"{name} of {self!r} cannot be read: {str(error)[:200]}. Make it anew.") from error

    def _artefact(self, name: str) -> Path:
        path = self._output.artefact(self._folder, name)
        if not path.exists():
            raise self._none(name)
        return path

    def _none(self, name: str) -> ArtefactError:
        made_by = "run_train" if name in (paths.METRICS, paths.PREDICTIONS) else "run_etl"
        return ArtefactError(f"{self!r} has no {name}, which {made_by} makes. Choose another run, or make it.")


def open_run(output: Where) -> Run:
    """The newest run of an output, or, of a run's own folder, that run.

    Raises ArtefactError where there is none, ConfigError for what cannot be an output.
    """
    where = open_output(output) if isinstance(output, Settings) else output_of(os.fspath(output))
    folder = where.at_hand({paths.CURRENT: [paths.INFO, paths.QUALITY]})
    is_run = (folder / paths.INFO).exists() and not os.path.lexists(folder / paths.CURRENT)
    if is_run and isinstance(where, FolderOutput):
        return Run(where, folder.resolve())
    return Run(where, publish.open_run(folder))


def load_model(model: Where = "Model") -> Predictor:
    """The model of a bundle's folder, or the newest one of an output, ready to answer in this process.

    Raises ArtefactError where there is none, or a file is not what `info` says.
    """
    if isinstance(model, Settings):
        return Predictor.load(open_output(model).at_hand({paths.MODEL: paths.BUNDLE}))
    return Predictor.load(folder_of(os.fspath(model), paths.MODEL, paths.BUNDLE))
