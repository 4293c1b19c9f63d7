"""What the person at the keyboard is told, and what the person has told: to stop."""


class UserError(Exception):
    """Something the user can mend: a bad value, a missing file, a damaged input.

    The message is one line that names the file or field, the value and the remedy. Command-line entries print it
    without a traceback and exit non-zero.
    """


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C (`KeyboardInterrupt`) is what an exception comes from.

    It can strike between any two instructions. Where it leaves an object of a library half changed, the clean-up of
    that library may raise an exception of its own in its place.
    """
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
