"""Where the paths lead that a script reads and writes when nothing of it may reach the user's files.

What is written goes to a copy below the folder `scratch`, and what was written is read there: an overlay. A path leads
to its copy if there is one, and to the real file otherwise; a folder has the entries of both. What is removed is
removed from the overlay, and a real file is remembered as removed: it stays, and is found no longer. Paths are told
apart by name, not by where symbolic links lead.
"""

from __future__ import annotations

import _io
import contextlib
import errno
import mmap
import os
import posix  # what `os` is made of, and what does not change when the functions of `os` are replaced
import shutil
import stat
from collections.abc import Callable
from typing import Any

_DEVICES = ("/dev/", "/proc/", "/sys/")
_COPIED = (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)  # of everything else there can be no copy; 0: nothing there
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _mode(path: str, look: Callable[[str], os.stat_result] = posix.lstat) -> int:
    """What kind of thing lies there; 0 for nothing."""
    try:
        return look(path).st_mode
    except OSError:
        return 0


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(_mode(path, posix.stat))


def _make_folders(path: str) -> None:
    if not _is_folder(path):
        _make_folders(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):  # another thread or process made it in the meantime
            posix.mkdir(path)


def _delete(path: str) -> None:
    if stat.S_ISDIR(_mode(path)):
        for name in posix.listdir(path):
            _delete(os.path.join(path, name))
        posix.rmdir(path)
    else:
        posix.unlink(path)


class Entry:
    """An entry of the real folder or of its copy, under the path that the script knows."""

    def __init__(self, entry: os.DirEntry[str], folder: str) -> None:
        self._entry, self.name, self.path = entry, entry.name, os.path.join(folder, entry.name)

    def __fspath__(self) -> str:
        return self.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


class Entries:
    """What `os.scandir` returns: an iterator that can be closed."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Entries:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


class Overlay:
    """Where paths lead. It works by the functions of `posix`, which are not replaced."""

    def __init__(self, scratch: str) -> None:
        self.root = os.path.join(scratch, "files")  # the copy of /a/b is root/a/b
        self.untouched = (*_DEVICES, os.path.join(scratch, ""))
        self.removed: set[str] = set()
        self.used = mmap.mmap(-1, 1)  # whether anything was written: shared with forked processes, and quick to read

    def name(self, path: Any) -> str | None:
        """The absolute path that the script means, also where it came upon the copy's; None for what is passed on."""
        if not isinstance(path, str | bytes | os.PathLike) or not (text := os.fsdecode(path)):
            return None
        text = os.path.abspath(text)
        if text == self.root or text.startswith(self.root + "/"):
            return text[len(self.root) :] or "/"
        return None if text.startswith(self.untouched) else text

    def is_removed(self, name: str) -> bool:
        """It, or a folder that it was in; there may be a copy, written since."""
        while self.removed and name != "/":
            if name in self.removed:
                return True
            name = os.path.dirname(name)
        return False

    def forget(self, path: Any) -> None:
        """Read `path` as removed from now on, unless a copy is there."""
        if (name := self.name(path)) and _mode(name):
            self.removed.add(name)

    def seen(self, path: Any) -> Any:
        """Where `path` is read: its copy, if there is one or the real thing was removed."""
        if not self.used[0] or (name := self.name(path)) is None:
            return path
        copy = self.root + name
        if self.is_removed(name):
            return copy
        kind = _mode(copy)
        if kind and not (stat.S_ISDIR(kind) and _is_folder(name)):
            return copy
        return path if os.path.abspath(os.fsdecode(path)) == name else name

    def fresh(self, path: Any) -> Any:
        """Where `path` is written anew. Its folder must be one that the script sees, as without an overlay."""
        name = self.name(path)
        if name is None or stat.S_IFMT(_mode(name)) not in _COPIED:
            return path
        self.used[0] = True
        if _is_folder(self.seen(folder := os.path.dirname(name))):
            _make_folders(self.root + folder)
        return self.root + name

    def kept(self, path: Any) -> Any:
        """Where `path` is changed: a copy of the file, or of the folder without what is in it."""
        copy, source = self.fresh(path), self.seen(path)
        if self.name(path) and source != copy and not _mode(copy):
            if _is_folder(source):
                _make_folders(copy)
            elif mode := _mode(source, posix.stat):
                with _io.open(source, "rb") as old, _io.open(copy, "wb") as new:
                    shutil.copyfileobj(old, new)
                posix.chmod(copy, stat.S_IMODE(mode))
        return copy

    def whole(self, path: Any) -> Any:
        """As `kept`, with all that is in a folder."""
        copy = self.kept(path)
        for entry in self.entries(path) or ():
            self.whole(entry.path)
        return copy

    def emptied(self, path: Any) -> Any:
        """As `kept`, for a folder that must be empty."""
        if self.entries(path):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        return self.kept(path)

    def opened(self, path: Any, how: str | int) -> Any:
        """`how` is the mode of `open` or the flags of `os.open`."""
        if isinstance(how, int):
            how = "r" if not how & _WRITES else "w" if how & os.O_TRUNC and not how & os.O_EXCL else "a"
        if not set(how) & set("wxa+"):
            return self.seen(path)
        return self.fresh(path) if "w" in how and "-" not in how else self.kept(path)  # w-: h5py's name for x

    def entries(self, path: Any) -> list[Entry] | None:
        """What is in a folder, the real one and its copy; None for what is no folder, or passed on."""
        name = self.name(path)
        if name is None or not _is_folder(self.seen(path)):
            return None
        found = {}
        for folder, gone in ((name, self.is_removed), (self.root + name, lambda path: False)):
            if _is_folder(folder):
                with posix.scandir(folder) as entries:
                    found.update({entry.name: entry for entry in entries if not gone(os.path.join(name, entry.name))})
        return [Entry(entry, os.fsdecode(path)) for entry in found.values()]

    def listed(self, path: Any) -> list[Entry] | None:
        """`entries` where they differ from those of the real folder."""
        name = self.name(path) if self.used[0] else None
        return self.entries(path) if name and (self.removed or _mode(self.root + name)) else None

    def delete_tree(self, path: Any) -> bool:
        """Delete the copy of a folder and read the real one as removed; False for what is no such folder."""
        if self.entries(path) is None:
            return False
        self.used[0] = True
        self.forget(path)
        if _mode(copy := self.root + str(self.name(path))):
            _delete(copy)
        return True
