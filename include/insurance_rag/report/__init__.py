"""The report of a run: one self-contained HTML page, rendered from the files of the run folder."""

from insurance_rag.report.render import render_report

__all__ = ["render_report"]
