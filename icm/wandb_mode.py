"""Whether Weights & Biases sends what it records."""

import logging
import os

log = logging.getLogger(__name__)


def default_mode() -> str:
    """``WANDB_MODE`` if set, else ``online`` for a user who is logged in, else ``offline``."""
    return os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb
    from wandb.sdk.lib.wbauth import wbnetrc

    try:
        return wbnetrc.read_netrc_auth(host=wandb.Settings().base_url) is not None
    except Exception as error:  # a netrc file that cannot be read or parsed
        log.warning("netrc cannot be read (%s): Weights & Biases stays offline", error.__class__.__name__)
        return False
