"""The child process that decodes one untrusted picture, and repairs it: `python -m …adapters.image_child`.

`__main__` describes its input and output. The `*_pixels` modules decode one or two formats each. They return the
file to store if it differs from the upload.
"""
