"""A worker described in one process and made in another."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass

from curator_audio.executors.context import RunContext
from curator_audio.executors.worker import Worker
from curator_audio.pipeline.plan import StageGroup
from curator_audio.report.log import log_plainly


@dataclass(frozen=True)
class Blueprint:
    """What a worker's process needs to make it.

    The stages travel as bytes, so that the folders they are imported from can be added to the path first: a stage of
    one's own lies beside its pipeline, where only the driver looks by itself.

    Args:
        folders: where the driver finds modules.
        pickled: the group and the context.
    """

    folders: tuple[str, ...]
    pickled: bytes

    @classmethod
    def of(cls, group: StageGroup, context: RunContext) -> Blueprint:
        from ray import cloudpickle

        return cls(tuple(os.path.abspath(folder) for folder in sys.path), cloudpickle.dumps((group, context)))

    def build(self) -> Worker:
        """Make the worker and set it up.

        Raises:
            SetupError: a stage could not be set up.
        """
        log_plainly()
        sys.path.extend(folder for folder in self.folders if folder not in sys.path)
        group, context = pickle.loads(self.pickled)  # written by this run's own driver
        worker = Worker(group, context)
        worker.setup()
        return worker
