"""What the pages do beyond passing a user's request on to rooms-api."""
