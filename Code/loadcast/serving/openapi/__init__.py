"""The OpenAPI document of the service: what each route takes and answers, as the bundle's request contract has it."""

from loadcast.serving.openapi.document import document

__all__ = ["document"]
