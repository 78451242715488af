"""The application: builds models, runs the pipeline, writes bundles and reports."""
