"""Stages every manifest needs sooner or later."""

from curator_audio.stages.general.audio_duration import GetAudioDurationStage
from curator_audio.stages.general.call_function import CallFunctionStage
from curator_audio.stages.general.drop_fields import DropFieldsStage
from curator_audio.stages.general.group_records import GroupRecordsStage
from curator_audio.stages.general.preserve_by_value import PreserveByValueStage
from curator_audio.stages.general.rename_fields import RenameFieldsStage
from curator_audio.stages.general.select_fields import SelectFieldsStage

__all__ = [
    "CallFunctionStage",
    "DropFieldsStage",
    "GetAudioDurationStage",
    "GroupRecordsStage",
    "PreserveByValueStage",
    "RenameFieldsStage",
    "SelectFieldsStage",
]
