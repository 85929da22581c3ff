"""What the integration tests share: the real parts they run against."""

from __future__ import annotations

from azurite import azurite as azurite
