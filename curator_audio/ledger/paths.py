"""Where the files of a ledger are."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.storage.storage import join


@dataclass(frozen=True)
class LedgerPaths:
    """Where a run keeps its ledger; all a worker needs to commit a partition."""

    output_dir: str

    @property
    def folder(self) -> str:
        return join(self.output_dir, "_ledger")

    @property
    def configuration(self) -> str:
        return join(self.folder, "configuration.json")

    @property
    def schema(self) -> str:
        return join(self.folder, "schema.json")

    @property
    def lock(self) -> str:
        return join(self.folder, "lock.json")

    @property
    def entries(self) -> str:
        return join(self.folder, "entries")

    @property
    def gathered(self) -> str:
        return join(self.folder, "entries.jsonl")

    @property
    def parts(self) -> str:
        return join(self.folder, "parts")

    @property
    def started(self) -> str:
        return join(self.folder, "started")

    @property
    def quarantine_folder(self) -> str:
        return join(self.output_dir, "quarantine")

    def quarantine(self, partition: str) -> str:
        return join(self.quarantine_folder, f"part-{partition}.jsonl")

    def entry(self, partition: str) -> str:
        return join(self.entries, f"{partition}.json")

    @property
    def steps(self) -> str:
        return join(self.folder, "after")

    def step(self, name: str) -> str:
        return join(self.steps, f"{name}.json")
