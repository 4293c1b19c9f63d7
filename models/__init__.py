"""Networks of the learned codec, their objective and their checkpoint files."""
