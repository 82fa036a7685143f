"""Removes old runs, but never one that something in use rests on."""

from insurance_rag.retention.prune import prune

__all__ = ["prune"]
