"""Entries as version 0.1 wrote them, in format 1 of the ledger.

They tell a partition by path, range, size and time of its source, or by the keys of its files.
"""

from __future__ import annotations

from typing import Any

from curator_audio.ledger.entry import LedgerEntry, relative_to
from curator_audio.storage.storage import join
from curator_audio.tasks import Input, Inputs
from curator_audio.tasks.inputs import NOTHING


def is_format_1(values: dict[str, Any]) -> bool:
    """Whether a line of a ledger is in format 1."""
    return "source_path" in values


def entry_of(values: dict[str, Any], output_dir: str, root: str) -> LedgerEntry:
    """Return the entry of a line in format 1.

    The files of a batch are its inputs. What else a partition was made from, the source tells when it meets it
    (``SourceStage.of_format_1``).

    Args:
        values: what is in the line.
        output_dir: the folder of the ledger.
        root: that of the source.

    Raises:
        ValueError: it is damaged; also KeyError, TypeError or AttributeError.
    """
    values = dict(values)
    path, version, content_sha256 = (values.pop(name) for name in ("source_path", "version", "content_sha256"))
    keys = values.pop("keys", {})
    if not all(isinstance(value, str) for value in (path, version, content_sha256, *keys, *keys.values())):
        raise ValueError("what it was made from is of another kind")
    inputs = Inputs.of({key: Input(mark) for key, mark in keys.items()}) if keys else NOTHING
    flags = [(part.get("replaces_source", False), part.get("is_copy", False)) for part in values["parts"]]
    values |= {"num_inputs": inputs.num, "inputs_sha256": inputs.sha256}
    entry = LedgerEntry.from_json({**values, "source": "" if path == root else relative_to(root, path)}, inputs)
    for part, (replaces_source, is_copy) in zip(entry.parts, flags):
        absolute = part.path if "://" in part.path or part.path.startswith("/") else join(output_dir, part.path)
        part.place = relative_to(path, absolute) if replaces_source else ""
        part.stays = bool(is_copy and not replaces_source)
    if not keys:
        entry.format_1 = {"source_path": path, "version": version, "content_sha256": content_sha256}
    return entry
