"""One evaluation job: one codec at one operating point, measured on a set of faces."""
