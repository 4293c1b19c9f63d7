"""The attacks that neither restore nor learn: compare the coded face with originals, or with coded pictures."""

from icm.attacks.base import Attack, AttackError

_ATTACKS = {"original": ("none", "no attack"), "coded": ("coded_gallery", "coded gallery")}


class Direct(Attack):
    """``none`` and ``coded_gallery``.

    Args:
        gallery: ``original``: the recogniser as it is, on the coded face. ``coded``: the attacker codes the pictures
            on file as the probe was coded, so that both sides lack the same things (the gallery of parrot recognition:
            Newton, Sweeney, Malin, "Preserving Privacy by De-identifying Face Images", 2005).
    """

    version = "1"

    def __init__(self, gallery: str):
        if gallery not in _ATTACKS:
            raise AttackError(f"attack gallery={gallery}: choose original or coded")
        self.name, self.title = _ATTACKS[gallery]
        self.gallery = gallery

    @property
    def parameters(self) -> dict:
        return {"gallery": self.gallery}
