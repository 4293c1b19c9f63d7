"""Faces: where images come from, where the faces in them are, and what a recogniser makes of them."""
