"""Blocks, the architectures built of them, and the one table that names them: `exporter.models.table.ARCHITECTURES`."""
