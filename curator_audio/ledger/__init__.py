"""What of a run is done: one entry a partition, in the output folder, readable with ``ls`` and ``cat``.

    _ledger/configuration.json   what the output was made with, and what was chosen of the source
    _ledger/schema.json          what all files of the output share, such as columns; of the first run
    _ledger/lock.json            held by a run in progress
    _ledger/entries/NAME.json    one a finished partition, written by the worker that finished it
    _ledger/entries.jsonl        the same, gathered when a run ends
    _ledger/inputs-HASH.gz       what the partitions in it were made from, where that is many files
    _ledger/after/NAME.json      one a finished step after the map
    _ledger/started/N.jsonl      one line a partition given to workers, until a run ends
    _ledger/parts/               parts that wait to be joined

Paths in it are relative to the output folder where they lie below it, and places of inputs to the root of the source,
so that both may be moved.
"""

from curator_audio.ledger.configuration import fingerprint_of
from curator_audio.ledger.entry import LedgerEntry, PartSource, StageMetrics, StepEntry, relative_to, sha256_of
from curator_audio.ledger.ledger import Ledger
from curator_audio.ledger.paths import LedgerPaths

__all__ = [
    "Ledger",
    "LedgerEntry",
    "LedgerPaths",
    "PartSource",
    "StageMetrics",
    "StepEntry",
    "fingerprint_of",
    "relative_to",
    "sha256_of",
]
