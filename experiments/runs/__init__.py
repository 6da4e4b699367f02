"""The runs of a folder, and what their artefacts are made from."""
