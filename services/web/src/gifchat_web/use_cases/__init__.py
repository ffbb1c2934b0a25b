"""What web does beyond passing a user's request on to rooms-api."""
