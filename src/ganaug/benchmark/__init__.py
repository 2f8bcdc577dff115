"""The classification benchmark: whether synthetic images help a classifier."""
