"""Masks that say where distortion counts: edges of objects, object interiors, boundaries drawn by people."""
