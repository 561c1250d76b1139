"""Pixels in anonymous shared memory (`memfd_create`): the kernel frees them when the last process lets go."""

import mmap
import os


def share(pixels: memoryview) -> int:
    """Copy contiguous bytes into a new memory file; return its descriptor, which the caller closes."""
    descriptor = os.memfd_create("fluxpool-image", os.MFD_CLOEXEC)
    try:
        rest = pixels.cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def take(descriptor: int) -> mmap.mmap:
    """Map a memory file for reading, and close the descriptor."""
    try:
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
