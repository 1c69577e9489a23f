"""What Liu & Ji 2021 printed, as data: the CSV files of this folder and how they are read."""
