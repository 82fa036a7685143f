"""Answering with a model in this process. Imports torch: import it inside functions only."""

from __future__ import annotations
