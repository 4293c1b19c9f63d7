"""Image coding for machines and face privacy: codecs, face recognition and their measurement."""

__version__ = "0.1.0"
