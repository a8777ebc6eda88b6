"""Putting the parts together into one file."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.errors import StorageError
from curator_audio.ledger import StepEntry, sha256_of
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.tasks import Part


@dataclass
class JoinParts(AfterStep):
    """Joins the parts into the writer's ``output_path``, in input order; nothing to do where that is a folder.

    The ledger then points into the joined file and the parts are deleted. A later run with new input copies the old
    ranges and adds the new parts.
    """

    name = "join_parts"
    makes_single_file = True

    def run(self, context: AfterContext) -> None:
        writer, ledger, storage = context.plan.writer, context.ledger, context.storage
        if not writer.is_single_file:
            return
        parts = [part for entry in context.entries for part in entry.parts]
        inputs = sha256_of([[part.path, part.sha256, part.num_bytes] for part in parts] + [writer.output_path])
        if not ledger.step_is_done(self.name, inputs):
            ranges: dict[str, tuple[int, int]] = {}
            with storage.create(writer.output_path) as file:
                for part in parts:
                    source = ledger.part_source(part)
                    if source is None:
                        raise StorageError(f"the part {part.path} has gone while the run was going on; run again")
                    ranges[part.key] = (file.num_bytes, part.num_bytes)
                    storage.append_range(file, source.path, source.start, source.num_bytes)
                ledger.check_unchanged(parts)
                num_records = sum(part.num_records for part in parts)
                output = Part(ledger.relative(writer.output_path), file.num_bytes, "", num_records)
                step = StepEntry(inputs, [output], ranges)
                ledger.announce_step(self.name, step)
            output.version = file.version
            ledger.finish_step(self.name, step)
        ledger.drop_parts(parts)
