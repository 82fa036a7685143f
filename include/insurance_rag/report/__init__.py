"""Render the report on a run: one self-contained HTML page, built from the files in the run folder."""

from insurance_rag.report.render import render_report

__all__ = ["render_report"]
