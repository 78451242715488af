"""Random models of Keras' layers, made by edgeport and held against Keras: `scripts/zoo`."""
