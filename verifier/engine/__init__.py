"""Memory and concurrency: the cache, the loader, the verifier. No SQL, no HTTP."""
