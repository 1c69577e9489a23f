"""What the pipeline of the sample takes, in one place: ``make repro`` says it, ``doctor`` checks it.

Time and disk were measured on two cores (x86-64, no GPU) from a fresh clone. The memory is a convention, not a
measurement. Nothing is imported here: the Makefile reads this file before there is an environment.
"""

ENVIRONMENT_GB = 6.5
PIPELINE_GB = 2.5
MEMORY_GB = 3
HOURS = "a quarter to half an hour on two cores"
COST = f"environment ({ENVIRONMENT_GB} GB), then the whole pipeline on the embedded sample: {HOURS}, {PIPELINE_GB} GB"
