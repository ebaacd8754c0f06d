"""The tab A/B Tests."""
