"""What a test must not leave behind in this process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nothing_is_left() -> Iterator[None]:
    """No descriptor, no mapping of pixels and no file in shared memory more than before."""
    gc.freeze()  # what is older (torch, say) need not be looked through at the end
    before, shared = _open_files(), set(Path("/dev/shm").iterdir())
    try:
        yield
        gc.collect()
    finally:
        gc.unfreeze()
    assert _open_files() == before
    assert set(Path("/dev/shm").iterdir()) <= shared
    assert "memfd:fluxpool" not in Path("/proc/self/maps").read_text()


def _open_files() -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # that of the listing itself
    return found
