"""What a method is made of: the contract, batches, losses, and the building blocks of networks."""
