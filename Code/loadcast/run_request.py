"""What a run is asked to do, as one object: checked, frozen, hashed, and sent elsewhere as JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from loadcast.artefacts.document import FORMAT_VERSION, Document, DocumentError, decode
from loadcast.errors import ConfigError
from loadcast.secrets import without_secrets
from loadcast.settings import Settings, parse_settings
from loadcast.spark.options import SparkOptions, holds_secret, names_secret

Step = Literal["etl", "stats", "train"]
#: The form of the JSON text; a change of it changes every digest.
VERSION = 1
#: Keys of the configuration whose addresses may have a signature in them.
_ADDRESSES = ("dataFile", "output")


class RunRequest(BaseModel):
    """One step of one configuration: `etl`, `stats` or `train`, and how Spark is started for it.

    With `filter_ip`, which only ETL knows, the configured servers alone are used; with `unless_worse`, which only
    training knows, a model that loses against the last good one is not published. Raises ConfigError for a secret among
    Spark's settings, and for what the step lacks.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )

    settings: Settings
    step: Step
    filter_ip: bool = Field(default=False, strict=True)
    unless_worse: bool = Field(default=False, strict=True)
    spark: SparkOptions = SparkOptions()

    @model_validator(mode="after")
    def _check(self) -> RunRequest:
        for name, value in self.spark.extra.items():
            if names_secret(name) or holds_secret(value):
                raise ConfigError(
                    f"Spark setting {name}: found a secret, wanted none: settings are shown, kept and sent elsewhere. "
                    "Keys of storage come from storageKey or a datastore; others belong into Spark's own configuration."
                )
        if self.filter_ip and self.step != "etl":
            raise ConfigError(f"filterIp: found it with the step {self.step}; wanted it with etl, which alone filters.")
        if self.unless_worse and self.step != "train":
            raise ConfigError(f"unlessWorse: found it with the step {self.step}; wanted it with train.")
        if self.step != "stats":
            _ = self.settings.split  # says so where the configuration names none
        return self

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical JSON text, in hexadecimal digits; signatures in addresses don't change it."""
        document = self._document()
        document["settings"] |= {key: _plain(document["settings"][key]) for key in _ADDRESSES}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """The request as JSON, for `parse`. Raises ConfigError where an address in the configuration holds a secret."""
        document = self._document()
        for key in _ADDRESSES:
            if document["settings"][key] != _plain(document["settings"][key]):
                raise ConfigError(
                    f"{key}: found a secret in the address, which would be sent along. Register the container with "
                    "loadcast datastore register, and name it as datastore://NAME/PATH."
                )
        return json.dumps(document, indent=2, allow_nan=False)

    @classmethod
    def parse(cls, text: str | bytes) -> RunRequest:
        """The request in a text of `to_json`. Raises ConfigError."""
        try:
            document = decode(text.encode() if isinstance(text, str) else text)
        except DocumentError as error:
            raise ConfigError(f"The run request cannot be read: {error}.") from error
        version, settings = document.pop(FORMAT_VERSION, None), document.pop("settings", None)
        if version != VERSION or type(version) is not int:
            raise ConfigError(f"The run request's {FORMAT_VERSION}: found {version!r:.50}, wanted {VERSION}.")
        if not isinstance(settings, dict):
            raise ConfigError("The run request has no settings; wanted an object of the configuration's keys.")
        try:
            return cls.model_validate({**document, "settings": parse_settings(settings, "of the run request")})
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            key = ".".join(map(str, fault["loc"]))
            raise ConfigError(f"The run request cannot be used: {key}: {fault['msg']}.") from error

    def _document(self) -> Document:
        # Histories name runs by digests from before there was this field.
        unset = set() if self.unless_worse else {"unless_worse"}
        fields: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude={"settings", *unset})
        return {FORMAT_VERSION: VERSION, **fields, "settings": self.settings.document()}


def _plain(address: str | None) -> str | None:
    return None if address is None else without_secrets(address)
