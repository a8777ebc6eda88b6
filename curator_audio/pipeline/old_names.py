"""What took the place of parameters that other tools of this trade, or other pipelines, have, and of moved classes."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import ConfigurationError

INSTEAD = {
    "batch_size": "stages.N.batch_size for the partitions a stage is given at once, stages.1.batch_audio_sec for the "
    "seconds of sound a codec encodes at once; most runs need neither",
    "bucket": "the URL itself, such as input_path=s3://bucket/prefix",
    "checkpoint_file": "output_dir, whose ledger knows what is done: the same command goes on where it was",
    "codec_device": "'stages.1.resources={cpus: 1, gpus: 0}' for CPUs, gpus: 1 for a GPU",
    "device": "'stages.1.resources={cpus: 1, gpus: 0}' for CPUs, gpus: 1 for a GPU",
    "hf_repo": "repo_id, with --config-name publish",
    "hf_token": "HF_TOKEN in the environment",
    "input_manifest": "manifest_path",
    "input_path": "manifest_path",
    "manifest_path": "input_path",
    "max_workers": "executor.num_workers",
    "num_workers": "executor.num_workers, or stages.N.num_workers for one stage",
    "output_prefix": "output_dir, such as output_dir=s3://bucket/prefix",
    "resume": "nothing: every run goes on where the last one was; overwrite=true begins anew",
    "s3_bucket": "the URL itself, such as input_path=s3://bucket/prefix",
    "s3_prefix": "input_path (or manifest_path), such as input_path=s3://bucket/prefix",
    "speakers_per_batch": "stages.0.speakers_per_batch, with --config-name batch_lists",
}
"""What to give instead of a name."""

MOVED = {
    "curator_audio.stages.after.": "curator_audio.finalizers.",
    "curator_audio.stages.hub.PublishToHub": "curator_audio.finalizers.PublishToHub",
    "curator_audio.stages.hub.publish.": "curator_audio.finalizers.hub.publish.",
}
"""Where classes are that ``_target_`` of a YAML may still look for elsewhere: beginnings of names, old and new."""


def name_now(target: str) -> str:
    """Return the dotted name that a class has now.

    Args:
        target: its name, now or before it was moved.

    Example:
        >>> name_now("curator_audio.stages.after.JoinParts")
        'curator_audio.finalizers.JoinParts'
    """
    for old, new in MOVED.items():
        if target.startswith(old):
            return new + target.removeprefix(old)
    return target


def check_not_old(config: Any, override: str) -> None:
    """Refuse a name of another tool at the top level of a pipeline that has no such key, and say what takes its place.

    Args:
        config: the pipeline's configuration.
        override: ``key=value``.

    Raises:
        ConfigurationError: it is such a name.

    Example:
        >>> check_not_old({"manifest_path": "a.jsonl"}, "max_workers=8")
        Traceback (most recent call last):
        curator_audio.errors.ConfigurationError: there is no 'max_workers' here; use executor.num_workers
    """
    name = override.partition("=")[0].lstrip("+-")
    name = name.replace("-", "_")
    if name in INSTEAD and name not in list(config):  # a value that is still to be given counts as a key
        raise ConfigurationError(f"there is no '{name}' here; use {INSTEAD[name]}")
