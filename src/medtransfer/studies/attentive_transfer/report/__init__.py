"""The report of the attentive-transfer study: tables, figures, verdicts and the answer on top."""
