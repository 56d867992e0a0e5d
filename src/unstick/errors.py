"""Misuse, said in one sentence: what is wrong, where, and how to mend it. The command line exits with 2 on these."""


class UnstickError(Exception):
    """Something about the call is wrong; the message is one sentence for the user."""


class CaseError(UnstickError):
    """The case (model, data, loss, optimizer) cannot be used as it stands."""


class TargetError(UnstickError):
    """A target such as `file.py:name` does not lead to a case."""


class RemedyError(UnstickError):
    """A remedy is misspelt or its arguments are wrong."""


class NotApplicable(UnstickError):
    """A remedy that cannot be applied to this case; the message says why. A trial turns it into a verdict."""


class QuestionError(UnstickError):
    """A question file is malformed; the message names the file, the line and the field."""


class TheoryError(UnstickError, ValueError):
    """Theory was asked about something that it does not know, or with numbers that make no sense."""


class ReportError(UnstickError):
    """A file is not a report, or not one that can be compared with the other."""


class OutputError(UnstickError):
    """A report cannot be written where it was asked for."""


class ScriptError(UnstickError):
    """A training script cannot be observed: it does not exist, fails by itself, or makes no optimizer step.

    printed: what it printed, where nobody has seen that yet.
    """

    def __init__(self, message: str, printed: str = "") -> None:
        super().__init__(message)
        self.printed = printed


class Broken(Exception):
    """A fault of this package's own, in a script's process: in one line. traceback: as Python prints it."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback
