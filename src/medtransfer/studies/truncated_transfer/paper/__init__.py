"""The printed numbers of Peng et al. 2021 as data: the CSV files of this folder and their readers."""
