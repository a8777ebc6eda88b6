"""From recordings to segments and windows, and the containers they are kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.speech.estimate_bandwidth import EstimateBandwidthStage as EstimateBandwidthStage
    from curator_audio.stages.speech.mp3_writer import Mp3WriterStage as Mp3WriterStage
    from curator_audio.stages.speech.npz_reader import NpzReaderStage as NpzReaderStage
    from curator_audio.stages.speech.npz_writer import NpzWriterStage as NpzWriterStage
    from curator_audio.stages.speech.pair_reader import PairReaderStage as PairReaderStage
    from curator_audio.stages.speech.pair_writer import PairParquetWriterStage as PairParquetWriterStage
    from curator_audio.stages.speech.parquet_reader import SegmentParquetReaderStage as SegmentParquetReaderStage
    from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage as SegmentParquetWriterStage
    from curator_audio.stages.speech.recording_reader import RecordingReaderStage as RecordingReaderStage
    from curator_audio.stages.speech.segmenter import SegmenterStage as SegmenterStage
    from curator_audio.stages.speech.segments import segment_record as segment_record
    from curator_audio.stages.speech.segments import sound_of as sound_of
    from curator_audio.stages.speech.select_channels import SelectChannelsStage as SelectChannelsStage
    from curator_audio.stages.speech.sound import decode_sound as decode_sound
    from curator_audio.stages.speech.sound import encode_flac as encode_flac
    from curator_audio.stages.speech.sound_file_reader import SoundFileReaderStage as SoundFileReaderStage
    from curator_audio.stages.speech.wav_writer import WavWriterStage as WavWriterStage
    from curator_audio.stages.speech.webdataset_reader import WebDatasetReaderStage as WebDatasetReaderStage
    from curator_audio.stages.speech.webdataset_writer import WebDatasetWriterStage as WebDatasetWriterStage
    from curator_audio.stages.speech.window_extraction import WindowExtractionStage as WindowExtractionStage
    from curator_audio.stages.speech.window_parquet_writer import WindowParquetWriterStage as WindowParquetWriterStage
    from curator_audio.stages.speech.window_webdataset_writer import (
        WindowWebDatasetWriterStage as WindowWebDatasetWriterStage,
    )
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "sound_file_reader": ["SoundFileReaderStage"],
            "mp3_writer": ["Mp3WriterStage"],
            "estimate_bandwidth": ["EstimateBandwidthStage"],
            "npz_reader": ["NpzReaderStage"],
            "npz_writer": ["NpzWriterStage"],
            "pair_reader": ["PairReaderStage"],
            "pair_writer": ["PairParquetWriterStage"],
            "parquet_reader": ["SegmentParquetReaderStage"],
            "parquet_writer": ["SegmentParquetWriterStage"],
            "recording_reader": ["RecordingReaderStage"],
            "segmenter": ["SegmenterStage"],
            "segments": ["segment_record", "sound_of"],
            "select_channels": ["SelectChannelsStage"],
            "sound": ["decode_sound", "encode_flac"],
            "wav_writer": ["WavWriterStage"],
            "webdataset_reader": ["WebDatasetReaderStage"],
            "webdataset_writer": ["WebDatasetWriterStage"],
            "window_extraction": ["WindowExtractionStage"],
            "window_parquet_writer": ["WindowParquetWriterStage"],
            "window_webdataset_writer": ["WindowWebDatasetWriterStage"],
        },
    )
