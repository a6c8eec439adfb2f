"""What things cost and how money comes in: versioned prices, top-up codes, alerts before it runs out."""
