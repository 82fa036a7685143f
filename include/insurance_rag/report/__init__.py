"""The run's report: one self-contained HTML page made from the files of the run folder."""

from insurance_rag.report.render import render_report

__all__ = ["render_report"]
