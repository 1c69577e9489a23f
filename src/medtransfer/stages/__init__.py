"""One thin module per verb: read inputs, call rooms, write outputs."""
