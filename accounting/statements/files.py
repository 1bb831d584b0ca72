"""Writing files so that a reader sees the old ones or the new ones, never half of one.

Several that belong together are all written, and on disk, before the first of them takes its place: what fails while
they are written (a full disk, say) leaves all the old ones. Then each takes its place in one step; only what ends the
machine or the process just between these steps leaves new beside old, and the same command again mends it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path


def write_atomic(path: Path, chunks: Iterable[str | bytes]) -> Path:
    """`write_together` of one file."""
    return write_together({path: chunks})[0]


def write_together(files: Mapping[Path, Iterable[str | bytes]]) -> list[Path]:
    """Write UTF-8 text to each path through a neighbour; they replace what was there when all are complete and on disk.

    Bytes are such text already. Raises OSError, which names the file.
    """
    ready = []
    with ExitStack() as after:
        for path, chunks in files.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            after.callback(temporary.unlink, missing_ok=True)
            _write(temporary, path, chunks)
            ready.append((temporary, path))
        for temporary, path in ready:
            temporary.replace(path)
    return [*files]


def _write(temporary: Path, path: Path, chunks: Iterable[str | bytes]) -> None:
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk.encode() if isinstance(chunk, str) else chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as e:
        if e.filename is None:  # a write does not say which file it was
            e.filename = str(path)
        raise
    finally:
        if isinstance(chunks, Generator):  # what it reads from ends here, and not when Python throws it away
            chunks.close()
