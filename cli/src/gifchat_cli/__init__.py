"""The whole cluster on embedded real servers: the command gifchat."""
