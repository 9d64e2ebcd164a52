"""What to freeze: arms that a network allows, and the recommendation that their race ends with."""
