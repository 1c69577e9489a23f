"""Multi-task ViT on a chest X-ray feature corpus: diagnosis and severity by one network (Park et al. 2022)."""
