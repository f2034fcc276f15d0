"""What the adapters of the model repository share; its modules need the Python backend's own: only Triton runs them."""
