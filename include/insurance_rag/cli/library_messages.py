"""Hide the messages of libraries on which a user can do nothing."""

from __future__ import annotations

import logging
import warnings


def hide_library_messages() -> None:
    """Hide messages about the inside of libraries. Call this function after the logging is configured."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request at level INFO
    logging.getLogger("bm25s").addFilter(_is_warning)  # it sets its own level, and logs each step of an index
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_not_about_missing_kernel)
    # TRL and PEFT read this property.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _is_not_about_missing_kernel(record: logging.LogRecord) -> bool:
    """Return false for the advice to install a kernel that this project does not use: the fallback is used."""
    return "gemm_4bit_forward" not in str(record.msg)
