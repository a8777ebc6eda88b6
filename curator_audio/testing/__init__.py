"""Test a stage of one's own: run it over records as a pipeline would, and make sounds to run it over.

``assert_stage`` compares what comes of a stage with what should, and ``run_stages`` gives what comes of several.
``tone`` and ``noise`` make sounds of a known level, ``segment`` makes a record around one. The package itself imports
none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.testing.assertions import assert_stage as assert_stage
    from curator_audio.testing.running import StagesResult as StagesResult
    from curator_audio.testing.running import run_stages as run_stages
    from curator_audio.testing.sounds import noise as noise
    from curator_audio.testing.sounds import segment as segment
    from curator_audio.testing.sounds import tone as tone
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "assertions": ["assert_stage"],
            "running": ["StagesResult", "run_stages"],
            "sounds": ["noise", "segment", "tone"],
        },
    )
