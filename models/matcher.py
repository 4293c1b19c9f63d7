"""A face recogniser that is trained along with a codec, and whose success the codec is trained against.

The game of privacy-aware bottlenecks, in the way of domain-adversarial training (Ganin and Lempitsky 2015): the
recogniser learns to find the original of every coded face among the originals of the batch (InfoNCE: van den Oord, Li,
Vinyals 2018), and its gradient reaches the codec turned round.
"""

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Faces of fewer pixels show nothing; crops have the side that the recogniser looks at.
_LEAST_FACE, _SIDE = 16, 48
# How far the crop of an original is moved and resized against that of the coded face, as a share of the face.
_JITTER = 0.1
_TEMPERATURE = 0.1


class FaceMatcher(nn.Module):
    """Embeds faces; trained to tell whose coded face it sees, while the codec learns to leave it no better than chance.

    It looks at grey, standardised crops, those of originals moved, resized and mirrored at random: neither colour nor
    the place of a pixel tells it anything.

    Args:
        width: Channels of its first layer.
        size: Numbers of an embedding.
    """

    def __init__(self, width: int = 32, size: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * (_SIDE // 16) ** 2, size))

    def forward(self, x: Tensor, x_hat: Tensor, boxes: Tensor, weight: float) -> dict[str, Tensor]:
        """The recogniser's loss, with gradient for itself and, turned round, for ``x_hat``.

        Args:
            x: (B, 3, H, W) originals, RGB in [0, 1].
            x_hat: Coded, the same shape.
            boxes: (K, 5): the place in the batch, and left, top, right and bottom of a face, pixels (`face_boxes`).
            weight: Of the gradient that reaches ``x_hat``, which is its own times minus this; none does once the
                recogniser does no better than chance.

        Returns:
            ``loss``: mean over faces of the cross-entropy of finding the original among the K; ``rank1``: the share
            found. Of less than two faces the loss is 0, the other not there.
        """
        if len(boxes) < 2:
            # Zero with a gradient: processes that train together must all have one.
            return {"loss": torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0}
        here = torch.arange(len(boxes), device=x.device)
        coded = x_hat.float().clone()
        queries = self._embed(_crops(coded, boxes))
        originals = self._embed(_mirrored(_crops(x.float(), _moved(boxes))))
        logits = queries @ originals.T / _TEMPERATURE
        loss = F.cross_entropy(logits, here)
        if coded.requires_grad:
            factor = -weight if loss.item() < math.log(len(boxes)) else 0.0
            coded.register_hook(lambda gradient: factor * gradient)
        return {"loss": loss, "rank1": (logits.argmax(dim=1) == here).float().mean()}

    def _embed(self, crops: Tensor) -> Tensor:
        return F.normalize(self.layers(crops), dim=1)


def face_boxes(faces: Tensor) -> Tensor:
    """Boxes around the faces of a batch, those that touch each other as one.

    Args:
        faces: (B, 1, H, W) of 0 and 1, 1 inside faces.

    Returns:
        (K, 5) float32 on the device of ``faces``: the place in the batch, left, top, right and bottom, pixels.
    """
    boxes = []
    for place, mask in enumerate(faces[:, 0].to(torch.uint8).cpu().numpy()):
        _, _, found, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask))
        for left, top, width, height, _ in found[1:].tolist():  # the first is what is no face
            if min(width, height) >= _LEAST_FACE:
                boxes.append([place, left, top, left + width, top + height])
    return torch.tensor(boxes, dtype=torch.float32, device=faces.device).reshape(-1, 5)


def _crops(x: Tensor, boxes: Tensor) -> Tensor:
    """Grey crops (K, 1, side, side) of mean 0 and deviation 1."""
    from torchvision.ops import roi_align

    crops = roi_align(x.mean(dim=1, keepdim=True), boxes, _SIDE, aligned=True)
    deviation, mean = torch.std_mean(crops, dim=(1, 2, 3), keepdim=True)
    return (crops - mean) / (deviation + 0.02)


def _moved(boxes: Tensor) -> Tensor:
    """Boxes shifted and resized at random, each side by up to `_JITTER` of the face's."""
    sides = (boxes[:, 3:] - boxes[:, 1:3]).repeat(1, 2)
    shifts = (2 * torch.rand_like(sides) - 1) * _JITTER * sides
    return torch.cat([boxes[:, :1], boxes[:, 1:] + shifts], dim=1)


def _mirrored(crops: Tensor) -> Tensor:
    """Every other crop, by chance, mirrored."""
    turn = torch.rand(len(crops), 1, 1, 1, device=crops.device) < 0.5
    return torch.where(turn, crops.flip(-1), crops)
