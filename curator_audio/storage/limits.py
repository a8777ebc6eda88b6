"""How much a file of others may unpack to, or ask for, before it is refused: a small file must not fill the memory."""

from __future__ import annotations

MAX_RECORD_BYTES = 2**30
"""Of one record that lies in a file as it is, such as the members of a key in a tar."""

MAX_UNPACKED_BYTES = 2**28
"""Of one record when it is unpacked or decoded: a cell or a page of Parquet, the arrays of an ``.npz``, a sound."""

MAX_JSON_BYTES = 2**26
"""Of one JSON document, which takes some ten times as much once it is read."""

MAX_HEADER_BYTES = 2**20
"""Of what tells of other data: a name in a tar, the list of members of a zip."""
