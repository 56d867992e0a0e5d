"""Statements about what helps a network, and why; judged by measurement."""

from .answer import Answer, StatementJudged
from .check import check
from .load import Question, Statement, load

__all__ = ["Answer", "Question", "Statement", "StatementJudged", "check", "load"]
