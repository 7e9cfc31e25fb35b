"""What comes into the ledger, in one transaction for each request."""
