"""What was used and what it cost: the gateways' records, booked once, and the checks that nothing is amiss."""
