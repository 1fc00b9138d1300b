"""Distil a large text model into a small one that runs anywhere, and say honestly what that cost."""

from distill.errors import UserError
from distill.runtime import Bundle, load

__all__ = ["Bundle", "UserError", "load"]
__version__ = "0.1.0"
