"""Files for integrators of a model besides its artifacts: the contract, and folders for a device or a server."""
