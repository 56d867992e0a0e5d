"""Any training script, unmodified: observed while it runs, and tried with remedies."""
