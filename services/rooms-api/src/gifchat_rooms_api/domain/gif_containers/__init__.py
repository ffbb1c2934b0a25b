"""Walkers over the bytes of four image formats. They follow the container from block to block and decode nothing.

A walker measures the picture and copies the blocks that are needed to show it. It drops everything else: comments,
EXIF, XMP, thumbnails, unknown blocks, and any bytes after the end of the picture. Every walker raises `BrokenError` and
`TooManyPixelsError` (see `reading`).

`walk(data)` accepts only files without errors. `walk(data, mend=True)` also accepts the errors that browsers forgive,
and builds a container without them. Pixels may then be missing. Only a decoder can find that out.
"""
