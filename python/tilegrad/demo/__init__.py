"""The main job, end to end: a small convolutional network learns to read handwritten digits."""
