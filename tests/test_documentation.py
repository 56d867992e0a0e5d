"""What the documentation shows works: each page's blocks are run, in order, in a folder of the page's own."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pages import PAGES, ROOT, Block, block, blocks
from unstick import REMEDIES, RULES, diagnose, parse_remedy
from unstick.cli import FOUND, OK, cli, main
from unstick.target import load

SCRIPT = """
import argparse
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--lr", type=float, default=0.1)
arguments = parser.parse_args()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=arguments.lr)
for _ in range(arguments.epochs * 50):
    x = torch.randn(64, 4)
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), x[:, :1]).backward()
    optimizer.step()
"""
MODEL = block("own-network.md", "model.py")
STAND_INS = {
    "train.py": SCRIPT,
    "package/train.py": SCRIPT,
    "model.py": MODEL,
    "network.py": MODEL,
    "other.py": MODEL,
}
"""Files of the reader's own, where a page names them and does not show them."""

NOT_RUN = {
    r"pip install": "would change the environment",
    r"git clone": "this is the repository",
    r"(PIP_EXTRA_INDEX_URL=\S+ )?make ": "builds environments, and runs these tests",
    r"\.venv/bin/pre-commit": "would change the repository's hooks",
    r"python (-m )?benchmarks": "takes minutes",
    r"torchrun": "its own tests are in tests/script/test_process.py",
    r"exec": "needs the cluster's scheduler around it",
    r"jq": "need not be installed here; what is piped into it is run",
    r"unstick .* --device cuda": "needs a GPU",
    r"unstick .* --engine ray": "its own tests are in tests/trials/test_ray.py",
    r"ray ": "starts a cluster",
}
"""Commands that are shown and not run, by patterns of how they begin, each with a reason. `look_at` looks at them."""

SHORT = {
    "demo": ["--steps=1", "--seeds=2", "--workers=1"],
    "diagnose": ["--steps=1"],
    "try": ["--steps=1", "--seeds=2", "--workers=1"],
    "check": ["--steps=1", "--seeds=2", "--workers=1"],
}
"""Options that commands are given in addition, where the page does not show what comes of them."""

SMALLER = {"layers: int = 1000": "layers: int = 100"}
"""What is changed in files that pages show, since even a single step would take too long."""

RUN_ONCE: set[str] = set()
"""Commands about the same script that several pages show. It is the same everywhere, and a run takes seconds."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A diagnosis as JSON, which stands in for reports of the reader's own."""
    write(model := tmp_path_factory.mktemp("report") / "model.py", MODEL)
    return diagnose(load(f"{model}:case"), steps=1).to_json()


@pytest.fixture
def folder(tmp_path: Path, report: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The reader's folder; modules that are imported from it are forgotten afterwards."""
    for name, text in {**STAND_INS, "before.json": report, "after.json": report}.items():
        write(tmp_path / name, text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("2, 3\n"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


PAGES_WITH_BLOCKS = [page for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS, ids=lambda page: page.name)
def test_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for shown in blocks(page):
        where = f"{page.name}:{shown.line}"
        if shown.file:
            save(folder / shown.file, shown.text)
        elif shown.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(shown.text, where, "exec"), names)
            assert printed.getvalue() or "print(" not in shown.text, where
            assert_shown(shown, printed.getvalue(), where)
        else:
            assert shown.commands or shown.language == "text", f"{where}: nobody knows how to run {shown.language}"
            whole = shown.output is not None
            assert_shown(shown, "".join(run(command, whole, where) for command in shown.commands), where)


def save(path: Path, text: str) -> None:
    """A file that a page shows; what cannot be imported or given to unstick is parsed, and its commands are run."""
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    write(path, text)
    if path.suffix == ".toml":
        tomllib.loads(text)
    if path.suffix == ".py":
        compile(text, path.name, "exec")
    if path.suffix == ".sh":
        subprocess.run(["bash", "-n", path], check=True)
        for line in text.splitlines():
            if line and not line.startswith("#"):
                run(line, False, path.name)
    if path.suffix == ".yml":
        for job in yaml.safe_load(text)["jobs"].values():
            for command in (step["run"] for step in job["steps"] if "run" in step):
                run(command, False, path.name)


def run(command: str, whole: bool, where: str) -> str:
    """What it prints. whole: with no options in addition."""
    command, _, reader = command.partition(" | ")
    assert not reader or is_not_run(reader), f"{where}: {reader} is not named in NOT_RUN"
    if is_not_run(command):
        look_at(command)
        return ""
    if command in RUN_ONCE:
        return ""
    RUN_ONCE.update({command} if "train.py" in command else ())
    program, *arguments = shlex.split(command)
    if program == "pytest":
        tested = [sys.executable, "-m", "pytest", *arguments]
        return subprocess.run(tested, check=True, capture_output=True, text=True).stdout
    assert program == "unstick", f"{where}: {program} is neither run nor named in NOT_RUN"
    return unstick(arguments, [] if whole else SHORT.get(arguments[0], []), where)


def unstick(arguments: list[str], more: list[str], where: str) -> str:
    """What it prints. more: options, which go before those of a script."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    printed, noted = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(noted):
        status = main([*arguments[:end], *more, *arguments[end:]])
    allowed = (OK, FOUND) if arguments[0] == "diagnose" else (OK,)
    assert status in allowed, f"{where}: {shlex.join(arguments)}: {noted.getvalue()}"
    return printed.getvalue()


def is_not_run(command: str) -> bool:
    return any(re.match(pattern, command) for pattern in NOT_RUN)


def look_at(command: str) -> None:
    """Of a command that is not run: click accepts its arguments, and remedies, files, extras and targets exist."""
    for words in re.findall(r"unstick (?:diagnose|try) .*", command):
        _, name, *arguments = shlex.split(words.partition(" -- ")[0])
        context = cli.commands[name].make_context(name, arguments)
        for remedy in context.params.get("remedies", ()):
            parse_remedy(remedy)
    for script in re.findall(r"python (benchmarks/\S+)", command):
        assert (ROOT / script).is_file(), command
    for module in re.findall(r"python -m (benchmarks\S+)", command):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
    for target in re.findall(r"^(?:\S+=\S+ )?make (\w+)", command):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(), command
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(\w+)\]", command):
        assert extra in project["optional-dependencies"], command


def assert_shown(shown: Block, printed: str, where: str) -> None:
    """What a page says is printed is printed, numbers aside; [...] stands for what is left out."""
    if shown.output is not None:
        for piece in shown.output.split("[...]"):
            assert rough(piece) in rough(printed), f"{where}: not printed: {piece}"


def rough(text: str) -> str:
    """Without what depends on the machine's arithmetic and on the width of the terminal."""
    text = re.sub(r"[-+]?\d+(\.\d+)?(e-?\d+)?", "#", text)
    return re.sub(r"[▁▂▃▄▅▆▇█]+", "▁", " ".join(re.sub("─+", "─", text).split()))


def test_what_is_treated_apart_is_shown_somewhere() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [pattern for pattern in NOT_RUN if not re.search(pattern, text)] == []
    assert [large for large in SMALLER if large not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_no_placeholder_is_left() -> None:
    assert "<!--" not in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_rule_and_remedy_says_what_to_read() -> None:
    for entry in (*RULES, *REMEDIES):
        assert re.search(r"(19|20)\d\d", entry.reading), entry
