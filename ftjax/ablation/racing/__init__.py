"""Racing: seeds go to the arms still in question, until all are decided or a budget is spent."""
