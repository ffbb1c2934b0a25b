"""The command `gifchat`, which runs the whole cluster on this machine, with real servers."""
