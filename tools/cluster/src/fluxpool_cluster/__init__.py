"""A real Kubernetes cluster in one network namespace, for tests and the demo."""
