"""Walkers over the bytes of four image formats: they follow the container from block to block and decode nothing.

A walker measures the picture and copies what is needed to show it. Everything else stays behind: comments, EXIF, XMP,
thumbnails, unknown blocks, and whatever follows the end of the picture.
"""
