"""The tab Events, and the time line of somebody."""
