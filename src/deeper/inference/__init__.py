"""A trained network applied to images of a user."""
