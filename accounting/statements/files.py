"""Writing a file so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from pathlib import Path


def write_atomic(path: Path, chunks: Iterable[str | bytes]) -> Path:
    """Write UTF-8 text to ``path`` through a neighbour that replaces it when it is complete and on disk.

    Bytes are such text already.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk.encode() if isinstance(chunk, str) else chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as e:
        if e.filename is None:  # a write does not say which file it was
            e.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        if isinstance(chunks, Generator):  # what it reads from ends here, and not when Python throws it away
            chunks.close()
    return path
