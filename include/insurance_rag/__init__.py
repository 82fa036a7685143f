"""Clauses in, a measured QLoRA adapter out: the domain of the pipeline, one package a stage."""

__version__ = "0.1.0"
