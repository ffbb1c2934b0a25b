"""`gifchat bench`: measures through the front door how many viewers a cluster holds."""
