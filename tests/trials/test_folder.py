from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from trials.handmade import observation
from unstick.errors import OutputError
from unstick.observation import Observation
from unstick.trials.engines import Lost
from unstick.trials.folder import RunFolder
from unstick.trials.jobs import Failure, OutOfTime

ASKED = {"target": "blobs", "remedies": ["relu"], "seeds": None, "seed": 0, "case": "0123"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "run"


def filled(folder) -> list[bytes]:
    """The lines of a folder that holds three results."""
    kept = RunFolder(folder, ASKED)
    kept.add(None, (0,), [observation()])
    kept.add("relu", (0,), [Failure("it does not fit")])
    kept.add("relu", (1,), [Lost("it died")])
    kept.close()
    return (folder / "results.jsonl").read_bytes().splitlines(keepends=True)


def results(folder):
    kept = RunFolder(folder, ASKED)
    kept.close()
    return kept.results


def test_results_come_back(folder):
    filled(folder)
    assert results(folder) == {
        (None, (0,)): (observation(),),
        ("relu", (0,)): (Failure("it does not fit"),),
        ("relu", (1,)): (Lost("it died"),),
    }


def test_other_tools_read_the_lines(folder):
    finished, failed, lost = map(json.loads, filled(folder))
    assert [line["outcome"] for line in (finished, failed, lost)] == ["finished", "failed", "lost"]
    assert finished["remedy"] is None
    assert finished["run"]["learning"]["final_loss"] == observation().learning.final_loss
    words = {"outcome": "failed", "reason": "it does not fit"}
    assert failed == {"remedy": "relu", "seed": 0, "job": [0], "of": 1, **words}


def test_what_there_was_no_time_for_is_left_to_be_done(folder):
    kept = RunFolder(folder, ASKED)
    kept.add("relu", (0,), [OutOfTime()])
    kept.close()
    assert results(folder) == {}


def together(*seeds: int) -> list[Observation]:
    return [observation(seed) for seed in seeds]


def test_seeds_that_were_trained_together_come_back_together(folder):
    kept = RunFolder(folder, ASKED)
    kept.add("relu", (0, 1, 2), together(0, 1, 2))
    kept.add("tanh", (0, 1, 2), together(0))  # the others are not to be trained with it
    kept.add("elu", (0, 1, 2), [*together(0), OutOfTime(), *together(2)])
    kept.close()
    assert results(folder) == {
        ("relu", (0, 1, 2)): tuple(together(0, 1, 2)),
        ("tanh", (0, 1, 2)): tuple(together(0)),
        ("elu", (0, 1, 2)): tuple(together(0)),
    }


@pytest.mark.parametrize("lines", [1, 2])
def test_a_job_of_which_lines_are_missing_is_made_again_as_a_whole(folder, lines):
    kept = RunFolder(folder, ASKED)
    kept.add("relu", (0, 1, 2), together(0, 1, 2))
    kept.close()
    file = folder / "results.jsonl"
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole[:lines]))
    again = RunFolder(folder, ASKED)
    assert again.results == {}
    again.add("relu", (0, 1, 2), together(0, 1, 2))
    again.close()
    assert results(folder) == {("relu", (0, 1, 2)): tuple(together(0, 1, 2))}


def test_what_the_findings_named_comes_back(folder):
    kept = RunFolder(folder, ASKED)
    assert kept.suggested is None
    kept.suggest(["relu", "tanh"])
    kept.close()
    again = RunFolder(folder, ASKED)
    again.close()
    assert again.suggested == ("relu", "tanh")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_half_a_line_at_the_end_is_written_anew(folder, share):
    *whole, last = filled(folder)
    torn = last[: int(share * len(last))]
    (folder / "results.jsonl").write_bytes(b"".join(whole) + torn)
    kept = RunFolder(folder, ASKED)
    assert set(kept.results) == {(None, (0,)), ("relu", (0,))}
    kept.add("relu", (1,), [Lost("it died")])
    kept.close()
    assert (folder / "results.jsonl").read_bytes() == b"".join([*whole, last])


@pytest.mark.parametrize(
    "line", [b"{}\n", b"no JSON\n", b'{"remedy": null, "seed": 1, "job": [1], "of": 1, "outcome": "great"}\n', b"[]\n"]
)
def test_a_line_that_makes_no_sense_is_named(folder, line):
    first, *rest = filled(folder)
    (folder / "results.jsonl").write_bytes(b"".join([first, line, *rest]))
    with pytest.raises(OutputError, match=r"results\.jsonl:2 "):
        RunFolder(folder, ASKED)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seeds", 5, "seeds null there, 5 here"),
        ("remedies", ["relu", "tanh"], 'remedies \\["relu"\\] there'),
        ("case", "4567", "the code, the weights or the data"),
    ],
)
def test_another_request_is_refused(folder, name, value, words):
    filled(folder)
    with pytest.raises(OutputError, match=words):
        RunFolder(folder, {**ASKED, name: value})
    assert len(results(folder)) == 3


def test_results_of_another_version_are_refused(folder):
    filled(folder)
    asked = json.loads((folder / "run.json").read_text())
    asked["versions"]["torch"] = "1.0"
    (folder / "run.json").write_text(json.dumps(asked))
    with pytest.raises(OutputError, match=r'"torch": "1\.0"'):
        RunFolder(folder, ASKED)


@pytest.mark.parametrize("text", ["", "[1]", '{"name": "mine"}'])
def test_somebody_elses_file_is_left_alone(folder, text):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    with pytest.raises(OutputError, match="name another folder"):
        RunFolder(folder, ASKED)
    assert (folder / "run.json").read_text() == text


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no results can be kept there"):
        RunFolder(tmp_path / "file" / "run", ASKED)


def test_a_disk_that_is_full_is_said_and_loses_nothing_of_before(folder):
    first, *_ = filled(folder)
    (folder / "results.jsonl").write_bytes(first)
    kept = RunFolder(folder, ASKED)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 10, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            kept.add("relu", (1,), [Lost("it died")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept.close()
    assert results(folder) == {(None, (0,)): (observation(),)}


HOLDER = """
import sys
from unstick.trials.folder import RunFolder
kept = RunFolder(sys.argv[1], {asked!r})
print("held", flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time_however_it_ends(folder):
    command = [sys.executable, "-c", HOLDER.format(asked=ASKED), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=f"in use by process {holder.pid}"):
            RunFolder(folder, ASKED)
        holder.kill()
    assert results(folder) == {}
