"""The commands of ``python -m icm``, a module each: ``DESCRIPTION``, ``add_arguments(parser)``, ``run(arguments)``."""
