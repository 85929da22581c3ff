"""The public sample's helpers under their old names, for scripts that import them; see Docs/CONFIGURATION.md.

`account` is a storage account's name or its blob endpoint. `key` refers to an account key, a SAS or a connection
string, as env:NAME or file:PATH.
"""

from loadcast.storage.legacy import attach_storage_container, read_blob, write_blob

__all__ = ["attach_storage_container", "read_blob", "write_blob"]
