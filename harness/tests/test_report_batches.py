"""Raw batches: stored once, read back, and every flipped byte noticed."""

from __future__ import annotations

import random
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInputError, MisuseError
from harness.report import BatchStore, RawBatch
from harness.report.batches import load
from harness.report.results import read_run
from harness.report.schema import check_run
from harness.tests.report_samples import check, write_run

NOISE = random.Random(7).randbytes(50_000)


@given(
    image=st.binary(max_size=300),
    results=st.binary(max_size=300),
    memory=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=50)), max_size=4),
)
def test_a_batch_is_read_back_as_it_was_stored(
    tmp_path_factory: pytest.TempPathFactory, image: bytes, results: bytes, memory: list[tuple[int, bytes]]
) -> None:
    store = BatchStore(tmp_path_factory.getbasetemp())
    name = store.store(image, results, memory, {"seed": 1})
    assert store.load(name) == RawBatch(image=image, results=results, memory=tuple(memory), meta={"seed": 1})


def test_equal_batches_are_stored_once_and_repetition_is_compressed(tmp_path: Path) -> None:
    store = BatchStore(tmp_path)
    assert store.store(bytes(100_000), b"r") == store.store(bytes(100_000), b"r")
    assert [path.suffix for path in store.directory.iterdir()] == [".bin"]
    assert next(store.directory.iterdir()).stat().st_size < 5_000
    noisy = store.path(store.store(NOISE, b""))
    assert noisy.stat().st_size < len(NOISE) + 100


@pytest.mark.parametrize("content", [NOISE[:500], bytes(5000)], ids=["plain", "compressed"])
def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path: Path, content: bytes) -> None:
    store = BatchStore(tmp_path)
    path = store.path(store.store(content, b"results", [(0x40000000, b"table")]))
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x41]) + whole[offset + 1 :])
        with pytest.raises(BadInputError) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadInputError):
            load(path)


def test_a_batch_under_another_name_is_noticed(tmp_path: Path) -> None:
    store = BatchStore(tmp_path)
    path = store.path(store.store(b"image", b"results"))
    other = path.rename(path.with_name("ab" * 32 + ".bin"))
    with pytest.raises(BadInputError, match="does not match the sha256 in its name"):
        load(other)


def test_check_reads_every_batch_that_a_run_names(tmp_path: Path) -> None:
    store = BatchStore(tmp_path)
    name = store.store(b"image", b"results")
    write_run(tmp_path, check(batches=(name,)), check(batches=(name,)))
    assert check_run(read_run(tmp_path)) == 1
    store.path(name).unlink()
    with pytest.raises(BadInputError, match="cannot be read"):
        check_run(read_run(tmp_path))


def test_a_full_disk_leaves_no_half_batch(tmp_path: Path) -> None:
    store = BatchStore(tmp_path)
    kept = store.store(b"image", b"results")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(MisuseError, match=r"could not be written.*free space"):
            store.store(NOISE, b"")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in store.directory.iterdir()] == [f"{kept}.bin"]
