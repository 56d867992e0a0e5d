"""Cases that come with the package, written like a user's own file."""
