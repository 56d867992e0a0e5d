"""Text made from hand-made documents: what a person must find in it, and that names stay literal."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console

from report import documents
from report.documents import HOSTILE, answer, diagnosis, statement, trial, trials
from unstick.report.style import number
from unstick.report.terminal import plain, render
from unstick.report.terminal.trials import WIDER


def squeezed(text: str) -> str:
    """Without line breaks, so that a test does not depend on where lines are wrapped."""
    return " ".join(text.split())


def test_finding_says_what_where_since_when_why_and_what_to_try() -> None:
    text = plain(diagnosis())
    assert "✗ error vanishing-gradient  in net.0 (model.py:12), since step 0" in text
    assert "The gradient loses 15.7 decades on its way back." in text
    assert "because of  activation" in text
    assert "measured    decades 15.7, stuck 3, uses input no" in text
    assert "try         relu+init(he), batchnorm" in text
    assert "read        Glorot and Bengio 2010" in text


def test_headline_compares_with_the_best_constant_answer() -> None:
    text = squeezed(plain(diagnosis()))
    assert "model.py:case does not learn: in 100 steps the loss went from 2.69 to 2.31" in text
    assert (
        "the best answer that ignores the input would have a loss of 2.30. Shuffling the targets makes no difference"
        in text
    )


def test_strip_rises_with_the_gradient_and_attribution_has_signs() -> None:
    text = plain(diagnosis())
    assert "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██" in text
    assert "loses 15.7 decades" in text
    assert "activation   16.7 lost  █" in text
    assert "weights     1.0 gained  █" in text
    assert "normalisation" not in text


def test_small_differences_look_small() -> None:
    path = [{**place, "decades": -2.0 + 0.01 * i} for i, place in enumerate(diagnosis()["path"])]
    parts = {"activation": 0.2, "weights": 0.0, "normalisation": 0.0, "other": 0.0}
    text = plain(diagnosis(path=path, attenuation_decades=0.2, attribution=parts))
    assert "▁" * 16 in text
    assert "0.2 lost  ██\n" in text


def test_only_the_sign_has_the_colour_of_the_sign() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(render(diagnosis()))
    assert "\x1b[1;31m✗\x1b[0m \x1b[1mmodel.py:case\x1b[0m does not learn" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_could_not_be_seen_is_shown() -> None:
    assert "net.7: a custom autograd function" in plain(diagnosis())


def test_healthy_network_gets_a_calm_sentence() -> None:
    learning = {**diagnosis()["learning"], "learns": True, "uses_input": True, "constant_loss": None}
    healthy = diagnosis(healthy=True, findings=[], learning=learning, path=[], attenuation_decades=None, uncovered=[])
    text = plain(healthy)
    assert "✓ model.py:case learns" in text
    assert "Nothing wrong was found." in text
    assert "Gradient norm" not in text


def test_whether_it_learns_may_not_be_told() -> None:
    unknown = {**diagnosis()["learning"], "learns": None, "uses_input": None, "constant_loss": None}
    text = squeezed(plain(diagnosis(healthy=True, findings=[], learning=unknown)))
    assert "? model.py:case: whether it learns cannot be told from its losses: in" in text
    assert "Nothing wrong was found. What shows only in a network that fails was not looked for." in text


def test_gradient_that_is_zero_everywhere_is_not_drawn() -> None:
    path = [{**place, "decades": None} for place in diagnosis()["path"]]
    attribution = dict.fromkeys(("activation", "weights", "normalisation", "other"))
    assert "Gradient norm" not in plain(diagnosis(path=path, attenuation_decades=None, attribution=attribution))


def test_table_of_trials() -> None:
    refused = {"before": None, "after": None}
    absent = trial("batchnorm", "not-applicable", seeds=0, learned=0, gradient=refused, loss=refused)
    text = plain(trials(trial("relu", "fixes"), trial("init(normal, std=10)", "harms", learned=0), absent))
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    assert rows["(unchanged)"].split() == ["(unchanged)", "2.30", "0", "of", "3", "seeds", "15.7"]
    assert rows["relu"].split() == ["relu", "✓", "fixes", "it", "0.300", "3", "of", "3", "seeds", "0.2"]
    assert rows["batchnorm"].split() == ["batchnorm", "○", "not", "applicable"]
    assert "✗ init(normal, std=10): What init(normal, std=10) did." in text
    assert "Recommended: relu" in text


def test_a_metric_is_shown_where_the_case_has_one() -> None:
    document = trials(trial("relu", "fixes", metric={"before": 0.1, "after": 0.97}), trial("tanh", "not-applicable"))
    document["baseline"]["metric"] = 0.1
    text = plain(document, WIDER)
    rows = {line.split("  ")[0].strip(): line.split() for line in text.splitlines()}
    assert rows["(unchanged)"][-1] == "0.100"
    assert rows["relu"][-1] == "0.970"
    assert "metric: the case's own" in text
    assert "metric" not in plain(trials(trial("relu", "fixes")), WIDER)
    assert "metric" not in plain(document, WIDER - 1)
    assert "The case's own metric is 0.930 after training." in plain(diagnosis(metric=0.93))


def test_trials_without_a_winner_and_interrupted_ones_say_so() -> None:
    nothing = {**trials()["baseline"], "loss": None, "seeds": 0, "attenuation_decades": None}
    tried = trial("relu", "no-effect")
    text = plain(trials(tried, recommended=None, interrupted=True, notes=["Each run was cut short."], baseline=nothing))
    assert "Interrupted; this is what was known by then. None of these changes can be recommended." in squeezed(text)
    assert "Each run was cut short." in text
    assert "not finite" not in text


def test_nothing_settled_is_not_called_useless() -> None:
    open_ = trial("relu", "inconclusive")
    assert "These runs do not settle it" in squeezed(plain(trials(open_, recommended=None)))
    assert "Interrupted before anything was settled." in plain(trials(open_, recommended=None, interrupted=True))


def test_narrow_terminals_get_the_columns_that_matter() -> None:
    text = plain(trials(trial("relu", "fixes")), width=44)
    assert "relu          ✓ fixes it   0.300" in text
    assert "decades lost" not in text


def test_nothing_to_try() -> None:
    baseline = trials()["baseline"]
    well = squeezed(plain(trials(recommended=None, baseline={**baseline, "learns": True})))
    assert "Nothing to try: the network learns, and no finding suggests a change." in well
    sick = squeezed(plain(trials(recommended=None)))
    assert "Nothing to try: the network does not learn, but no finding suggests a change." in sick


def test_statement_has_two_verdicts_and_the_answer_comes_last() -> None:
    text = plain(answer(statement(1, holds=False, reason_holds=False), statement(2), statement(3, reason=None)))
    assert "✗ 1. Statement number 1." in text
    assert "✓ the change helps: yes   ✗ the reason is true: no" in text
    assert "✓ 2. Statement number 2." in text
    assert "✓ It vanishes." in text
    assert text.splitlines()[-1] == "answer: 2, 3"


def test_a_statement_that_is_not_settled_is_neither_true_nor_false() -> None:
    text = plain(answer(statement(1, holds=False, helps=False, verdict="inconclusive"), statement(2)))
    assert "? 1. Statement number 1." in text
    assert "? the change helps: not known" in text
    assert "Not settled by these runs: 1\n" in text


def test_sick_network_without_findings_is_not_called_well() -> None:
    text = squeezed(plain(diagnosis(findings=[])))
    assert "None of the rules says why." in text
    assert "Nothing wrong was found." not in text


def test_answer_may_be_none_and_is_compared_with_the_readers() -> None:
    nothing = answer(statement(1, holds=False, textbook=True), asked=[1])
    lines = plain(nothing).splitlines()
    assert lines[-3:] == ["A textbook would say: 1", "✗ You said 1; measurement says none.", "answer: none"]
    assert "✓ You said 2; measurement agrees." in plain(answer(statement(2), asked=[2]))


def test_demo_has_three_chapters_and_ends_with_the_answer() -> None:
    lines = plain(documents.demo()).splitlines()
    chapters = [above for above, line in pairwise(lines) if line and set(line) == {"═"}]
    assert chapters == ["What is wrong?", "What helps?", "Which statements hold?"]
    assert lines[-1] == "answer: 2"


def test_theory_says_how_far_a_signal_reaches_then_the_numbers() -> None:
    text = squeezed(plain(documents.theory()))
    assert text.startswith(
        "✗ sigmoid, default weights: signals survive about 1.53 layers, then the gradient has vanished."
    )
    assert "This network has 4." in text
    assert "2.5 decades (factors of ten) lost over 4 layers" in text
    assert "× 0.141 on average, 0.141 in the last" in text
    assert "variance 0.253, correlation 0.256, gradient infinite (layers)" in text
    assert "edge of chaos none with biases of 0.0052" in text
    assert "critical σ_w² 103, σ_b² 0: weights of standard deviation 1.27 at width 64" in text
    assert "▁▃▅▇" in plain(documents.theory())
    assert "A note about it." in text


def test_theory_of_networks_that_lose_nothing_or_have_one_layer() -> None:
    one = {"depth": 1, "width": None, "norm": "batchnorm", "side": "after", "batch": None}
    text = squeezed(
        plain(
            documents.theory(
                network=one,
                reach={"layers": None, "reason": None},
                gradient={"gain": None, "decades": 0.0, "layers": []},
                rest=None,
                critical=None,
            )
        )
    )
    assert "✓ sigmoid, default weights, batchnorm after it: signals survive any number of layers." in text
    assert "decades" not in text
    assert "critical no weights are" in text


@pytest.mark.parametrize("width", [60, 100])
def test_comparison_is_one_table_with_words_beside_the_signs(width: int) -> None:
    text = plain(documents.comparison(), width=width)
    rows = {line.split("  ")[0].strip(): line.split() for line in text.splitlines()}
    assert max(map(len, text.splitlines())) <= width
    assert rows["learns"][1:] == ["no", "yes", "✓", "better"]
    assert rows["errors"][1:] == ["1", "2", "✗", "worse"]
    assert rows["loss before"][-2:] == ["2.69", "2.31"]
    assert rows["vanishing-gradient"][-2:] == ["✓", "gone"]
    assert rows["dead-units"][-2:] == ["✗", "new"]
    assert "net.0" in text
    assert rows["unscaled-inputs"][1:] == ["info", "info", "–", "still"]
    assert "The same in both: steps 300." in text
    assert text.splitlines()[-1] == "Better in after.json: learns."


def test_comparison_on_a_very_narrow_terminal_is_a_list() -> None:
    lines = plain(documents.comparison(), width=24, ascii_only=True).splitlines()
    assert lines[lines.index("learns") :][:3] == ["learns", "  no -> yes", "  + better"]
    assert lines[lines.index("  2.69 -> 2.31") + 1] == "vanishing-gradient"  # no line where nothing is to be said


def test_comparison_of_read_documents_does_not_steer_the_terminal() -> None:
    hostile = documents.row("lea\x1b[31mrns", "no\nyes", "\u202eyes", better=True, became="go\x07ne")
    text = plain(documents.comparison(changed=[hostile], names=["a\x1b[2J", "b"], sentence="\x1b[1mWell."))
    assert all(line.isprintable() for line in text.splitlines())
    assert "no yes" in text


@pytest.mark.parametrize("make", documents.EVERY)
def test_names_from_the_users_code_are_literal(make: Any) -> None:
    text = plain(documents.poisoned(make()), width=4000)
    assert HOSTILE in text


@pytest.mark.parametrize("make", documents.EVERY)
@pytest.mark.parametrize("width", [20, 80])
def test_ascii_terminals_get_ascii_that_fits(make: Any, width: int) -> None:
    text = plain(make(), width=width, ascii_only=True)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= width


def test_encoding_of_the_console_decides() -> None:
    buffer = io.BytesIO()
    console = Console(file=io.TextIOWrapper(buffer, encoding="ascii", errors="strict"), width=80)
    console.print(render(documents.demo()))
    console.file.flush()
    assert b"answer: 2" in buffer.getvalue()


def test_unknown_schema_is_refused() -> None:
    with pytest.raises(KeyError, match="unstick/other/9"):
        render({"schema": "unstick/other/9"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.3, "2.30"), (0.02134, "0.0213"), (48.04, "48.0"), (1234.5, "1234"), (4.1e11, "4.1e+11"), (0.0, "0"),
     (-1.98, "-1.98"), (1e-14, "1.0e-14"), (None, "not finite"), (float("nan"), "not finite")],
)  # fmt: skip
def test_number(value: float | None, shown: str) -> None:
    assert number(value) == shown
