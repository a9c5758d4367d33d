"""What is missing, claim then submit, reconcile: the one place that joins the store and the jobs."""
