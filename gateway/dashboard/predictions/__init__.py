"""The tab Predictions."""
