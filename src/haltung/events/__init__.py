"""From an article to who takes which stance towards whom."""
