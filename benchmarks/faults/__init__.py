"""Published faulty training programs and healthy controls, rebuilt, and what unstick says of them: docs/faults.md."""
