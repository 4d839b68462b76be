"""Model bundles: loading, digests, signatures, the self-test, and the embedded one."""
