"""Studies: what `experiments.questions` trains, measures and decides."""
