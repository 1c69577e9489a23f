"""Visual transfer (West et al. 2020): does pretraining nearer the domain look at the lungs, and score better?"""
