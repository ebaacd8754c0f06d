"""What stands above every tab: cards and insights."""
