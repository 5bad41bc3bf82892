"""The one exception for mistakes a user can make and mend."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: one line that names the file or key and says what to do about it.

    The command line prints the message without a traceback and exits with status 2. Library
    callers can catch it like any exception; it is never raised for a defect of the product itself.
    """
