"""What is told of a recording that was decoded: counts, and a warning for what the user should know."""

from __future__ import annotations

from typing import Any

from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.speech.decode import Recording
from curator_audio.stages.speech.sound_options import CONTAINER


def report_recording(stage: ProcessingStage[Any, Any], path: str, recording: Recording) -> None:
    """Count a recording that was decoded in the stage's metrics, and what was found in it as ``report_findings`` does.

    Args:
        stage: whose metrics are added to.
        path: the recording's, for the warnings.
        recording: all of whose blocks were taken.
    """
    duration = recording.num_samples / recording.sample_rate
    stage.log_metrics({"recordings_decoded": 1, "audio_duration": duration})
    report_findings(stage, path, recording)


def report_findings(stage: ProcessingStage[Any, Any], path: str, recording: Recording) -> None:
    """Count what was found in a recording, and warn of it, each kind in one line."""
    timeline = recording.timeline
    amounts = {
        "bad_samples": recording.num_bad_samples,
        "gap_duration": timeline.gap_sec,
        "overlap_duration": timeline.overlap_sec,
    }
    stage.log_metrics({name: amount for name, amount in amounts.items() if amount})
    if recording.wrong_header:
        stage.warn_and_count("recordings_with_wrong_headers", f"{path}: {recording.wrong_header}")
    if recording.broken_off:
        duration = recording.num_samples / recording.sample_rate
        message = f"{path} breaks off after {duration:.1f} s: {recording.broken_off}; what is there is used"
        stage.warn_and_count("recordings_broken_off", message)
    if timeline.num_faults:
        stage.warn_and_count("recordings_with_gaps", f"{path} {_told(recording, stage.name)}")
    if recording.opposite_phase_sec:
        stage.warn_and_count(
            "recordings_of_opposite_phase",
            f"{path} has channels of opposite phase for {recording.opposite_phase_sec:.1f} s, which cancel each other "
            f"in a mix; one of them is taken there ({stage.name}'s channel=left or channel=right takes one throughout)",
        )
    if recording.tracks:
        message = f"{path} has several audio tracks: {recording.tracks}; {stage.name}'s audio_track takes another"
        stage.warn_and_count("recordings_of_several_tracks", message)


def _told(recording: Recording, stage: str) -> str:
    """Where timestamps and samples disagree, what was done, and what else could be."""
    timeline = recording.timeline
    more = timeline.num_faults - len(timeline.faults)
    places = ", ".join(map(str, timeline.faults)) + (f" and {more} more" if more else "")
    if not timeline.gap_sec and not timeline.overlap_sec:
        return f"has {places} by its timestamps; what follows is put after what comes before"
    if recording.is_placed:
        done = "gaps became silence, what overlaps was dropped"
        return f"has {places} by its timestamps; {done} (timeline={CONTAINER})"
    return (
        f"has {places} by its timestamps; samples are put end to end, which fits texts timed by a tool that decodes "
        f"them so, as most recognisers do; {stage}'s timeline={CONTAINER} fits texts timed by a player or as captions"
    )
