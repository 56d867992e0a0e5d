"""Paired trials of remedies: what each does to this network on this data, with its uncertainty."""

from .report import Trial, TrialReport
from .run import try_remedies

__all__ = ["Trial", "TrialReport", "try_remedies"]
