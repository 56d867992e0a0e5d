from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unstick.errors import RemedyError
from unstick.remedies import REMEDIES, Compose, parse
from unstick.remedies.activations import LeakyRelu, Relu
from unstick.remedies.initialisations import Init
from unstick.remedies.normalisation import BatchNorm
from unstick.remedies.optimizer import Adam, Clip, LearningRate, Sgd
from unstick.remedies.values import Times

POSITIVE = st.floats(min_value=1e-300, max_value=1e300)
WORDS = [name for remedy in REMEDIES for name in remedy.names if not {name} & {"init", "lr", "clip", "output"}]
WITH_A_NUMBER = ["lr({})", "lr(x{})", "clip({})", "adam(lr={})", "adam(eps={})", "sgd(lr={})", "init(normal, std={})",
                 "init(uniform, a={})", "init(scale, {})"]  # fmt: skip
ONE = (
    st.sampled_from([*WORDS, "init(he)", "init(glorot)", "batchnorm(after)"])
    | st.builds(lambda form, x: form.format(x), st.sampled_from(WITH_A_NUMBER), POSITIVE)
    | st.builds("sgd(lr={}, momentum={})".format, POSITIVE, st.floats(0, 0.999))
)


@settings(max_examples=200)
@given(st.lists(ONE, min_size=1, max_size=4).map("+".join))
def test_the_canonical_string_parses_to_the_same_remedy(text: str) -> None:
    remedy = parse(text)
    assert parse(str(remedy)) == remedy
    assert str(parse(str(remedy))) == str(remedy)
    assert hash(remedy) == hash(pickle.loads(pickle.dumps(remedy)))


@settings(max_examples=200)
@given(st.text(alphabet="relu+inthe(),=x10.-e ", max_size=20))
def test_any_text_is_a_remedy_or_one_sentence(text: str) -> None:
    try:
        remedy = parse(text)
    except RemedyError as error:
        message = str(error)
    else:
        assert parse(str(remedy)) == remedy
        return
    assert "\n" not in message
    assert len(message) > 20


@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_example_and_name_is_understood(remedy: type) -> None:
    assert remedy.names
    assert remedy.title
    assert remedy.reading
    for example in remedy.examples:
        assert type(parse(example)) is remedy
        assert str(parse(example)).startswith(remedy.names[0])


def test_no_two_remedies_share_a_name() -> None:
    names = [name for remedy in REMEDIES for name in remedy.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (" ReLU ", Relu()),
        ("leaky_relu", LeakyRelu()),
        ("BatchNorm ( After )", BatchNorm("after")),
        ("batchnorm()", BatchNorm()),
        ("relu + init( HE )", Compose((Relu(), Init("he")))),
        ("init(scheme=he)", Init("he")),
        ("init(normal,std=1e+1)+clip(1e+3)", Compose((Init("normal", 10.0), Clip(1000.0)))),
        ("lr(x10)", LearningRate(Times(10.0))),
        ("lr(1E-3)", LearningRate(1e-3)),
        ("adam(eps=1e-16)", Adam(eps=1e-16)),
        ("sgd(momentum=0.9)", Sgd(0.1, 0.9)),
    ],
)
def test_reads(text: str, remedy: object) -> None:
    assert parse(text) == remedy


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("init(normal, 10)", "init(normal, std=10)"),
        ("LR(x0.10)", "lr(x0.1)"),
        ("clip(1.0)", "clip(1)"),
        ("sgd", "sgd(lr=0.1)"),
        ("adam( )", "adam"),
        ("swish+bn", "silu+batchnorm"),
        ("batchnorm(before)", "batchnorm"),
    ],
)
def test_writes(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reul", "no remedy 'reul'; did you mean 'relu'\\? `unstick remedies` lists them all"),
        ("btachnorm(after)", "did you mean 'batchnorm'"),
        ("qqqqq", "no remedy 'qqqqq'. `unstick remedies` lists them all"),
        ("", "is empty"),
        ("relu+", "nothing stands on one side of a \\+"),
        ("relu(", "is no remedy"),
        ("init((he))", "is no remedy"),
        ("relu(1)", "it takes no arguments, write relu"),
        ("init", "init needs a scheme, one of he, xavier"),
        ("init()", "init needs a scheme"),
        ("init(foo)", "no scheme 'foo': it has he, xavier"),
        ("init(normal)", "needs std, for example init\\(normal, std=2\\)"),
        ("init(normal, a=1)", "takes only std, not a"),
        ("init(he, std=1)", "takes no number, not std"),
        ("init(he, 1)", "takes no number"),
        ("init(normal, 1, 2)", "at most one number"),
        ("init(normal, std=0)", "std of init\\(normal\\) must be a number above 0, not 0"),
        ("init(normal, std=nan)", "must be a number above 0, not nan"),
        ("init(normal, std=wide)", "must be a number above 0, not wide"),
        ("init(3)", "no scheme '3.0'"),
        ("clip", "missing a required argument: 'norm'; it takes norm, for example clip\\(1.0\\)"),
        ("clip(-1)", "must be a number above 0, not -1"),
        ("clip(x2)", "must be a number above 0, not x2"),
        ("lr(0)", "must be a number above 0, not 0"),
        ("lr(inf)", "must be a number above 0, not inf"),
        ("lr(1e999)", "must be a number above 0, not inf"),
        ("lr(x0)", "the factor of lr must be a number above 0, not 0"),
        ("lr(x-1)", "must be a number above 0, not -1"),
        ("lr(1e)", "neither a number nor a word"),
        ("lr(,)", "empty argument is neither"),
        ("sgd(momentum=1)", "of at least 0 and below 1, not 1"),
        ("adam(beta=1)", "unexpected keyword argument 'beta'; it takes lr, eps"),
        ("adam(lr=1, 2)", "after a named argument"),
        ("adam(lr=1, lr=2)", "or is there twice"),
        ("batchnorm(middle)", "before or after the activation, not 'middle'"),
        ("batchnorm(2)", "before or after the activation, not 2.0"),
    ],
)
def test_one_sentence_says_what_is_wrong_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(RemedyError, match=says) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
