"""The one exception family whose message is meant for the person at the keyboard."""


class UserError(Exception):
    """Something the user can mend: a bad value, a missing file, a damaged input.

    The message is one line that names the file or field, the value and the remedy. Command-line entries print it
    without a traceback and exit non-zero.
    """
