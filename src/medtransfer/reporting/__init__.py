"""From the predictions table and the records of a study to tables, figures and one self-contained page."""
