"""Scripts that write by every route, in processes of their own: the folder they lie in is as it was, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import unstick

SOURCES = Path(unstick.__file__).parents[1]
REDIRECT = """
    import sys
    from pathlib import Path
    from unstick.script.scratch import redirect_writes
    redirect_writes(Path(sys.argv[1]))
"""


def contents(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else None, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder, with what an earlier run left there."""
    home = tmp_path / "home"
    (home / "old" / "deep").mkdir(parents=True)
    (home / "old" / "deep" / "weights.pt").write_bytes(b"precious")
    (home / "losses.txt").write_text("1\n")
    (home / "data.csv").write_text("a,b\n")
    (home / "full.bin").write_bytes(bytes(range(16)))
    return home


@pytest.fixture
def scratch():
    """A short path, as sockets need, which are made below it."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        yield Path(folder)


@pytest.fixture
def run(home: Path, scratch: Path):
    """Runs a script in `home` with its writes redirected; all that it asserts must hold, and nothing there changes."""

    def run(script: str, before: str = "") -> Path:
        there = contents(home)
        program = "".join(map(textwrap.dedent, (before, REDIRECT, script)))
        command = [sys.executable, "-c", program, str(scratch)]
        environment = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment["PYTHONDONTWRITEBYTECODE"] = ""  # as for users
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert contents(home) == there
        return scratch / "files" / home.relative_to("/")

    return run


def test_files_are_written_to_copies_and_read_from_there(run, home):
    copies = run("""
        import io, os
        assert open("losses.txt").read() == "1\\n"
        with open("losses.txt", "a") as file: file.write("2\\n")
        assert open("losses.txt").read() == Path("losses.txt").read_text() == "1\\n2\\n"
        assert os.path.getsize(b"losses.txt") == 4
        with open("full.bin", "r+b") as file: file.write(b"xy")
        assert Path("full.bin").read_bytes() == b"xy" + bytes(range(2, 16))
        with io.open("data.csv", "w") as file: file.write("new")
        assert os.stat("data.csv").st_size == 3
        number = os.open("by_number", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(number, b"3"); os.close(number)
        assert open("by_number").read() == "3"
        for name in ("data.csv", "old/deep/weights.pt"):
            try: open(name, "x")
            except FileExistsError: pass
            else: raise AssertionError
        try: open("nowhere/file", "w")
        except FileNotFoundError: pass
        else: raise AssertionError
        with open("/dev/null", "w") as file: file.write("gone")
        read, write = os.pipe()
        with open(write, "w") as file: file.write("through")
        assert open(read).read() == "through"
        os.truncate("by_number", 0); os.chmod("full.bin", 0o600); os.utime("losses.txt", (1, 1))
        Path("touched").touch()
        assert os.path.getmtime("losses.txt") == 1 and os.stat("by_number").st_size == 0
    """)
    assert (copies / "losses.txt").read_text() == "1\n2\n"


def test_folders_show_what_is_there_and_what_was_written(run):
    run("""
        import glob, os
        os.makedirs("runs/a/b", exist_ok=True)
        os.makedirs("old/deep", exist_ok=True)
        try: os.mkdir("old")
        except FileExistsError: pass
        else: raise AssertionError
        Path("old/deep/new.pt").write_bytes(b"n")
        assert sorted(os.listdir("old/deep")) == ["new.pt", "weights.pt"]
        assert {e.path for e in os.scandir("old/deep") if e.is_file()} == {"old/deep/new.pt", "old/deep/weights.pt"}
        assert sorted(glob.glob("old/*/*.pt")) == ["old/deep/new.pt", "old/deep/weights.pt"]
        assert sorted(p.name for p in Path("old").rglob("*.pt")) == ["new.pt", "weights.pt"]
        assert sorted(p.name for p in Path("old/deep").iterdir()) == ["new.pt", "weights.pt"]
        assert [files for _, _, files in os.walk("runs")] == [[], [], []] and os.path.isdir("runs/a/b")
        assert sorted(os.listdir()) == ["data.csv", "full.bin", "losses.txt", "old", "runs"]
        os.chdir("runs/a")
        Path("here.txt").write_text("h")
        assert Path("../../data.csv").read_text() == "a,b\\n" and os.path.exists("../a/here.txt")
        assert os.path.exists(Path.cwd() / "here.txt") and os.path.exists(Path.cwd().parents[1] / "data.csv")
    """)


def test_what_is_removed_or_moved_is_so_for_the_script_alone(run):
    run("""
        import os, shutil, tempfile
        os.remove("data.csv")
        assert not os.path.exists("data.csv") and "data.csv" not in os.listdir()
        try: open("data.csv")
        except FileNotFoundError: pass
        else: raise AssertionError
        Path("data.csv").write_text("again")
        assert Path("data.csv").read_text() == "again"
        Path("data.csv").unlink()
        assert not Path("data.csv").exists()
        try: os.remove("data.csv")
        except FileNotFoundError: pass
        else: raise AssertionError

        try: os.rmdir("old")
        except OSError: pass
        else: raise AssertionError
        os.rename("old", "older")
        assert os.listdir("older/deep") == ["weights.pt"] and not os.path.exists("old/deep/weights.pt")
        Path("older/deep/weights.pt").write_bytes(b"changed")
        shutil.copytree("older", "old")
        assert Path("old/deep/weights.pt").read_bytes() == b"changed" and os.listdir("old") == ["deep"]
        shutil.rmtree("old")
        assert not os.path.exists("old")
        os.makedirs("old/deep")
        assert os.listdir("old/deep") == []
        os.rmdir("old/deep")
        os.rmdir("old")
        shutil.rmtree("nowhere", ignore_errors=True)
        try: shutil.rmtree("nowhere")
        except FileNotFoundError: pass
        else: raise AssertionError

        with tempfile.NamedTemporaryFile("w", delete=False) as file: file.write("atomic")
        os.replace(file.name, "losses.txt")
        assert Path("losses.txt").read_text() == "atomic"
        shutil.move("losses.txt", "older")
        assert Path("older/losses.txt").read_text() == "atomic" and not os.path.exists("losses.txt")
        shutil.copy2("full.bin", "copy.bin"); shutil.copy2("copy.bin", "copy2.bin")
        assert Path("copy2.bin").read_bytes() == Path("full.bin").read_bytes()
        with tempfile.TemporaryDirectory() as folder: Path(folder, "x").write_text("x")
        assert not os.path.exists(folder)
        with tempfile.NamedTemporaryFile("w", dir="older") as file:
            assert os.path.exists(file.name)
        assert sorted(os.listdir("older")) == ["deep", "losses.txt"]
        with tempfile.TemporaryFile(dir=".") as file: file.write(b"x")
        with tempfile.TemporaryDirectory(dir="older") as folder: Path(folder, "x").write_text("x")
        assert len(os.listdir("older")) == 2
    """)


def test_writing_through_a_link_changes_a_copy(run):
    run("""
        import os
        os.symlink("full.bin", "link.bin")
        os.symlink(os.path.abspath("old"), "linked")
        os.link("losses.txt", "hard.txt")
        assert os.path.islink("link.bin") and Path("link.bin").read_bytes() == bytes(range(16))
        Path("link.bin").write_bytes(b"through"); Path("hard.txt").write_text("through")
        Path("linked/deep/weights.pt").write_bytes(b"through")
        assert Path("full.bin").read_bytes() == b"through" and Path("losses.txt").read_text() == "through"
    """)


def test_functions_that_are_held_elsewhere_are_redirected_as_well(run):
    run(
        """
        with kept("losses.txt", "w") as file: file.write("early")
        assert Path("losses.txt").read_text() == "early"
        remove("data.csv")
        assert sorted(Held.listed()) == ["full.bin", "losses.txt", "old"]
        """,
        before="""
        import os
        from os import remove
        kept = open
        class Held: listed = staticmethod(os.listdir)
        """,
    )


def test_an_existing_link_is_not_written_through(run, home):
    (home / "latest").symlink_to("old")
    (home / "latest.bin").symlink_to(home / "full.bin")
    run("""
        Path("latest/deep/weights.pt").write_bytes(b"new")
        assert Path("latest/deep/weights.pt").read_bytes() == b"new"
        with open("latest.bin", "ab") as file: file.write(b"more")
        assert Path("latest.bin").read_bytes() == bytes(range(16)) + b"more"
        Path("latest.bin").write_bytes(b"new")
    """)


def test_arrays_and_tensors(run):
    run("""
        import bz2, os, sqlite3, tarfile, numpy as np, torch, h5py, safetensors.torch
        from torch.utils.tensorboard import SummaryWriter
        for path in ("old/deep/weights.pt", Path("new.pt")):
            torch.save({"x": torch.arange(3)}, path)
            assert torch.load(path)["x"].tolist() == [0, 1, 2] == torch.load(path, mmap=True)["x"].tolist()
        torch.save(torch.ones(1), "legacy.pt", _use_new_zipfile_serialization=False)
        assert torch.load(f="legacy.pt") == 1
        torch.jit.script(torch.nn.ReLU()).save("scripted.pt")
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), "scripted2.pt")
        assert torch.jit.load("scripted.pt")(torch.ones(1)) == torch.jit.load("scripted2.pt")(torch.ones(1))
        np.save("x.npy", np.ones(2)); np.savez("x.npz", x=np.ones(2)); np.savetxt("x.txt", np.ones(2))
        np.ones(2).tofile("full.bin"); np.memmap("full.bin", dtype="f8", mode="r+")[0] = 5
        assert np.load("x.npy").sum() == np.load("x.npz")["x"].sum() == np.loadtxt("x.txt").sum() == 2
        assert np.fromfile("full.bin").tolist() == [5, 1]
        safetensors.torch.save_file({"x": torch.ones(2)}, "x.safetensors")
        assert safetensors.torch.load_file("x.safetensors")["x"].sum() == 2
        for mode in ("w", "r+", "a"):
            with h5py.File("x.h5", mode) as file: file[mode] = np.ones(2)
        with h5py.File("x.h5") as file: assert sorted(file) == ["a", "r+", "w"]
        for path in ("x.db", "x.db", ":memory:"):
            with sqlite3.connect(path) as database: database.execute("create table if not exists x (y)")
        with bz2.open("x.bz2", "wb") as file: file.write(b"x")
        with tarfile.open("x.tar", "w") as file: file.add("x.bz2")
        assert tarfile.open("x.tar").getnames() == ["x.bz2"]
        with SummaryWriter("runs") as writer: writer.add_scalar("loss", 1.0, 0)
        assert os.listdir("runs")[0].startswith("events")
    """)


def test_worker_processes_of_a_data_loader_inherit_it(run):
    run("""
        import torch
        class Cached(torch.utils.data.Dataset):
            def __len__(self): return 4
            def __getitem__(self, i):
                Path(f"cache{i}").write_text(str(i))
                return float(Path("data.csv").exists())
        loader = torch.utils.data.DataLoader(Cached(), num_workers=2, multiprocessing_context="fork")
        assert sum(float(x) for x in loader) == 4
        assert [Path(f"cache{i}").read_text() for i in range(4)] == list("0123")
    """)


def test_no_bytecode_is_left_beside_modules_of_the_users(run, home):
    (home / "helper.py").write_text("x = 1\n")
    run("sys.path.insert(0, '.'); import helper")


def test_frameworks_save_and_load(run):
    run("""
        import os, warnings; warnings.simplefilter("ignore"); os.environ["KERAS_BACKEND"] = "torch"
        import numpy as np, torch
        from torch import nn
        x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
        data = torch.utils.data.TensorDataset(x, y)

        import pytorch_lightning as pl
        from pytorch_lightning.callbacks import ModelCheckpoint
        from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
        class Net(pl.LightningModule):
            def __init__(self): super().__init__(); self.layer = nn.Linear(4, 2)
            def training_step(self, batch, i):
                loss = nn.functional.cross_entropy(self.layer(batch[0]), batch[1]); self.log("loss", loss); return loss
            def configure_optimizers(self): return torch.optim.SGD(self.parameters(), 0.1)
        keep = ModelCheckpoint("checkpoints", monitor="loss", save_top_k=1, save_last="link")
        trainer = pl.Trainer(max_epochs=3, callbacks=[keep], logger=[CSVLogger("logs"), TensorBoardLogger("logs")],
                             log_every_n_steps=1, accelerator="cpu", enable_progress_bar=False,
                             enable_model_summary=False)
        trainer.fit(Net(), torch.utils.data.DataLoader(data, batch_size=16))
        assert Path(keep.best_model_path).exists() and Net.load_from_checkpoint(keep.best_model_path)
        assert torch.load("checkpoints/last.ckpt", weights_only=False)["epoch"] == 2
        assert list(Path("logs").rglob("metrics.csv"))

        from accelerate import Accelerator
        accelerator = Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(nn.Linear(4, 2), torch.optim.Adam(nn.Linear(4, 2).parameters()))
        accelerator.save_state("state"); accelerator.load_state("state")

        import keras
        net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]); net.compile("sgd", "mse")
        net.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0, callbacks=[keras.callbacks.CSVLogger("keras.csv"),
                keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)])
        net.save("net.keras"); net.save("net.h5"); net.load_weights("best.weights.h5")
        assert keras.models.load_model("net.keras")(np.ones((1, 4))).shape == (1, 2)

        from skorch import NeuralNetClassifier
        from skorch.callbacks import Checkpoint
        NeuralNetClassifier(lambda: nn.Sequential(nn.Linear(4, 2), nn.Softmax(-1)), max_epochs=1, verbose=0,
            callbacks=[Checkpoint(dirname="skorch", monitor=None)]).fit(x.numpy(), y.numpy())
        assert os.path.exists("skorch/params.pt")

        import transformers
        class Small(nn.Module):
            def __init__(self): super().__init__(); self.layer = nn.Linear(4, 2)
            def forward(self, x, labels):
                out = self.layer(x); return {"loss": nn.functional.cross_entropy(out, labels), "logits": out}
        options = transformers.TrainingArguments("trainer", max_steps=4, save_steps=1, save_total_limit=2, use_cpu=True,
            report_to=[], disable_tqdm=True)
        rows = [{"x": a, "labels": b} for a, b in data]
        trainer = transformers.Trainer(Small(), options, train_dataset=rows)
        trainer.train(); trainer.save_model("final")
        assert sorted(os.listdir("trainer")) == ["checkpoint-3", "checkpoint-4"]
        trainer.train(resume_from_checkpoint=True)
        assert os.path.exists("final/model.safetensors")
    """)
