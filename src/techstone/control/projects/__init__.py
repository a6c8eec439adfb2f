"""Projects: an account's keys by what they are for, and what that costs."""
