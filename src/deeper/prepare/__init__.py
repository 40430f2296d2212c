"""`src/prepare.py`: verify the images of a root and pack them."""
