"""A stage of ours in a pipeline of NeMo Curator's."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.types import task_types
from curator_audio.stages.base import CompositeStage, ProcessingStage
from curator_audio.tasks import AudioBatch


def for_curator(stage: ProcessingStage[Any, Any]) -> Any:
    """Return a stage of NeMo Curator's, from ``AudioTask`` to ``AudioTask``, that runs one of ours; needs the extra
    ``nemo``.

    The data of a task is a record. Name, resources, number of workers and metrics are those of the stage; Curator's
    ``with_`` changes them, and ``with_(batch_size=16)`` has it given 16 records at once. A record that it drops is
    filtered, several that it makes of one are tasks of their own. A record that it cannot process is logged with the
    reason, counted (``quarantined_REASON``), and becomes a ``FailedTask``, which a resumed run tries again: there is no
    quarantine in NeMo Curator.

    A stage that needs ``audio`` is given it where a task has ``waveform`` and ``sample_rate``, or the path of a local
    file in ``audio_filepath``.

    Args:
        stage: from ``AudioBatch`` to ``AudioBatch``, and of one record at a time, such as a ``RecordStage``.

    Raises:
        ConfigurationError: the stage is of another kind, or NeMo Curator is not installed.

    Example:
        >>> from curator_audio.stages.general import RenameFieldsStage
        >>> from nemo_curator.tasks import AudioTask
        >>> stage = for_curator(RenameFieldsStage({"sentence": "text"}))
        >>> stage.process(AudioTask(data={"sentence": "so be it"})).data
        {'text': 'so be it'}
    """
    if not isinstance(stage, ProcessingStage):
        what = f"the class {stage.__name__}, not an instance of it" if isinstance(stage, type) else repr(stage)
        raise ConfigurationError(f"for_curator is given {what:.80}; give a stage, such as for_curator(MyStage())")
    if isinstance(stage, CompositeStage):
        raise ConfigurationError(f"'{stage.name}' is made of several stages; give each to for_curator by itself")
    kinds = task_types(type(stage))
    if not all(issubclass(AudioBatch, kind) for kind in kinds):
        taken, given = (kind.__name__ for kind in kinds)
        raise ConfigurationError(
            f"'{stage.name}' goes from {taken} to {given}; for_curator takes stages from AudioBatch to AudioBatch"
        )
    if type(stage).process_partition is not ProcessingStage.process_partition:
        raise ConfigurationError(
            f"'{stage.name}' works on all records of a partition together, which NeMo Curator does not have"
        )
    from curator_audio.interop.nemo_curator.their_stage import curator

    curator("stages.base")
    from curator_audio.interop.nemo_curator.in_curator import StageInCurator

    return StageInCurator(stage)
