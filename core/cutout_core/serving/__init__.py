"""What the adapters of the model repository share. Most need the Python backend's own module: only Triton runs them."""
