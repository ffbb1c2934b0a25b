"""The child process that decodes one untrusted picture, and repairs it: `python -m …adapters.image_child`.

`__main__` describes its input and output. Each module decodes one format, and gives back the file to store if that is
another one than the upload.
"""
