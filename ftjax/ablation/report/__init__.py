"""Tables, figures and the page of an ablation."""
