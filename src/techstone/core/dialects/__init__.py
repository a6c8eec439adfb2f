"""One file a provider dialect: to and from the one inner shape, OpenAI chat. A dialect knows no other."""
