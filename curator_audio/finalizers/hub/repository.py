"""A dataset repository on the Hub, as far as publishing needs it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, StorageError
from curator_audio.finalizers.hub.patience import Unanswered, pause_before_next
from curator_audio.storage.failures import without_secrets

LOG_IN = "set HF_TOKEN, or log in with: hf auth login"
LARGEST_REGULAR_BYTES = 2**25
"""More than the Hub takes of a file that is no LFS object."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository: LFS objects have a SHA-256, others the hash of a git blob."""

    num_bytes: int
    sha256: str | None
    blob_id: str


@dataclass(frozen=True)
class State:
    """A repository as it is: whether it is private, and the last commit of the branch, None where there is none."""

    is_private: bool
    head: str | None


class Repository:
    """One branch of a dataset repository; to be used in a ``patient_session``.

    Args:
        repo_id: ``namespace/name``.
        revision: the branch.
        may_lack_token: whether to go on without a token where there is none, as somebody who may only look.
        check: called before each try to change it; what it raises keeps that from being done.

    Raises:
        ConfigurationError: there is no token, or no valid endpoint.
    """

    def __init__(
        self, repo_id: str, revision: str, may_lack_token: bool = False, check: Callable[[], None] = lambda: None
    ) -> None:
        from huggingface_hub import HfApi, get_token

        self._check = check
        self.repo_id, self.revision = repo_id, revision
        self.name = f"datasets/{repo_id}"
        self.endpoint = endpoint()
        self.has_token = not may_lack_token or bool(get_token())
        self._token = token_for(self.name) if self.has_token else ""
        self._api: Any = HfApi(endpoint=self.endpoint, token=self._token or False)
        self._repo = {"repo_id": repo_id, "repo_type": "dataset"}

    def state(self) -> State | None:
        """What is there, or None where there is no such repository, or none that is seen without a token."""
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

        look, expand = self._api.dataset_info, ["private", "sha"]
        with self._explained("look at"):
            try:
                info = look(self.repo_id, revision=self.revision, expand=expand)
                return State(bool(info.private), info.sha)
            except RevisionNotFoundError:
                return State(bool(look(self.repo_id, expand=expand).private), None)
            except HfHubHTTPError as error:
                is_missing = isinstance(error, RepositoryNotFoundError) and error.response.status_code == 404
                if is_missing or (error.response.status_code == 401 and not self.has_token):
                    return None
                raise

    def create(self, state: State | None, private: bool) -> None:
        """Create what is missing, the repository or the branch."""
        with self._explained("create"):
            self._check()
            if state is None:
                self._api.create_repo(**self._repo, private=private, exist_ok=True)
            if self.revision != "main" and (state is None or state.head is None):
                self._api.create_branch(**self._repo, branch=self.revision, exist_ok=True)

    def files(self) -> dict[str, RemoteFile]:
        """All files of the branch by their paths."""
        with self._explained("list"):
            listed = self._api.list_repo_tree(**self._repo, revision=self.revision, recursive=True)
            return {
                item.path: RemoteFile(item.size, item.lfs.sha256 if item.lfs else None, item.blob_id)
                for item in listed
                if hasattr(item, "blob_id")
            }

    def read(self, path: str) -> str:
        """A small text file."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        with self._explained(f"read {path} of"):
            url = hf_hub_url(self.repo_id, path, repo_type="dataset", revision=self.revision, endpoint=self.endpoint)
            headers = build_hf_headers(token=self._token or False)
            response = get_session().get(url, headers=headers, follow_redirects=True)
            hf_raise_for_status(response)
            return bytes(response.content).decode("utf-8", errors="replace")

    def upload(self, path: str, source: str | bytes) -> tuple[Any, str]:
        """Send what goes into the next commit, unless the Hub has it.

        Args:
            path: where it is to be in the repository.
            source: a local file, or bytes.

        Returns:
            The operation for ``commit``, which no longer needs the file, and the SHA-256 of what was sent.
        """
        from huggingface_hub import CommitOperationAdd

        with self._explained(f"send {path} to"):
            operation: Any = CommitOperationAdd(path_in_repo=path, path_or_fileobj=source)
            self._api.preupload_lfs_files(additions=[operation], revision=self.revision, **self._repo)
            if getattr(operation, "_should_ignore", False):
                raise ConfigurationError(f"the .gitignore of {self.name} leaves out {path}; take that line out of it")
            if isinstance(operation.path_or_fileobj, str):  # it goes into the commit itself, being small
                if operation.upload_info.size > LARGEST_REGULAR_BYTES:
                    raise ConfigurationError(
                        f"{self.name} takes {path} for no LFS object; add a line for it to .gitattributes there"
                    )
                with open(operation.path_or_fileobj, "rb") as file:
                    operation.path_or_fileobj = file.read()
            return operation, operation.upload_info.sha256.hex()

    def commit(self, operations: Sequence[Any], message: str) -> None:
        """Make a commit; where its answer is lost, look what came of it, and commit only what is not there."""
        left = list(operations)
        for attempt in count():
            try:
                with self._explained("commit to"):
                    self._check()
                    self._api.create_commit(
                        operations=left, commit_message=message, revision=self.revision, **self._repo
                    )
                return
            except Unanswered as error:
                pause_before_next(attempt, error.headers, str(error))
            there = self.files()
            left = [operation for operation in left if not _is_there(operation, there)]
            if not left:
                return

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Turn whatever goes wrong in the block into one line, without the token."""
        try:
            yield
        except Exception as error:
            raise self._translated(error, verb) from None

    def _translated(self, error: Exception, verb: str) -> CuratorError:
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, CuratorError):
                return cause
            cause = cause.__cause__
        what = f"cannot {verb} {self.name}"
        if isinstance(error, OfflineModeIsEnabled):
            return ConfigurationError(f"{what}: HF_HUB_OFFLINE is set; unset it")
        if isinstance(error, HFValidationError):
            return ConfigurationError(f"{what}: {self._line(error)}")
        if isinstance(error, HfHubHTTPError):
            return self._of_answer(error, what)
        if isinstance(error, ValueError) and "Invalid metadata" in str(error):
            return ConfigurationError(f"{what}: {self._line(error)}")
        reason = self._line(error)
        if isinstance(error.__cause__, HfHubHTTPError):  # the token plays no part in it
            said = self._line(error.__cause__.server_message or "it does not say why")
            reason = f"its storage answers {error.__cause__.response.status_code} ({said})"
        return StorageError(f"{what}: {reason}; run the same command again to go on")

    def _of_answer(self, error: Any, what: str) -> CuratorError:
        status = error.response.status_code
        said = self._line(error.server_message or error)
        namespace = self.repo_id.partition("/")[0]
        if status == 401:
            return AccessError(f"{what}: the Hub does not accept the token; {LOG_IN}")
        if status == 403:
            remedy = f"with a token that may write to {namespace}, {LOG_IN}"
            return AccessError(f"{what}: the token does not allow it ({said}); {remedy}")
        if status == 404:
            return AccessError(f"{what}: there is no such repository or branch, or the token may not see it; {LOG_IN}")
        if 400 <= status < 500:
            return ConfigurationError(f"{what}: the Hub refuses it with {status} ({said})")
        return StorageError(f"{what}: the Hub answers {status} ({said}); run the same command again to go on")

    def _line(self, said: object) -> str:
        """What was said, in one line of some length, without secrets."""
        text = " ".join(str(said).split()) or type(said).__name__
        return without_secrets(text.replace(self._token, "…") if self._token else text)[:300]


def endpoint() -> str:
    """The address of the Hub: ``HF_ENDPOINT``, or the public one.

    Raises:
        ConfigurationError: it is no URL.
    """
    from huggingface_hub import constants

    url = (os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)).rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"HF_ENDPOINT is {url!r}; give a URL such as https://huggingface.co")
    return url


def token_for(name: str) -> str:
    """The token of the environment or of the Hub client's login.

    Raises:
        ConfigurationError: there is none, or it cannot be sent.
    """
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise ConfigurationError(f"publishing to {name} needs a token of the Hub; {LOG_IN}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigurationError(f"the token for {name} holds characters that no token has; {LOG_IN}")
    return str(token)


def blob_id(data: bytes) -> str:
    """The hash git has for a file.

    Example:
        >>> blob_id(b"hello\\n")
        'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _is_there(operation: Any, files: dict[str, RemoteFile]) -> bool:
    file = files.get(operation.path_in_repo)
    if file is None or file.num_bytes != operation.upload_info.size:
        return False
    if file.sha256:
        return bool(file.sha256 == operation.upload_info.sha256.hex())
    with operation.as_file() as opened:
        return blob_id(opened.read()) == file.blob_id
