"""Multi-stage attentive transfer learning for COVID-19 CT (Liu & Ji 2021)."""
