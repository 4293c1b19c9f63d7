"""Images with masks for training: COCO and plain folders, an embedded demo set, composed scenes."""
