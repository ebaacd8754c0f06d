"""The tab Retention."""
