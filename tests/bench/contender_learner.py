"""Other classifiers on the matrix that our forest sees: `forest`, scikit-learn's, and `lightgbm`.

The work alone is the fit; reading the features and scoring the test hours count for the whole process.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.contender import WORK_SECONDS, LearnJob, arguments, timed_work
from bench.matrix import read_rows
from loadcast import schema
from loadcast.kernels.scores import scores


def main() -> None:
    """Fit and score one classifier."""
    variant, job = arguments(LearnJob)
    model = _classifier(variant, job)
    with timed_work() as said:
        training, test = read_rows(Path(job.features), job.columns, datetime.strptime(job.split, schema.TIME_FORMAT))
        begin = time.perf_counter()
        model.fit(training.features, training.labels)
        said[WORK_SECONDS] = time.perf_counter() - begin
        confusion = _confusion(test.labels, np.asarray(model.predict(test.features)))
        said |= {"scores": scores(confusion), "rows": len(training.labels), "features": training.features.shape[1]}


def _classifier(variant: str, job: LearnJob) -> Any:
    if variant == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            n_estimators=job.trees,
            max_depth=job.depth,
            max_features=job.subset,
            n_jobs=job.threads,
            random_state=job.seed,
        )
    from lightgbm import LGBMClassifier

    # Its own defaults otherwise: 31 leaves, learning rate 0.1; a tree for each class and round.
    return LGBMClassifier(n_estimators=job.trees, n_jobs=job.threads, random_state=job.seed, verbose=-1)


def _confusion(labels: npt.NDArray[np.int64], answers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows the true class, columns the answer, in the order of schema.CLASS_NAMES."""
    size = len(schema.CLASS_NAMES)
    first = min(schema.CLASS_NAMES)
    cells = (labels - first) * size + (answers - first)
    return np.bincount(cells, minlength=size * size).reshape(size, size)


if __name__ == "__main__":
    main()
