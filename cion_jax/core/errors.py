"""The one exception that reaches users as a plain sentence."""


class UserError(Exception):
    """A mistake that the user can mend: the message names the thing and the way out.

    `cion_jax.main` prints it without a traceback and exits with code 2.
    """
