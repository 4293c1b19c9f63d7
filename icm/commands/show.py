"""``python -m icm show``: one image before and after coding, with its faces, as a figure."""

import argparse
from pathlib import Path

from icm.commands.encode import add_codec_options, chosen_codec

DESCRIPTION = """Draw one image before and after coding: the difference, the edges, the faces and how similar they are
to recognisers, with the rate. With --flow, draw the way of the image through the evaluation instead."""

EXAMPLES = """\
examples:
  python -m icm show photo.jpg --codec sa_icm --rate low -o figure.pdf
  python -m icm show photo.jpg --codec vvc --qp 37 --embedder dlib sface -o figure.png
  python -m icm show photo.jpg --codec jpeg --quality 10 --flow -o flow.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help=".png, .pdf, .svg or .jpg")
    parser.add_argument("--flow", action="store_true", help="draw the flow of the evaluation")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="edges, not black; default: Canny of the original")
    parser.add_argument("--detector", default="mtcnn", metavar="NAME", help="of conf/detector; default: mtcnn")
    parser.add_argument(
        "--embedder", default=["dlib"], nargs="+", metavar="NAME", help="of conf/embedder; default: dlib"
    )
    add_codec_options(parser)


def run(arguments: argparse.Namespace) -> int:
    from icm.config import compose_job
    from icm.errors import UserError
    from icm.images import read_image
    from icm.parts import preflight
    from icm.report import figures, showcase

    if arguments.output.suffix not in figures.WRITERS:
        raise UserError(f"-o {arguments.output}: figures are written as {', '.join(figures.WRITERS)}")
    codec = chosen_codec(arguments)
    (task,) = compose_job(detector=arguments.detector, embedder=arguments.embedder, task="faces")
    image = read_image(arguments.image)
    mask = None
    if arguments.mask is not None:
        mask = read_image(arguments.mask).max(axis=2)
        if mask.shape != image.shape[:2]:
            own, wanted = (f"{shape[1]}x{shape[0]}" for shape in (mask.shape, image.shape))
            raise UserError(f"--mask {arguments.mask}: {own} pixels, but the image has {wanted}; give the same size")
    preflight([codec, *task.parts])
    shown = showcase.look(image, codec, task, mask)
    print(figures.save(showcase.flow(shown) if arguments.flow else showcase.overview(shown), arguments.output))
    print(f"{shown.title}: {shown.bpp:.4f} bpp, {len(shown.boxes)} face(s)")
    for name, values in shown.similarities.items():
        print(f"{name}: {', '.join(f'{value:.3f}' for value in values)}")
    return 0
