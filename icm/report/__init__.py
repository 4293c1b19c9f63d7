"""Tables, figures, the HTML report and the Weights & Biases mirror of finished runs."""
