"""ren2024: softmax attention as one gradient step on a dual model."""
