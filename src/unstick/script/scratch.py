"""A process that reads the user's files and writes none of them.

What a script writes goes to copies in a folder, and the script sees there what it wrote: `overlay.py` says how. A file
that is changed in place ("a", "r+", `chmod`) is copied first. Links are made to copies, so that nothing that is written
through them gets out. Devices, named pipes, file descriptors and file objects are passed on as they are.

Not covered, because it does not go through Python's functions: what compiled code opens by itself (`cv2.imwrite`,
pyarrow, the traces of `torch.profiler`, TensorFlow), other programs, paths relative to a `dir_fd`, `io.FileIO`, and the
import of a module that the script wrote. Forked processes inherit everything but what is removed after the fork;
spawned ones inherit nothing. POSIX only.
"""

from __future__ import annotations

import _io
import functools
import importlib
import importlib.util
import os
import posix
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch

from unstick.script.everywhere import replace_everywhere
from unstick.script.overlay import Entries, Overlay

_Function = Callable[..., Any]
_Where = Callable[[Any], Any]

_READ = ("stat", "lstat", "access", "readlink", "statvfs", "listxattr", "getxattr", "chdir")
_CHANGED = ("mkdir", "mkfifo", "mknod", "chmod", "chown", "utime", "truncate", "setxattr", "removexattr")


def _at(function: _Function, then: _Where = lambda path: None, /, **where: _Where) -> _Function:
    """`function`, given where its paths lead; then `then` is told the paths as they were.

    `where` names the first parameters, in their order.
    """

    @functools.wraps(function)
    def redirected(*args: Any, **kwargs: Any) -> Any:
        if any(name.endswith("dir_fd") and kwargs[name] is not None for name in kwargs):
            return function(*args, **kwargs)
        led = (lead(path) for lead, path in zip(where.values(), args, strict=False))
        named = {name: where[name](value) if name in where else value for name, value in kwargs.items()}
        result = function(*led, *args[len(where) :], **named)
        for path in (*args[: len(where)], *(kwargs[name] for name in where if name in kwargs)):
            then(path)
        return result

    return redirected


def _same(argument: Any) -> Any:
    return argument


def _system(overlay: Overlay) -> dict[_Function, _Function]:
    """What takes the place of functions of `os`, `io` and `shutil`."""

    @functools.wraps(_io.open)
    def open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return _io.open(overlay.opened(file, mode), mode, *args, **kwargs)

    @functools.wraps(posix.open)
    def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return posix.open(overlay.opened(path, flags) if dir_fd is None else path, flags, mode, dir_fd=dir_fd)

    @functools.wraps(posix.scandir)
    def scandir(path: Any = None) -> Any:
        entries = overlay.listed("." if path is None else path)
        return posix.scandir(overlay.seen(path)) if entries is None else Entries(entries)

    @functools.wraps(posix.listdir)
    def listdir(path: Any = None) -> Any:
        entries = overlay.listed("." if path is None else path)
        return posix.listdir(overlay.seen(path)) if entries is None else [entry.name for entry in entries]

    @functools.wraps(posix.symlink)
    def symlink(src: Any, dst: Any, *args: Any, **kwargs: Any) -> None:
        target = os.path.join(os.path.dirname(os.fsdecode(dst)), os.fsdecode(src))
        posix.symlink(overlay.whole(target), overlay.fresh(dst), *args, **kwargs)

    rmtree = shutil.rmtree

    @functools.wraps(rmtree)
    def remove_tree(path: Any, *args: Any, **kwargs: Any) -> None:
        if not overlay.delete_tree(path):
            rmtree(path, *args, **kwargs)

    functions: dict[_Function, _Function] = {
        _io.open: open,
        posix.open: os_open,
        posix.scandir: scandir,
        posix.listdir: listdir,
        posix.symlink: symlink,
        posix.link: _at(posix.link, src=overlay.whole, dst=overlay.fresh),
        posix.rename: _at(posix.rename, overlay.forget, src=overlay.whole, dst=overlay.fresh),
        posix.replace: _at(posix.replace, overlay.forget, src=overlay.whole, dst=overlay.fresh),
        posix.remove: _at(posix.remove, overlay.forget, path=overlay.kept),
        posix.unlink: _at(posix.unlink, overlay.forget, path=overlay.kept),
        posix.rmdir: _at(posix.rmdir, overlay.forget, path=overlay.emptied),
        rmtree: remove_tree,
    }
    for names, where in ((_READ, overlay.seen), (_CHANGED, overlay.kept)):
        functions |= {plain: _at(plain, path=where) for name in names if (plain := getattr(posix, name, None))}
    return functions


def _database(overlay: Overlay, path: Any) -> Any:
    """A database in memory has a name that begins with a colon; one that is given by its URI is not covered."""
    return path if str(path).startswith((":", "file:")) else overlay.kept(path)


def _libraries(overlay: Overlay) -> dict[_Function, _Function]:
    """What takes the place of functions whose files are opened in compiled code, or by an `open` of their own.

    The packages are loaded now, so that whatever uses them later finds these.
    """
    scripted: Any = torch.jit._script.RecursiveScriptModule
    scripted.save = _at(scripted.save, self=_same, f=overlay.fresh)
    functions: dict[_Function, _Function] = {
        torch.save: _at(torch.save, obj=_same, f=overlay.fresh),
        torch.load: _at(torch.load, f=overlay.seen),
        torch.jit.load: _at(torch.jit.load, f=overlay.seen),
        numpy.savetxt: _at(numpy.savetxt, fname=overlay.fresh),  # numpy keeps `open` in a table for text files
        numpy.loadtxt: _at(numpy.loadtxt, fname=overlay.seen),
        numpy.genfromtxt: _at(numpy.genfromtxt, fname=overlay.seen),
    }
    if importlib.util.find_spec("_sqlite3"):
        import sqlite3

        functions[sqlite3.connect] = _at(sqlite3.connect, database=lambda path: _database(overlay, path))
    if importlib.util.find_spec("safetensors"):
        import safetensors

        write: _Function = safetensors.serialize_file
        functions[write] = _at(write, tensor_dict=_same, filename=overlay.fresh)
        functions[safetensors.safe_open] = _at(safetensors.safe_open, filename=overlay.seen)
    if importlib.util.find_spec("h5py"):
        file = importlib.import_module("h5py").File
        plain = file.__init__

        @functools.wraps(plain)
        def init(self: Any, name: Any, mode: str = "r", *args: Any, **kwargs: Any) -> None:
            plain(self, overlay.opened(name, mode or "r"), mode, *args, **kwargs)

        file.__init__ = init
    return functions


def redirect_writes(scratch: Path) -> None:
    """From now until the process ends, what it writes goes below `scratch`, a folder that is made if it is missing.

    The copy of `/a/b` is `scratch/files/a/b`. `scratch/tmp` is the process's folder for temporary files, so that a
    script that lies in the system's is protected, too. Sockets are made there, whose paths have at most 107 characters:
    the path of `scratch` should be short. No bytecode is written. To be called before the script is.
    """
    scratch = Path(os.path.realpath(scratch))
    for folder in ("files", "tmp"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    sys.dont_write_bytecode = True
    overlay = Overlay(str(scratch))
    functions = _system(overlay) | _libraries(overlay)
    for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        able.update(new for old, new in functions.items() if old in able)
    replace_everywhere(functions)
    os.environ["TMPDIR"] = str(scratch / "tmp")
    importlib.reload(tempfile)  # keeps `os.unlink` as the default of an argument
