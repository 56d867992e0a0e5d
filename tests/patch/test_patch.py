"""Files are kept byte for byte, git applies the diff wherever it is run, and what is left out is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patching import Script, git, kinds
from unstick import UnstickError
from unstick.patch import express
from unstick.remedies import REMEDIES, parse

TEXT = """\
from torch import nn


def Net():
    # hidden layers
    return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2))
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TEXT, "utf-8"),
        (TEXT.rstrip("\n"), "utf-8"),
        (TEXT.replace("\n", "\r\n"), "utf-8"),
        (TEXT.replace("\n", "\r\n").rstrip(), "utf-8"),
        (TEXT.replace("hidden", "verdeckte Größen"), "utf-8-sig"),
        ("# -*- coding: latin-1 -*-\n" + TEXT.replace("hidden", "verdeckte Größen"), "latin-1"),
        (TEXT.replace("\n\n\n", "\n\f\n\n"), "utf-8"),
    ],
    ids=["plain", "no-end", "crlf", "crlf-no-end", "bom", "latin-1", "form-feed"],
)
@pytest.mark.parametrize("repository", [False, True])
def test_every_other_byte_stays(tmp_path: Path, text: str, encoding: str, repository: bool) -> None:
    if repository:
        git(tmp_path, "init", "-q")
    script = Script(tmp_path, text, encoding=encoding)
    script.apply(script.express("relu+batchnorm"))
    expected = text.replace("nn.Sigmoid()", "nn.BatchNorm1d(3), nn.ReLU()")
    assert script.path.read_bytes() == expected.encode(encoding)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_that_come_end_like_the_others(tmp_path: Path, ending: str) -> None:
    text = (TEXT + "\n\nmodel = Net()").replace("\n", ending)
    script = Script(tmp_path, text, model="return nn.Sequential")
    after = script.patched("init(he)")
    assert after.endswith(f"model = Net(){ending}model.apply(_init_weights)")
    assert ending == "\n" or after.count("\n") == after.count("\r\n")


@pytest.mark.parametrize("name", ["train.py", "my nets/ünder.py"])
@pytest.mark.parametrize("where", ["", "sub", "sub/deeper"])
def test_inside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str) -> None:
    """From the folder that the script was run in, and, the same diff, from the root."""
    git(tmp_path, "init", "-q")
    folder = tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    script = Script(folder, TEXT, name=name)
    patch = script.express("relu")
    assert patch.files == ((Path(where) / name).as_posix(),)
    script.apply(patch)
    assert "nn.ReLU()" in script.read()
    script.path.write_text(TEXT)
    script.apply(patch, tmp_path)
    assert "nn.ReLU()" in script.read()


def test_files_elsewhere_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(tmp_path, TEXT)
    seen = script.seen()
    (tmp_path / "inner").mkdir()
    patch = express(parse("relu"), seen, tmp_path / "inner")
    assert not patch.diff
    assert "cannot be read" in patch.missing[0]
    monkeypatch.chdir(tmp_path / "inner")
    outside = Script(tmp_path, TEXT.replace("3", "5"), name="other.py").seen()
    assert "outside of the folder" in express(parse("relu"), outside).missing[0]


def test_two_files(tmp_path: Path) -> None:
    script = Script(tmp_path, TEXT + "\n\nmodel = Net()\n", model="return nn.Sequential", optimizer="SGD(")
    script.text = script.text.replace("nn.Linear(3, 2)", "PART")
    part = "from torch import nn\n\n\ndef part():\n    return [nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)]\n"
    (tmp_path / "part_of_it.py").write_text(part)
    sys.path.insert(0, str(tmp_path))
    try:
        text = "from part_of_it import part\n" + TEXT.replace("nn.Linear(3, 2)", "*part()")
        script = Script(tmp_path, text)
        patch = script.express("relu")
        script.apply(patch)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("part_of_it", None)
    assert patch.files == ("part_of_it.py", "train.py")[::-1]
    assert "nn.ReLU()" in (tmp_path / "part_of_it.py").read_text()


def test_nothing_is_written(tmp_path: Path) -> None:
    script = Script(tmp_path, TEXT)
    script.express("relu")
    assert script.read() == TEXT


@pytest.mark.parametrize("example", [example for remedy in REMEDIES for example in remedy.examples])
def test_every_remedy_is_expressed_or_named(tmp_path: Path, example: str) -> None:
    text = TEXT + "\n\nmodel = Net()\noptimizer = torch.optim.SGD(model.parameters(), lr=0.2)\noptimizer.step()\n"
    script = Script(tmp_path, f"import torch\n{text}", model="return nn.Sequential", optimizer="torch.optim.SGD(")
    patch = script.express(example)
    assert patch.diff or patch.missing
    for sentence in patch.missing:
        head, _, lines = sentence.partition("\n")
        assert head.endswith(":")
        code = "".join(f"\n{line}" for line in lines.splitlines())  # it may be what stands in a function
        compile(f"def function():{code}", "lines", "exec")
    if patch.diff:
        script.apply(patch)
        script.module()


def test_parts_that_cannot_be_expressed_do_not_stop_the_others(tmp_path: Path) -> None:
    script = Script(tmp_path, TEXT)
    patch = script.express("residual+relu")
    assert "nn.ReLU()" in patch.diff
    assert len(patch.missing) == 1
    assert patch.missing[0].startswith("residual is not all in the patch")


def test_without_libcst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Script(tmp_path, TEXT).seen()
    monkeypatch.setitem(sys.modules, "libcst", None)
    with pytest.raises(UnstickError, match=r'pip install "unstick\[patch\]"'):
        express(parse("relu"), seen)


# -- any sequential network --------------------------------------------------------------------------------------------

SPELLINGS = [
    "nn.Sigmoid()",
    "torch.nn.Tanh()",
    "Tanh()",
    "nn.ReLU(inplace=True)",
    "nn.LeakyReLU(0.3)",
    "nn.Softplus(beta=2)",
]
COMMENTS = st.sampled_from(["", "  # a comment", "  # nn.Sigmoid()", "  # größer"])
LAYERS = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(SPELLINGS), COMMENTS, st.booleans()), min_size=1, max_size=5
)


@given(layers=LAYERS, remedy=st.sampled_from(["relu", "gelu", "batchnorm", "elu+layernorm(after)", "silu+batchnorm"]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_generated_networks(tmp_path: Path, layers: list[tuple[int, str, str, bool]], remedy: str) -> None:
    before, after = _generated(layers, remedy)
    script = Script(tmp_path, before)
    patch = script.express(remedy)
    assert patch.complete
    if patch.diff:
        script.apply(patch)
    assert script.read() == after
    assert kinds(script.net())


def _generated(layers: list[tuple[int, str, str, bool]], remedy: str) -> tuple[str, str]:
    """A script, and how it should be after the patch, written independently of it."""
    before, after = [], []
    width = 4
    for new, spelling, comment, together in layers:
        linear, act = f"nn.Linear({width}, {new}),", _exchanged(spelling, remedy)
        one, two = _beside(act, new, remedy)
        before += [f"    {linear} {spelling},{comment}"] if together else [f"    {linear}", f"    {spelling},{comment}"]
        if together:
            after.append(f"    {linear} {one}, {two},{comment}" if two else f"    {linear} {one},{comment}")
        elif "(after)" in remedy:
            after += [f"    {linear}", f"    {one},{comment}", f"    {two},"]
        else:
            after += [f"    {linear}", *([f"    {one},", f"    {two},{comment}"] if two else [f"    {one},{comment}"])]
        width = new
    end = [f"    nn.Linear({width}, 2),{'  # the last'}", ")"]
    head = ["import torch", "from torch import nn", "from torch.nn import Tanh", "", "Net = lambda: nn.Sequential("]
    new_import = _imports(layers, remedy)
    changed = head[:1] + new_import + head[1:]
    return "\n".join([*head, *before, *end, ""]), "\n".join([*changed, *after, *end, ""])


CLASS = {"relu": "ReLU", "gelu": "GELU", "elu": "ELU", "silu": "SiLU"}


def _exchanged(spelling: str, remedy: str) -> str:
    name = CLASS.get(remedy.partition("+")[0])
    written = spelling.partition("(")[0]
    owner, _, old = written.rpartition(".")
    if name is None or old == name:
        return spelling
    arguments = "inplace=True" if "inplace" in spelling and name != "GELU" else ""
    return f"{owner}.{name}({arguments})" if owner else f"{name}({arguments})"


def _beside(act: str, width: int, remedy: str) -> tuple[str, str]:
    if "batchnorm" in remedy:
        return f"nn.BatchNorm1d({width})", act
    return (act, f"nn.LayerNorm({width})") if "layernorm" in remedy else (act, "")


def _imports(layers: list[tuple[int, str, str, bool]], remedy: str) -> list[str]:
    name = CLASS.get(remedy.partition("+")[0])
    bare = any(spelling == "Tanh()" for _, spelling, _, _ in layers)
    return [f"from torch.nn import {name}"] if bare and name else []


@pytest.mark.parametrize("content", [b"def (", b"# coding: nonsense\n", b"x = '\xff'\n"])
def test_a_file_that_is_no_python_now(tmp_path: Path, content: bytes) -> None:
    script = Script(tmp_path, TEXT)
    seen = script.seen()
    script.path.write_bytes(content)
    patch = express(parse("relu"), seen)
    assert not patch.diff
    assert "train.py cannot be read: " in patch.missing[0]
