"""Opens artifacts from disk and judges them: do they agree with the checkpoint, and how fast are they."""
