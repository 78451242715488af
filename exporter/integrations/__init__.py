"""edgeport inside other tools: a Keras callback and an MLflow logger."""
