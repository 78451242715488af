"""What `edgeport target install` makes: environments of targets, each in a folder of its own in the user's cache."""
