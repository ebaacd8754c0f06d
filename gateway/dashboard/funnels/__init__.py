"""The tab Funnels."""
