"""absl binaries: each a short main over an importable run(config, workdir)."""
