"""The C library's memory, which it gives back to the system and asks for again in each step."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep what tensors on a CPU free for those of the next step.

    Otherwise each block above 32 MB is a new mapping, whose pages the system fills with zeros: about a
    sixth of a training step at 224 px. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        if not mallopt(MMAP_THRESHOLD, LARGEST // 2):  # before glibc 2.35
            mallopt(MMAP_THRESHOLD, 2**25)
        mallopt(TRIM_THRESHOLD, LARGEST)
