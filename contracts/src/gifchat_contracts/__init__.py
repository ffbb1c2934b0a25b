"""What the services of GIF Chat agree on. Standard library only; no I/O.

Import the modules, not this package: `from gifchat_contracts import keys`.
"""

__version__ = "0.2.0"
