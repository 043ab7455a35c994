"""Measures and checks of the chapter *Does it hold where the papers stop?*."""
