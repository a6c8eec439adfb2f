"""Who pays: accounts, their plan, their credit and whether they are suspended."""
