"""Self-supervised pretraining: contrast at image scale, lobe regions, and the watch over collapse."""
