"""How a network is judged: crops, counts, intervals."""
