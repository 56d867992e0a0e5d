"""unstick tells you why a PyTorch network is not learning, and proves on your own model and data what gets it unstuck.

Names are imported when they are first used, so that `import unstick` and `unstick --help` do not wait for torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .case import Case
    from .compare import Comparison, compare
    from .diagnose import Diagnosis, diagnose
    from .errors import (
        CaseError,
        NotApplicable,
        OutputError,
        QuestionError,
        RemedyError,
        ReportError,
        ScriptError,
        TargetError,
        TheoryError,
        UnstickError,
    )
    from .observation import Observation
    from .observe import observe
    from .questions.answer import Answer
    from .questions.check import check
    from .remedies import REMEDIES
    from .remedies import parse as parse_remedy
    from .remedies.base import Remedy
    from .rules import RULES
    from .rules.base import Finding, Rule, Severity
    from .script.spec import Script
    from .trace.types import Trace
    from .trials import TrialReport, try_remedies

# Where each public name lives: (module, its name there).
_HOMES = {
    # what is under study
    "Case": (".case", "Case"),
    "Script": (".script.spec", "Script"),
    # what the commands do
    "diagnose": (".diagnose", "diagnose"),
    "Diagnosis": (".diagnose", "Diagnosis"),
    "try_remedies": (".trials", "try_remedies"),
    "TrialReport": (".trials", "TrialReport"),
    "check": (".questions.check", "check"),
    "Answer": (".questions.answer", "Answer"),
    "compare": (".compare", "compare"),
    "Comparison": (".compare", "Comparison"),
    # what they are made of
    "observe": (".observe", "observe"),
    "Observation": (".observation", "Observation"),
    "Trace": (".trace.types", "Trace"),
    "Finding": (".rules.base", "Finding"),
    "Severity": (".rules.base", "Severity"),
    "Rule": (".rules.base", "Rule"),
    "RULES": (".rules", "RULES"),
    "Remedy": (".remedies.base", "Remedy"),
    "REMEDIES": (".remedies", "REMEDIES"),
    "parse_remedy": (".remedies", "parse"),
    # what goes wrong
    "UnstickError": (".errors", "UnstickError"),
    "CaseError": (".errors", "CaseError"),
    "ScriptError": (".errors", "ScriptError"),
    "TargetError": (".errors", "TargetError"),
    "RemedyError": (".errors", "RemedyError"),
    "NotApplicable": (".errors", "NotApplicable"),
    "TheoryError": (".errors", "TheoryError"),
    "QuestionError": (".errors", "QuestionError"),
    "ReportError": (".errors", "ReportError"),
    "OutputError": (".errors", "OutputError"),
}

__all__ = [  # noqa: RUF022 - grouped as above
    "Case",
    "Script",
    "diagnose",
    "Diagnosis",
    "try_remedies",
    "TrialReport",
    "check",
    "Answer",
    "compare",
    "Comparison",
    "observe",
    "Observation",
    "Trace",
    "Finding",
    "Severity",
    "Rule",
    "RULES",
    "Remedy",
    "REMEDIES",
    "parse_remedy",
    "UnstickError",
    "CaseError",
    "ScriptError",
    "TargetError",
    "RemedyError",
    "NotApplicable",
    "TheoryError",
    "QuestionError",
    "ReportError",
    "OutputError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module, __name__), attribute)
    globals()[name] = value  # so that this runs once for each name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps a module from hiding the function of the same name: importing `unstick.diagnose` would set it here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
