"""NeMo Curator's audio stages in our pipelines (``CuratorStage``), and our stages in its pipelines (``for_curator``).

Nothing of NeMo Curator is imported before a stage is made.
"""

from curator_audio.interop.nemo_curator.curator_stage import CuratorStage
from curator_audio.interop.nemo_curator.for_curator import for_curator

__all__ = ["CuratorStage", "for_curator"]
