"""The matting network: its architecture, its training data, its training and its export (needs the group `train`)."""
