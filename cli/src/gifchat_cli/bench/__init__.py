"""`gifchat bench`: how many viewers a cluster holds, seen through its front door."""
