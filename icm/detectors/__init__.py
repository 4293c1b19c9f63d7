"""Networks that stand for the machine: object detectors whose accuracy on coded pictures is measured."""
