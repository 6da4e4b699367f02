"""What a run is asked: typed, checked, written down."""
