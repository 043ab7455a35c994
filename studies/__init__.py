"""What was computed for each chapter of the book, and how it is judged: one folder a
chapter."""
