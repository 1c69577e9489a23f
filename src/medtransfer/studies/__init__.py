"""One folder a paper. A study is wiring: phases, networks, claims; what two studies need lives in a room."""
