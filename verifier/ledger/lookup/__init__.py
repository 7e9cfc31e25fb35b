"""Looking invoices up: replicas, what they have shown, and which of them answers."""
