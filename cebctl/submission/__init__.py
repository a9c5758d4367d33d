"""What is submitted: prerequisites, claims, executors, cancellation."""
