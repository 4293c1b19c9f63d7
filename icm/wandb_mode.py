"""What every program here has in common in Weights & Biases: when it sends, where it keeps, how weights are named."""

import logging
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def sync_command(directory: Path) -> str | None:
    """What uploads the offline runs of a run or sweep folder; None where there is none."""
    found = [pattern for pattern in ("wandb", "*/wandb") if any(directory.glob(f"{pattern}/offline-run-*"))]
    folder = shlex.quote(str(directory))
    return f"wandb sync {' '.join(f'{folder}/{pattern}/offline-run-*' for pattern in found)}" if found else None


def print_where(directory: Path) -> None:
    """Say where the offline runs of a folder are and what uploads them; nothing when there are none."""
    if command := sync_command(directory):
        print(f"W&B: recorded offline in {directory}; upload with: {command}")


def commit_settings(commit: str | None) -> dict[str, Any]:
    """The part of `wandb.Settings` that names the commit of the results, not that of whatever records them."""
    named = commit.removesuffix("-dirty") if commit else None
    return {"disable_git": named is None, "git_commit": named, "git_remote_url": "" if named else None}


def checkpoint_alias(sha256: str) -> str:
    """What finds the artifact of a checkpoint by the digest of its file: ``sha256-0123456789abcdef``."""
    return f"sha256-{sha256[:16]}"


def checkpoint_artifact(path: Path, sha256: str, card: Mapping[str, Any]) -> Any:
    """A `wandb.Artifact` ``checkpoint`` of type ``model`` that holds the file alone, always under the same name.

    So the same weights are the same version, whether the training records them or the measurement that uses them.

    Args:
        path: The file, which must stay where it is until it is uploaded.
        sha256: Its digest.
        card: What is known of the weights, kept as metadata.
    """
    import wandb

    artifact = wandb.Artifact(
        "checkpoint", "model", description=str(card.get("label", "")), metadata={**card, "sha256": sha256}
    )
    artifact.add_file(str(path), name="model.ckpt", policy="immutable", skip_cache=True)
    return artifact
