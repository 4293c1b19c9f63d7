"""``python -m icm check weights``: whether the recognisers on this machine are the right ones, rightly fed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from icm.errors import UserError

if TYPE_CHECKING:
    from icm.faces.recogniser_check import Face

DESCRIPTION = """Check every recogniser whose weights are here: a face against itself, what a wrong input must change
(colours, scaling, crop, alignment), and one person's faces against others'. The faces are the demo's, of two persons,
or those of a labelled folder, where the floor of the AUC means something."""

EXAMPLES = """\
examples:
  python -m icm check weights
  python -m icm check weights arcface sface --faces DIR --labels labels.csv
"""
_DEMO_SCENES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("what", choices=["weights"], help="what is checked")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of conf/embedder; default: all whose weights are here"
    )
    parser.add_argument("--faces", type=Path, metavar="DIR", help="a folder of pictures; default: the demo's")
    parser.add_argument("--labels", metavar="CSV", help="who is in them; `folders`: one folder for each person")
    parser.add_argument("--detector", default="mtcnn", metavar="NAME", help="finds the faces in them; default: mtcnn")
    parser.add_argument("--floor", type=float, default=0.8, metavar="AUC", help="least AUC that passes; default: 0.8")


def run(arguments: argparse.Namespace) -> int:
    """1 when a check fails, or a recogniser that was asked for is not here."""
    from icm.config import compose_job
    from icm.faces.recogniser_check import check_recogniser

    if (arguments.faces is None) != (arguments.labels is None):
        raise UserError("--faces and --labels belong together: name the folder and who is in its pictures")
    (task,) = compose_job(detector=arguments.detector, embedder=arguments.names or ["all"], task="faces")
    missing = {embedder.name: embedder.preflight() for embedder in task.embedders}
    faces = _faces(arguments, task.detector) if not all(missing.values()) else []
    failed = 0
    for embedder in task.embedders:
        if problems := missing[embedder.name]:
            failed += embedder.name in arguments.names
            print(f"{embedder.title}: not here. {problems[0].remedy}")
            continue
        print(f"{embedder.title}, {embedder.version}, {len(faces)} faces")
        for finding in check_recogniser(embedder, faces, arguments.floor):
            word = {True: "passed", False: "FAILED", None: "not made"}[finding.passed]
            failed += finding.passed is False
            print(f"  {word}: {finding.name}: {finding.detail}", flush=True)
    return 1 if failed else 0


def _faces(arguments: argparse.Namespace, detector) -> "list[Face]":
    from icm.faces.detection import Box
    from icm.faces.recogniser_check import Face
    from icm.faces.sources import DemoFaces, FolderFaces
    from icm.parts import preflight

    found = []
    if arguments.faces is None:
        for image in DemoFaces().images()[:_DEMO_SCENES]:
            picture = image.load()
            found += [
                Face(picture, Box(face.x, face.y, face.width, face.height, 1.0), face.identity)
                for face in image.known_faces
            ]
        return found
    source = FolderFaces(arguments.faces, arguments.labels, "identities")
    preflight([source, detector])
    for image in source.images():
        picture = image.load()
        boxes = detector.detect(picture)
        found += [Face(picture, box, person) for box, person in zip(boxes, image.identities(boxes), strict=True)]
    if not found:
        raise UserError(f"--faces {arguments.faces}: no face found by {detector.name}; try another --detector")
    return found
