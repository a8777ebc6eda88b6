"""Looking up the audio files that a manifest names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from curator_audio.errors import AccessError, RecordError, StorageError
from curator_audio.stages.references import References
from curator_audio.storage.storage import REQUESTS_AT_ONCE, is_local

MISSING, UNREACHABLE = "missing", "unreachable"
"""What stands for the version of a file that is not there, and of one that cannot be looked for."""

LISTED_PROTOCOLS = ("s3://", "s3a://", "gs://", "gcs://")
"""Stores that tell of a thousand files in the time they tell of one."""

_Wanted = tuple[References, str]
_Found = str | RecordError


class AudioVersions:
    """The versions of audio files; those of a folder in a store are looked up together.

    Args:
        references_of: the references of a manifest.
    """

    def __init__(self, references_of: Callable[[str], References]) -> None:
        self._references_of = references_of
        self._folders: dict[str, dict[str, str] | RecordError | None] = {}

    def of(self, audio: Sequence[tuple[str, str | RecordError]]) -> list[_Found]:
        """The version of each file, ``missing`` where there is none, or what is wrong with the reference.

        Args:
            audio: the manifest, and the path that it names or what is wrong with that.

        Raises:
            StorageError: the run's own store fails.
            ConfigurationError: what the run is configured with is not valid any more.
        """
        chosen = [(self._references_of(manifest), path) for manifest, path in audio if isinstance(path, str)]
        looked_up = iter(self._looked_up(chosen))
        return [path if isinstance(path, RecordError) else next(looked_up) for _, path in audio]

    def _looked_up(self, chosen: Sequence[_Wanted]) -> list[_Found]:
        remote = [wanted for wanted in chosen if not is_local(wanted[1])]
        for references, path in {path.partition("://")[0]: (references, path) for references, path in remote}.values():
            with suppress(Exception):  # connected once, not once a thread; what goes wrong is told by looking
                references.storage_of(path).prepare(path)
        alone = [wanted for wanted in remote if not wanted[1].startswith(LISTED_PROTOCOLS)]
        found: dict[_Wanted, _Found] = {}
        if alone:
            with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
                found = dict(zip(alone, pool.map(self._alone, alone)))
        return [found[wanted] if wanted in found else self._together(wanted) for wanted in chosen]

    def _alone(self, wanted: _Wanted) -> _Found:
        references, path = wanted
        try:
            return references.version(path) or MISSING
        except RecordError as error:
            return error
        except StorageError:
            if references.is_own(path) or path.startswith(LISTED_PROTOCOLS):
                raise
            return MISSING  # of a host that has answered before: whoever opens the file will tell

    def _together(self, wanted: _Wanted) -> _Found:
        """Look up a local file, or with all files of its folder one in a store."""
        references, path = wanted
        if is_local(path):
            return self._alone(wanted)
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._listed(references, folder)
        listed = self._folders[folder]
        if listed is None:
            return self._alone(wanted)
        return listed if isinstance(listed, RecordError) else listed.get(path, MISSING)

    def _listed(self, references: References, folder: str) -> dict[str, str] | RecordError | None:
        """The versions of the files in a folder; None where they have to be looked up one by one."""
        try:
            with references.reading(folder) as storage:
                return {file.path: file.version for file in storage.list_files(folder, max_depth=1)}
        except RecordError as error:
            return error
        except AccessError:  # a bucket may be closed to listing, and its objects open
            return None
