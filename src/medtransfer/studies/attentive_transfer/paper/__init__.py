"""The printed numbers of Liu & Ji 2021 as data: the CSV files of this folder and their readers."""
