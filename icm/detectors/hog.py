"""OpenCV's people detector, which needs no download: a smoke test of a whole evaluation, no measure of utility."""

import cv2
import numpy as np

from icm.detectors.base import found, versions
from icm.preflight import Problem

# The window of the descriptor. It leaves a margin around a person: OpenCV's own sample program trims found windows by
# these shares on every side.
_WIDTH, _HEIGHT = 64, 128
_TRIM_X, _TRIM_Y = 0.1, 0.07


class HogPeople:
    """Histograms of oriented gradients with OpenCV's linear classifier (Dalal and Triggs 2005).

    It finds some upright, whole, fairly large people: on the people of COCO's photographs its AP is about 0.01 and its
    AP50 0.04. Use it to see that everything works where nothing can be downloaded; say nothing of a codec by it.
    """

    name = "hog"
    title = "HOG people (smoke test)"
    kinds = ("bbox",)
    categories = {1: "person"}  # noqa: RUF012
    parameters = {"threshold": -0.6, "stride": 8, "padding": 16, "scale": 1.05}  # noqa: RUF012

    @property
    def version(self) -> str:
        """The version of OpenCV."""
        return versions("opencv-contrib-python-headless")

    def preflight(self) -> list[Problem]:
        """Nothing can be missing."""
        return []

    def predict(self, image: np.ndarray) -> list[dict]:
        """See `icm.detectors.base.ObjectDetector.predict`; the score is the logistic function of the classifier's."""
        if image.shape[0] < _HEIGHT or image.shape[1] < _WIDTH:
            return []
        descriptor = cv2.HOGDescriptor()
        descriptor.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
        setting = self.parameters
        windows, margins = descriptor.detectMultiScale(
            np.ascontiguousarray(image[:, :, ::-1]),
            hitThreshold=setting["threshold"],
            winStride=(setting["stride"], setting["stride"]),
            padding=(setting["padding"], setting["padding"]),
            scale=setting["scale"],
        )
        people = []
        for (x, y, width, height), margin in zip(windows, np.ravel(margins), strict=True):
            corners = [x + _TRIM_X * width, y + _TRIM_Y * height, x + (1 - _TRIM_X) * width, y + (1 - _TRIM_Y) * height]
            people.append(found(1, 1 / (1 + np.exp(-float(margin))), corners))
        # OpenCV works in threads, whose order is not fixed.
        return sorted(people, key=lambda person: (-person["score"], person["bbox"]))
