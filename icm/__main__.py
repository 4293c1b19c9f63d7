"""``python -m icm COMMAND``: the commands are listed below.

Each command is a module of `icm.commands` with ``DESCRIPTION``, ``add_arguments(parser)`` and
``run(arguments) -> int`` (the exit status); it is imported only when it is asked for.
"""

import argparse
import importlib
import sys

from icm.errors import UserError, begin_command, end_at_sigterm, exit_status

COMMANDS = {
    "encode": ("icm.commands.encode", "code images to .icm files"),
    "decode": ("icm.commands.decode", "decode .icm files to PNG images"),
    "masks": ("icm.commands.masks", "make the edge masks of a COCO split"),
    "download": ("icm.commands.download", "fetch recogniser weights, COCO images and Segment Anything checkpoints"),
    "rate": ("icm.commands.rate", "real bitstreams of whole pictures, by trained networks"),
    "export": ("icm.commands.export", "write a trained network in the published format"),
    "restorer": ("icm.commands.restorer", "train a network that redraws coded faces, for attack=restorer"),
    "ship": ("icm.commands.ship", "write a trained network and its card for shipping"),
    "report": ("icm.commands.report", "rebuild the table, figures and report of finished runs"),
    "query": ("icm.commands.query", "ask finished runs questions in SQL"),
    "show": ("icm.commands.show", "one image before and after coding, with its faces, as a figure"),
    "check": ("icm.commands.check", "check the weights of recognisers on this machine"),
    "dashboard": ("icm.commands.dashboard", "save a workspace in Weights & Biases for a sweep"),
}


def usage() -> str:
    lines = ["usage: python -m icm COMMAND [ARGUMENT ...]", "", "commands:"]
    lines += [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join([*lines, "", "python -m icm COMMAND --help lists a command's arguments."])


def main(argv: list[str] | None = None) -> int:
    if argv is None:
        argv = sys.argv[1:]
        begin_command("icm")
        end_at_sigterm()
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"icm: no command {argv[0]!r}; choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[argv[0]][0])
    parser = argparse.ArgumentParser(prog=f"python -m icm {argv[0]}", description=module.DESCRIPTION)
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(argv[1:])))
    except UserError as error:
        print(f"icm {argv[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"icm {argv[0]}: interrupted; finished files are kept", file=sys.stderr)
        return exit_status(error)


if __name__ == "__main__":
    sys.exit(main())
