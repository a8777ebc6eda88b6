"""The batched encoder against the library's ``encode_code``, one clip at a time, with the same random weights."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.extras import needs

torch = needs("torch")

from curator_audio.errors import ConfigurationError, CuratorError, StorageError  # noqa: E402
from curator_audio.stages.codec import weights  # noqa: E402
from curator_audio.stages.codec.codec import ClipTooLongError  # noqa: E402
from curator_audio.stages.codec.network import TINY, EncoderNetwork, quantized  # noqa: E402
from curator_audio.stages.codec.neucodec import NeuCodec  # noqa: E402
from curator_audio.stages.codec.random_weights import random_network, synthetic_speech  # noqa: E402


@pytest.fixture(scope="module")
def codec() -> NeuCodec:
    return NeuCodec(model="random-tiny", device="cpu", batch_audio_sec=20)


def share_equal(some: list[Any], others: list[Any]) -> float:
    assert [len(codes) for codes in some] == [len(codes) for codes in others]
    return float((np.concatenate(some) == np.concatenate(others)).mean())


# The codes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", ["neucodec", "transformers"])
def test_clips_of_mixed_lengths_have_the_codes_they_have_alone(
    implementation: str, clips: list[Any], codes_one_by_one: list[Any], request: Any, monkeypatch: Any
) -> None:
    library = request.getfixturevalue(f"{implementation}_model")
    monkeypatch.setattr(weights, "load_library_model", lambda *_: library)
    codes = NeuCodec(implementation, device="cpu", batch_audio_sec=20).encode(clips)
    assert share_equal(codes, codes_one_by_one) >= 0.999
    assert [len(of_clip) for of_clip in codes] == [len(clip) // 320 for clip in clips]
    assert all(of_clip.dtype == np.int32 for of_clip in codes)
    assert len(np.unique(codes[0])) > 100  # of 150: a test that sees one code everywhere sees nothing


def test_transformers_own_encoder_agrees(
    transformers_model: Any, clips: list[Any], codes_one_by_one: list[Any]
) -> None:
    """So that the two libraries mean the same by the same weights."""
    needs("torchaudio")
    from transformers import NeuCodecFeatureExtractor

    inputs = NeuCodecFeatureExtractor()(clips[0], sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        codes = transformers_model.encode(
            inputs["input_values"], inputs["input_features"], input_features_mask=inputs["input_features_mask"]
        ).audio_codes[0, 0]
    assert share_equal([codes.numpy()], [codes_one_by_one[0]]) >= 0.99  # its features are of single precision


def test_padding_would_be_seen(codec: NeuCodec, clips: list[Any], codes_one_by_one: list[Any]) -> None:
    """Without telling the branches where a clip ends, its last codes differ: the tests above can fail."""
    waves = torch.zeros(1, 320 * 201)
    waves[0, : len(clips[5])] = torch.from_numpy(clips[5])
    with torch.inference_mode():
        padded = codec._network(waves, [200], codec._mel)[0, :100].numpy()
    assert share_equal([padded], [codes_one_by_one[5]]) < 0.9


@pytest.mark.parametrize("branch", ["semantic_adapter.conv4", "acoustic_encoder.conv2"])
def test_both_branches_decide_about_the_codes(branch: str, clips: list[Any], codes_one_by_one: list[Any]) -> None:
    codec = NeuCodec(model="random-tiny", device="cpu")
    codec._network.get_submodule(branch).weight.data.zero_()
    assert share_equal(codec.encode(clips), codes_one_by_one) < 0.5


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_codes_do_not_depend_on_company_or_order(
    data: Any, codec: NeuCodec, clips: list[Any], codes_one_by_one: list[Any]
) -> None:
    chosen = data.draw(st.lists(st.integers(4, len(clips) - 1), max_size=8))
    seconds = data.draw(st.sampled_from([0.1, 1.0, 3.0, 60.0]))
    codes = NeuCodec(model="random-tiny", device="cpu", batch_audio_sec=seconds)
    codes.__dict__["_network"] = codec._network
    encoded = codes.encode([clips[index] for index in chosen])
    assert [len(of_clip) for of_clip in encoded] == [len(codes_one_by_one[index]) for index in chosen]
    for index, of_clip in zip(chosen, encoded):
        assert (of_clip != codes_one_by_one[index]).sum() <= len(of_clip) // 500


def test_digital_silence_is_encoded_as_alone(codec: NeuCodec, neucodec_model: Any) -> None:
    silence = np.zeros(8000, np.float32)
    with torch.inference_mode():
        alone = neucodec_model.encode_code(torch.from_numpy(silence)[None, None])[0, 0].numpy()
    together = codec.encode([silence, synthetic_speech(0.6, seed=3)])[0]
    assert share_equal([together], [alone]) == 1.0


def test_no_clips(codec: NeuCodec) -> None:
    assert codec.encode([]) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(dtype: str, clips: list[Any], codes_one_by_one: list[Any]) -> None:
    codes = NeuCodec(model="random-tiny", dtype=dtype, device="cpu").encode(clips)
    assert share_equal(codes, codes_one_by_one) > 0.6


def test_numbers_too_large_for_half_precision_are_an_error() -> None:
    codec = NeuCodec(model="random-tiny", dtype="float16", device="cpu")
    codec._network.fc_encoder.weight.data *= 1e5
    with pytest.raises(CuratorError, match="do not fit in float16; set dtype to bfloat16 or float32"):
        codec.encode([synthetic_speech(0.5, seed=0)])


def test_the_quantizer_is_the_librarys(neucodec_model: Any) -> None:
    quantizer = neucodec_model.generator.quantizer
    latents = torch.randn(50, 40, quantizer.project_in.in_features) * 10
    with torch.inference_mode():
        _, indices = quantizer(latents)
        codes = quantized(quantizer.project_in(latents))
    assert torch.equal(indices[..., 0], codes)
    assert int(codes.min()) >= 0 and int(codes.max()) < NeuCodec.codebook_size


# Batches ------------------------------------------------------------------------------------------------------


def test_clips_become_arrays_beside_the_device() -> None:
    threads = []

    class Slow:
        def __len__(self) -> int:
            return 3200

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            threads.append(threading.current_thread())
            return np.zeros(3200, np.float32)

    codec = NeuCodec(model="random-tiny", device="cpu", batch_audio_sec=0.4)
    assert [len(codes) for codes in codec.encode([Slow(), Slow(), Slow(), Slow()])] == [10] * 4
    assert codec.work.num_batches == 2
    assert len(threads) == 4 and threading.main_thread() not in threads


class LittleMemory:
    """A network on a device that holds so many samples at once."""

    def __init__(self, network: EncoderNetwork, num_samples: int, error: Exception | None = None):
        self.network, self.num_samples = network, num_samples
        self.error = error or torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        self.sizes: list[int] = []

    def __call__(self, waves: Any, num_codes: list[int], mel: Any) -> Any:
        self.sizes.append(waves.numel())
        if waves.numel() > self.num_samples:
            raise self.error
        return self.network(waves, num_codes, mel)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_what_does_not_fit_in_memory_is_tried_in_halves(error: Exception, codec: NeuCodec) -> None:
    clips = [synthetic_speech(0.5, seed) for seed in range(8)]
    expected = codec.encode(clips)
    small = NeuCodec(model="random-tiny", device="cpu", batch_audio_sec=20)
    memory = small.__dict__["_network"] = LittleMemory(codec._network, 20_000, error)
    assert share_equal(small.encode(clips), expected) >= 0.999
    assert small.work.out_of_memory == 2  # 8 clips, then 4; then twos
    assert small.work.num_batches == 6
    memory.sizes.clear()
    small.encode(clips)  # and it stays so
    assert small.work.out_of_memory == 2
    assert max(memory.sizes) < 20_000


def test_a_clip_that_does_not_fit_alone_is_named(codec: NeuCodec) -> None:
    small = NeuCodec(model="random-tiny", device="cpu")
    small.__dict__["_network"] = LittleMemory(codec._network, 10_000)
    with pytest.raises(
        ClipTooLongError, match=r"a clip of 1\.5 s does not fit in the memory of cpu even alone"
    ) as error:
        small.encode([np.zeros(1600, np.float32), np.zeros(24_000, np.float32)])
    assert error.value.index == 1


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "GET was unable to find an engine to execute this computation",  # for a single clip: no such GPU is known
    ],
)
def test_other_errors_are_not_taken_for_a_lack_of_memory(message: str) -> None:
    broken = NeuCodec(model="random-tiny", device="cpu")

    def network(*_: Any) -> Any:
        raise RuntimeError(message)

    broken.__dict__["_network"] = network
    with pytest.raises(RuntimeError, match=message):
        broken.encode([np.zeros(1600, np.float32)])


def test_work_is_counted(codec: NeuCodec) -> None:
    before = codec.work.num_batches
    time_before = codec.work.device_time_sec
    codec.encode([synthetic_speech(0.5, seed=0)])
    assert codec.work.num_batches == before + 1
    assert codec.work.device_time_sec > time_before


# Weights ------------------------------------------------------------------------------------------------------


def test_only_the_layers_that_are_used_are_kept(neucodec_model: Any) -> None:
    assert len(neucodec_model.semantic_model.encoder.layers) == 24
    network = weights.network_from(neucodec_model.state_dict(), "neucodec")
    assert len(network.semantic_encoder.layers) == 16
    assert network.acoustic_encoder.conv1.weight.shape == (TINY.num_channels, 1, 7)  # weight normalization is folded


@pytest.mark.parametrize("implementation", ["neucodec", "transformers"])
def test_weights_survive_the_way_to_a_library_and_back(implementation: str, request: Any) -> None:
    library = request.getfixturevalue(f"{implementation}_model")
    network = weights.network_from(library.state_dict(), implementation)
    for name, value in random_network(TINY, seed=0).state_dict().items():
        torch.testing.assert_close(network.get_buffer(name) if "snake" in name else network.get_parameter(name), value)


def test_random_weights_are_the_same_for_a_seed() -> None:
    one, same, other = (random_network(TINY, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["project_in.weight"], other["project_in.weight"])


def test_random_weights_leave_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    random_network(TINY, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_of_transformers(
    transformers_model: Any, clips: list[Any], codes_one_by_one: list[Any], tmp_path: Any
) -> None:
    transformers_model.save_pretrained(tmp_path)
    codec = NeuCodec("transformers", model=str(tmp_path), device="cpu", batch_audio_sec=20)
    assert share_equal(codec.encode(clips), codes_one_by_one) >= 0.999


def test_neucodec_loads_the_published_model_only() -> None:
    needs("neucodec")
    with pytest.raises(ConfigurationError, match="neucodec loads 'neuphonic/neucodec' only; set implementation"):
        NeuCodec("neucodec", model="/my/folder", device="cpu").load_encoder()


def test_weights_out_of_reach_are_told_in_a_line(monkeypatch: Any) -> None:
    neucodec = needs("neucodec")

    def no_network(model: str) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")

    monkeypatch.setattr(neucodec.NeuCodec, "from_pretrained", no_network)
    with pytest.raises(StorageError, match=r"'neuphonic/neucodec' cannot be loaded: We couldn't connect .*HF_HOME\)$"):
        NeuCodec(device="cpu").load_encoder()


def test_another_model_is_refused(transformers_model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(weights, "load_library_model", lambda *_: torch.nn.Linear(1, 1))
    with pytest.raises(ConfigurationError, match="has no weight 'semantic_encoder"):
        NeuCodec("transformers", device="cpu").load_encoder()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"implementation": "encodec"}, "implementation is 'encodec'; give one of neucodec, transformers"),
        ({"dtype": "int8"}, "dtype is 'int8'; give one of float32, bfloat16, float16"),
        ({"batch_audio_sec": 0}, "batch_audio_sec is 0; give a number of seconds above 0"),
        ({"batch_audio_sec": True}, "batch_audio_sec is True"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NeuCodec(**parameters)


# Decoding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", ["neucodec", "transformers"])
def test_codes_are_decoded_as_alone(implementation: str, request: Any) -> None:
    library = request.getfixturevalue(f"{implementation}_model")
    random = np.random.default_rng(0)
    codes = [random.integers(0, 65_536, count).astype(np.int32) for count in (20, 7, 20, 0, 33)]
    sounds = NeuCodec(implementation, model="random-tiny", device="cpu").decode(codes)
    assert [len(sound) for sound in sounds] == [480 * len(of_clip) for of_clip in codes]
    for of_clip, sound in zip(codes, sounds):
        if len(of_clip):
            given = torch.from_numpy(of_clip).long()[None, None]
            with torch.inference_mode():
                alone = library.decode_code(given) if implementation == "neucodec" else library.decode(given)[0]
            assert sound.dtype == np.float32
            np.testing.assert_allclose(sound, alone[0, 0].numpy(), atol=1e-5)


# What it needs ------------------------------------------------------------------------------------------------


def test_it_runs_where_there_is_only_torch() -> None:
    """A GPU machine may have neither Ray nor Hydra nor anything to read files with."""
    program = """
        import sys

        ABSENT = {"ray", "hydra", "omegaconf", "av", "fsspec", "s3fs", "pyarrow", "loguru", "orjson", "rich", "soxr",
                  "soundfile", "datasets", "neucodec", "transformers", "torchaudio"}

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ABSENT:
                    raise ModuleNotFoundError(f"{name} is not there", name=name)

        sys.meta_path.insert(0, Absent())
        import numpy as np
        from curator_audio.stages.codec.neucodec import NeuCodec

        print([len(codes) for codes in NeuCodec(model="random-tiny").encode([np.zeros(16000, np.float32)])])
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("[50]\n", 0), result.stderr


def test_importing_the_stages_does_not_import_torch() -> None:
    program = "import sys, curator_audio.stages.codec; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
