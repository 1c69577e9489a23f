"""The printed numbers of Park et al. 2022 as data: the CSV file of this folder and its reader."""
