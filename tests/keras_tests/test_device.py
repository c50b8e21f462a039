"""Where pixels lie, and what a worker says of its device. No test machine has a GPU for certain."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from search import resources
from search.training import device


@pytest.mark.parametrize(
    ("pixel_bytes", "device_bytes", "stays"),
    [
        (1, None, True),  # no GPU
        (400, 1000, False),  # 40 % of its memory
        (401, 1000, True),
        (0, 1000, False),
    ],
)
def test_pixels_stay_on_the_host_when_they_would_crowd_the_gpu(tmp_path, pixel_bytes, device_bytes, stays) -> None:
    (tmp_path / "pixels").write_bytes(bytes(pixel_bytes))
    assert device.stay_on_host(tmp_path / "pixels", device_bytes) is stays


def test_pixels_are_loaded_as_bytes(tmp_path, images) -> None:
    np.save(tmp_path / "pixels.npy", images)
    loaded = device.load_pixels(tmp_path / "pixels.npy", None)
    assert loaded.dtype == tf.uint8
    assert "CPU" in loaded.device
    np.testing.assert_array_equal(loaded, images)


def test_pixels_on_the_host_are_the_mapped_file_itself(tmp_path, images) -> None:
    """Nothing is copied, and the file stays as it is."""
    np.save(tmp_path / "pixels.npy", images)
    loaded = device.load_pixels(tmp_path / "pixels.npy", None)
    address = np.asarray(memoryview(loaded)).__array_interface__["data"][0]
    mappings = [
        line.split()
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(f"{tmp_path}/pixels.npy")
    ]
    assert any(int(first, 16) <= address < int(last, 16) for first, last in (line[0].split("-") for line in mappings))


def test_more_pixels_than_there_is_memory(tmp_path) -> None:
    """A file with holes takes no room on the disk, and its tensor none in memory."""
    side, path = 4096, tmp_path / "pixels.npy"
    count = 2 * resources.memory() // side**2
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 1)}
        )
        stream.truncate(stream.tell() + count * side**2)
    loaded = device.load_pixels(path, None)
    assert loaded.shape == (count, side, side, 1)
    assert int(tf.reduce_sum(tf.cast(tf.gather(loaded, [0, count - 1]), tf.int32))) == 0


def test_no_images_are_loaded_too(tmp_path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
    assert device.load_pixels(tmp_path / "none.npy", None).shape == (0, 8, 8, 3)


def test_asked_for_a_gpu_that_is_not_there_it_says_none(monkeypatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert device.set_up(threads=None, gpu=0) is None


def test_the_chosen_gpu_alone_is_seen_and_its_memory_grows(monkeypatch) -> None:
    visible, grown = [], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda chosen, kind: visible.append((chosen, kind)))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, grows: grown.append((gpu, grows)))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": f"the {gpu}"})
    assert device.set_up(threads=None, gpu=1) == "the second"
    assert visible == [(["second"], "GPU")]
    assert grown == [("second", True)]
    assert device.set_up(threads=None, gpu=None) is None
    assert visible[-1] == ([], "GPU")


@pytest.mark.parametrize(
    ("side", "gpus", "as_traced"), [(64, [], True), (65, [], False), (64, ["one"], False), (8, [], True)]
)
def test_graphs_run_as_they_are_traced_where_images_are_small(monkeypatch, side, gpus, as_traced) -> None:
    told: list[dict[str, bool]] = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", told.append)
    device.adapt(side)
    assert told == [{"disable_meta_optimizer": as_traced}]


def test_versions() -> None:
    assert set(device.versions()) == {"tensorflow", "keras"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), True),
        (tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (tf.errors.InternalError(None, None, "Dst tensor is not initialized."), True),
        (tf.errors.UnknownError(None, None, "CUDNN_STATUS_ALLOC_FAILED"), True),
        (tf.errors.InternalError(None, None, "something else"), False),
        (tf.errors.InvalidArgumentError(None, None, "out of memory"), False),
        (MemoryError(), False),
    ],
    ids=str,
)
def test_want_of_memory_has_many_words(error: Exception, expected: bool) -> None:
    assert device.is_out_of_memory(error) is expected
