"""What the naive forecasts are made of: columns of every feature table, whether the model is given them or not."""

from __future__ import annotations

from loadcast.kernels.features.dates import DAY_OF_WEEK, HOUR_OF_DAY
from loadcast.kernels.features.history import lag

LAG_48, LAG_168 = lag(48), lag(168)
BASELINE = (DAY_OF_WEEK, HOUR_OF_DAY, LAG_48, LAG_168)
