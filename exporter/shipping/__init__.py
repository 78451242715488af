"""What those who integrate a model get beside its artifacts: the contract, and folders for a device or a server."""
