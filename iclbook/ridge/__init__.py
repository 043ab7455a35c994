"""yang2024: trained softmax attention does ridge regression."""
