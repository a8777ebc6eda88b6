"""Stages that every manifest needs sooner or later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.general.audio_duration import GetAudioDurationStage as GetAudioDurationStage
    from curator_audio.stages.general.call_function import CallFunctionStage as CallFunctionStage
    from curator_audio.stages.general.drop_fields import DropFieldsStage as DropFieldsStage
    from curator_audio.stages.general.group_records import GroupRecordsStage as GroupRecordsStage
    from curator_audio.stages.general.preserve_by_value import PreserveByValueStage as PreserveByValueStage
    from curator_audio.stages.general.rename_fields import RenameFieldsStage as RenameFieldsStage
    from curator_audio.stages.general.select_fields import SelectFieldsStage as SelectFieldsStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "audio_duration": ["GetAudioDurationStage"],
            "call_function": ["CallFunctionStage"],
            "drop_fields": ["DropFieldsStage"],
            "group_records": ["GroupRecordsStage"],
            "preserve_by_value": ["PreserveByValueStage"],
            "rename_fields": ["RenameFieldsStage"],
            "select_fields": ["SelectFieldsStage"],
        },
    )
