"""From recordings to segments and windows, and the containers they are kept in."""

from curator_audio.stages.speech.estimate_bandwidth import EstimateBandwidthStage
from curator_audio.stages.speech.mp3_writer import Mp3WriterStage
from curator_audio.stages.speech.npz_reader import NpzReaderStage
from curator_audio.stages.speech.npz_writer import NpzWriterStage
from curator_audio.stages.speech.pair_reader import PairReaderStage
from curator_audio.stages.speech.pair_writer import PairParquetWriterStage
from curator_audio.stages.speech.parquet_reader import SegmentParquetReaderStage
from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage
from curator_audio.stages.speech.recording_reader import RecordingReaderStage
from curator_audio.stages.speech.segmenter import SegmenterStage
from curator_audio.stages.speech.select_channels import SelectChannelsStage
from curator_audio.stages.speech.sound_file_reader import SoundFileReaderStage
from curator_audio.stages.speech.wav_writer import WavWriterStage
from curator_audio.stages.speech.webdataset_reader import WebDatasetReaderStage
from curator_audio.stages.speech.webdataset_writer import WebDatasetWriterStage
from curator_audio.stages.speech.window_extraction import WindowExtractionStage
from curator_audio.stages.speech.window_parquet_writer import WindowParquetWriterStage
from curator_audio.stages.speech.window_webdataset_writer import WindowWebDatasetWriterStage

__all__ = [
    "EstimateBandwidthStage",
    "Mp3WriterStage",
    "NpzReaderStage",
    "NpzWriterStage",
    "PairParquetWriterStage",
    "PairReaderStage",
    "RecordingReaderStage",
    "SegmentParquetReaderStage",
    "SegmentParquetWriterStage",
    "SegmenterStage",
    "SelectChannelsStage",
    "SoundFileReaderStage",
    "WavWriterStage",
    "WebDatasetReaderStage",
    "WebDatasetWriterStage",
    "WindowExtractionStage",
    "WindowParquetWriterStage",
    "WindowWebDatasetWriterStage",
]
