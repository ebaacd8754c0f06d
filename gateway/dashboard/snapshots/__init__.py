"""Views that were saved."""
