"""Invoices, receipts and statements: what an account was charged and has paid, to the last nano-dollar."""
