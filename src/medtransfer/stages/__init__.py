"""One thin module a verb: read inputs, call rooms, write outputs."""
